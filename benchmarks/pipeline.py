"""Where the time of the whole pipeline goes: starts, data, training, evaluation, figures, DVC.

Runs ``python -m xblcore.pipeline.reproduce`` in a copy of the project in which nothing was run yet,
and a second time, when there is nothing to do. Every process tells what its time went into
(``_hook/sitecustomize.py``), so the split is of this very run. The times of processes beside each
other are added up: with two jobs, all parts together are twice the wall time, and a place that
found no stage to run counts as a part. `cpu_seconds` shows what of a part was waiting.

    starts and imports  Python, papermill and kernels before the first cell; imports
    data                fetching and building the data; loading them in a kernel
    training            `xblcore.train.fit`
    evaluation          explanations and metrics, those after each epoch and the gallery's included
    figures and tables  what else the cells of the notebooks do
    DVC and waiting     DVC, `reproduce` itself, stages that only copy or digest files

With ``--read FOLDER`` nothing is run: a checkout in which everything was run tells by the seconds
in its manifests and by the times of its files. What of a run was evaluation is then measured anew,
once a task, on a trained network (the evaluation is the same for every method).

    python benchmarks/pipeline.py [--profile smoke] [--jobs 2] [--read FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml
from _kernel import run_again_as_a_kernel
from _options import JOBS
from _recorded import recorded
from _timing import Bench, bench
from _watched import PARTS, add_up, reproduce

from xblcore import config, project
from xblcore.pipeline.expected import copy_in_profile
from xblcore.results import write_csv

FULL, AGAIN = "from nothing", "nothing to do"
TINY = {"tasks": ["decoy_fashion_mnist"], "methods": ["erm", "oracle", "xbl_d"]}
OPTIONS = {
    "--profile": {"default": "smoke", "help": "of params.yaml (default: %(default)s)"},
    "--jobs": JOBS | {"help": "as of reproduce"},
    "--keep": {"type": Path, "metavar": "FOLDER", "help": "make the copy here, and leave it"},
    "--read": {"type": Path, "metavar": "FOLDER", "help": "run nothing; read this checkout"},
}


def shrink(folder: Path) -> None:
    """One task and three methods, for a look at whether this works."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(params | TINY), encoding="utf-8")


def check(options: argparse.Namespace) -> None:
    """What would stop the run only after the copy is made.

    Raises:
        ValueError: a profile that params.yaml does not have, or a copy where something is.
    """
    grid = dataclasses.replace(config.load(), profile=options.profile)
    for task in grid.tasks:
        grid.task(task)
    keep = options.keep
    if keep and keep.exists() and (keep.is_file() or any(keep.iterdir())):
        raise ValueError(f"--keep must be a new or empty folder, got {keep}; name another")


def measured(run: Bench, folder: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """Both runs, in a copy of the project: the table, and their seconds on the wall."""
    jobs = run.options.jobs
    copy_in_profile(project.root(), folder / "project", run.options.profile)
    if run.tiny:
        shrink(folder / "project")
    tables, walls = [], {}
    for number, name in enumerate((FULL, AGAIN)):
        places = jobs if name == FULL else 1  # nothing runs beside anything
        records = folder / f"records-{number}"
        processes, walls[name] = reproduce(folder / "project", records, jobs=jobs)
        tables.append(add_up(processes, jobs=places).assign(run=name))
    return pd.concat(tables, ignore_index=True), walls


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """By run and part alone, in the order of the parts, with the share of the run."""
    sums = table.groupby(["run", "part"], sort=False)[["seconds", "cpu_seconds"]].sum(min_count=1)
    parts = [(run, part) for run in table["run"].unique() for part in PARTS]
    found = sums.reindex([key for key in parts if key in sums.index]).reset_index()
    found["share"] = found["seconds"] / found.groupby("run")["seconds"].transform("sum")
    return found


def report(run: Bench, table: pd.DataFrame, about: dict[str, object]) -> None:
    """Print and write the table by stage and part, and the shares of the parts."""
    columns = ["run", "stage", "part", "seconds", "cpu_seconds"]
    run.report(table[columns].round(3), about_it={"clock": "wall", "rounds": 1} | about)
    short = shares(table)
    print(f"\n{short.to_string(index=False, float_format='{:.3f}'.format)}")
    for name, wall in dict(about["wall_seconds"]).items():  # type: ignore[call-overload]
        print(f"{name}: {wall:.1f} s on the wall")
    if run.out:
        write_csv(short.round(4), run.out / "pipeline_parts.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run or read, and report."""
    with bench("pipeline", __doc__, arguments, own=OPTIONS) as run:
        if run.options.read:
            run_again_as_a_kernel()
            folder = run.options.read.resolve()
            table = recorded(folder)
            about = {"profile": config.load(folder).profile, "wall_seconds": {}}
        else:
            check(run.options)
            run.begun = True
            with tempfile.TemporaryDirectory() as scratch:
                table, walls = measured(run, run.options.keep or Path(scratch))
            about = {
                "profile": run.options.profile,
                "jobs": run.options.jobs,
                "wall_seconds": walls,
            }
        report(run, table, about)


if __name__ == "__main__":
    main()
