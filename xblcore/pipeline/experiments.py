"""Rerun what changed of the experiments around the main grid; what ``make experiments`` calls.

    python -m xblcore.pipeline.experiments

Their stages run one after the other, for each fills all cores by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from xblcore import project
from xblcore.pipeline import lifeline
from xblcore.pipeline.dvc_command import Dvc

PIPELINE = Path("experiments") / "dvc.yaml"


def main() -> int:
    """Command line; returns the exit code."""
    lifeline.end_with_starters()
    lifeline.unwind_on_signals(kill=False)
    return Dvc(project.root(), ["repro", PIPELINE.as_posix()]).wait()


if __name__ == "__main__":
    sys.exit(main())
