"""Compare your results with ``results/expected.json``: ``python -m xblcore.pipeline.verify``.

The exit code is 0 if all numbers agree, 1 if some do not, 2 if there is nothing to compare.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from xblcore import config, expected, project, reported, tolerance, verify


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
        missing = reported.not_trained_here(project.root())
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
