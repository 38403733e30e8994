r"""Run one notebook with parameters, by papermill, into a file that is right or absent.

    python -m xblcore.pipeline.notebook build/notebooks/paper/train.ipynb \
        results/decoy_fashion_mnist/xbl_d.ipynb -p task decoy_fashion_mnist -p method xbl_d

Two runs of a deterministic notebook give the same bytes. What the kernel writes to stderr
(progress bars, warnings) is for the person at the terminal: shown live, not kept.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xblcore import project
from xblcore.pipeline import lifeline, stage


def parse_value(text: str) -> Any:
    """Parameter as JSON or as a Python literal, else the text itself.

    >>> parse_value("3"), parse_value("1e-3"), parse_value("True"), parse_value("xbl_d")
    (3, 0.001, True, 'xbl_d')
    """
    for parse in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError):
            return parse(text)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    lifeline.end_with_starters()
    lifeline.unwind_on_signals(kill=True)
    from xblcore.pipeline import execute  # takes seconds, in which the parent may end

    parser = argparse.ArgumentParser(
        prog="python -m xblcore.pipeline.notebook", description="Run a notebook with parameters."
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    parser.add_argument("--wait", type=float, default=5.0, help="seconds, for another writer")
    options = parser.parse_args(arguments)
    parameters = {name: parse_value(value) for name, value in options.parameter}
    try:
        with project.only_writer(options.destination, wait=options.wait):
            execute.execute(options.source, options.destination, parameters)
    except OSError as error:
        print(stage.told(error), file=sys.stderr)
        return 1
    except (execute.NotebookError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
