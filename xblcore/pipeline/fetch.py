"""Fetch the raw data of the tasks: ``python -m xblcore.pipeline.fetch [--task NAME ...]``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from xblcore.pipeline import stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Put the raw files of some tasks, or all in the grid, under ``data/raw``; the exit code."""
    from xblcore import config, datasets, project  # slow: the stage's end is watched for before
    from xblcore.pipeline import decoy

    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.fetch", description=__doc__)
    parser.add_argument("--task", action="append", help="repeat for several; none: all in the grid")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        study = config.load()
        for task in options.task or study.tasks:
            raw_root = project.root() / "data" / "raw"
            kind = datasets.fetch_task(task, decoy.settings(task), raw_root=raw_root)
            print(f"{task}: {kind} data is in data/raw")
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(stage.run(main))
