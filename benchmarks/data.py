"""Time to build each task from its raw files, and to load all its splits.

With the settings of the profile that `params.yaml` names, into a temporary folder. The limit of
both is reading the built files and hashing them, which loading does to verify them. A task whose
original was not fetched is built from its stand-in, and its rows say so. Needs the raw files
(`make data`).

    python benchmarks/data.py [--rounds 9] [--out FOLDER]
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from _timing import Bench, bench, rows_of

from xblcore import config, datasets, project
from xblcore.datasets import DataConfig
from xblcore.pipeline import decoy

LIMIT = "reading and hashing the files"
TINY = {"n_train": 40, "n_val": 20, "n_test": 20}


def settings(task: str, *, tiny: bool) -> DataConfig:
    """What the profile says the task is built with; tiny holds for Fashion-MNIST alone."""
    chosen = decoy.settings(task)
    return replace(chosen, **TINY) if tiny else chosen


def measure(run: Bench, task: str, raw_root: Path) -> pd.DataFrame:
    """One row for building and one for loading."""
    own = settings(task, tiny=run.tiny)
    with tempfile.TemporaryDirectory() as folder:
        out_root = Path(folder)

        def build() -> None:
            datasets.build(task, own, raw_root=raw_root, out_root=out_root)

        def load() -> None:
            for split in datasets.SPLITS:
                datasets.load(task, split=split, root=out_root)

        def read() -> None:
            for path in files:
                hashlib.sha256(path.read_bytes()).hexdigest()

        build()
        about = datasets.manifest(task, root=out_root)
        files = [out_root / task / name for name in about["files"]]
        images = sum(split["images"] for split in about["splits"].values())
        mib = sum(path.stat().st_size for path in files) / 2**20
        taken = run.seconds({LIMIT: read, "load": load, "build": build})
    rows = pd.DataFrame(rows_of(taken, task=task, data=about["data"], images=images, mib=mib))
    return rows.assign(us_per_image=1000 * rows["ms"] / images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every task of the grid that has raw files."""
    with bench("data", __doc__, arguments) as run:
        raw_root = project.root() / "data" / "raw"
        tables = []
        for task in config.load().tasks[: 1 if run.tiny else None]:
            try:
                tables.append(measure(run, task, raw_root))
            except FileNotFoundError as error:
                print(f"{task} is left out: {error}")
        if not tables:
            raise ValueError("raw files must be there for one task at least, got none: make data")
        run.report(pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main()
