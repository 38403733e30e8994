"""Fetch raw data: ``python -m xblcore.data fetch [TASK ...] [--source original]``."""

from __future__ import annotations

import argparse
import sys

from xblcore.data import TASKS, DataConfig, DataUnavailableError, fetch


def main() -> int:
    """Fetch the raw data of the tasks; 1 if some of it is unavailable."""
    parser = argparse.ArgumentParser(prog="python -m xblcore.data", description=__doc__)
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--source", default="auto", choices=["auto", "original", "stand-in"])
    arguments = parser.parse_args()
    # 1,200 training and 600 test photos of each class of MS-COCO; data.fetch takes other numbers.
    config = DataConfig(n_train=2000, n_val=400, n_test=600, source=arguments.source)
    status = 0
    for task in arguments.tasks or TASKS:
        try:
            print(f"{task}: {fetch(task, config)}")
        except DataUnavailableError as error:
            print(f"{task}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
