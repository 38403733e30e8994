"""Put the decoys on and split: ``python -m xblcore.pipeline.decoy TASK``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xblcore.pipeline import stage

if TYPE_CHECKING:
    from xblcore import datasets


def main(arguments: Sequence[str] | None = None) -> int:
    """Build ``data/decoy/<task>`` and print what the decoy tells; returns the exit code."""
    from xblcore import datasets, project  # slow: the stage's end is watched for before

    parser = argparse.ArgumentParser(prog="python -m xblcore.pipeline.decoy", description=__doc__)
    parser.add_argument("task", help="a task of params.yaml")
    task = parser.parse_args(arguments).task
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        data = project.root() / "data"
        datasets.build(task, settings(task), raw_root=data / "raw", out_root=data / "decoy")
        built = datasets.manifest(task, root=data / "decoy")
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{task}, {built['data']} data\n\n{datasets.information_table(built)}")
    return 0


def settings(task: str) -> datasets.DataConfig:
    """What ``params.yaml`` says a task is built with, in the chosen profile."""
    from xblcore import config, datasets

    chosen = config.load().task(task)
    return datasets.DataConfig(
        n_train=chosen.n_train,
        n_val=chosen.n_val,
        n_test=chosen.n_test,
        seed=chosen.data_seed,
        decoy=datasets.DecoyConfig.of(chosen.decoy),
        data=chosen.data,
        by_data=chosen.by_data,
    )


if __name__ == "__main__":
    sys.exit(stage.run(main))
