"""Say in one file what a folder holds: ``python -m xblcore.pipeline.digest FOLDER FILE``.

DVC has no "every task's results" to depend on, so each task leaves such a file in ``build/tasks``,
and what comes after all the tasks depends on that folder.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from xblcore import project
from xblcore.pipeline import stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Write sha256 and path of every file in a folder, sorted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.digest", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    files = sorted(path for path in options.folder.rglob("*") if path.is_file())
    if not files:
        print(f"folder must hold files, got none in {options.folder}", file=sys.stderr)
        return 1
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(options.folder)}\n"
        for path in files
    ]
    with project.write_atomic(options.file) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(stage.run(main))
