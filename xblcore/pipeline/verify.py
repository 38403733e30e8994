"""Compare your results with ``results/expected.json``: ``python -m xblcore.pipeline.verify``.

The exit code is 0 if all numbers agree, 1 if some do not, 2 if there is nothing to compare.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xblcore import config, expected, project, reported, results, tolerance, verify


def not_trained_here(root: Path) -> list[str]:
    """Each method of a task in the grid that has left no run, as "METHOD on TASK"."""
    grid = config.load(root)
    return [
        f"{method} on {task}"
        for task in grid.tasks
        for method in grid.methods
        if not (results.folder(task, method, root=root) / "runs.csv").is_file()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.verify", description=__doc__)
    parser.parse_args(arguments)
    try:
        profile = config.load().profile
        block = expected.read(profile)
        if block is None:
            print(
                f"nothing to compare with: {expected.FILE} has no profile {profile!r}; set another "
                "in params.yaml, or write this one from your results with: make expected",
                file=sys.stderr,
            )
            return 2
        report = verify.compare(block, reported.own())
        missing = not_trained_here(project.root())
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    if missing:
        print(
            f"nothing of yours to compare: {len(missing)} trainings, first {missing[0]}, were not "
            "run here, so results/ may hold what came with the project; run: make reproduce",
            file=sys.stderr,
        )
        return 2
    print(verify.text(report, profile=profile))
    print(f"By chance alone at most {tolerance.FALSE_ALARMS:.0%} of readers see any disagree.")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
