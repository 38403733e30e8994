"""Command line: ``python -m xblcore.data fetch [TASK ...]``."""

from __future__ import annotations

import argparse
import logging
import sys

from xblcore.data import TASKS, DataConfig, DataUnavailableError, fetch

# Of MS-COCO only as many images are downloaded as a config needs; these are the paper profile's.
CONFIG = DataConfig(n_train=2000, n_val=400, n_test=600)


def main() -> int:
    """Fetch the raw data of the tasks; 1 if some of it is unavailable."""
    parser = argparse.ArgumentParser(prog="python -m xblcore.data", description=__doc__)
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(TASKS)
    if unknown:
        parser.error(f"TASK must be one of {', '.join(TASKS)}, got {', '.join(sorted(unknown))}")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    status = 0
    for task in arguments.tasks or TASKS:
        try:
            print(f"{task}: {fetch(task, CONFIG)}")
        except DataUnavailableError as error:
            print(f"{task}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
