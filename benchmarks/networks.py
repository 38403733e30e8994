"""Which network suits a task: each one's floor, ceiling and cure by XBL-D, on the same splits.

The default of a task is the network under `setup` in params.yaml; its like with global average
pooling is run beside it. XBL-D's weight is chosen as in the study, on validation images. Needs the
built data (`make data` and `dvc repro decoy`), and takes some ten minutes on two cores.

    python benchmarks/networks.py [--jobs 2] [--csv benchmarks/networks.csv]
"""

from __future__ import annotations

import argparse
import dataclasses
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
from _options import JOBS, file, make, told

from xblcore import config, methods, models, prepare, project, results, selection, study

SEEDS = 3  # the first of the profile
METHODS = ("erm", "oracle", "xbl_d")
NUMBERS = ("accuracy", "decoy_flip_rate")


def networks_of(default: str) -> list[str]:
    """The default and its like with global average pooling."""
    return [name for name in (default, f"{default}_gap") if name in models.MODELS]


def measured(job: tuple[str, str, str]) -> pd.DataFrame:
    """All seeds of a method on a task with a network, at the weight that the rule chooses."""
    task, network, name = job
    settings = config.load().task(task)
    settings = dataclasses.replace(
        settings,
        model=network,
        seeds=settings.seeds[:SEEDS],
        sweep_seeds=[seed for seed in settings.sweep_seeds if seed in settings.seeds[:SEEDS]],
        explained_images=1,
        held_out_images=1,
    )
    data, method, tables = prepare.load_data(settings), methods.get(name), []

    def run(weight: float, seed: int) -> None:
        done = study.run(data, settings, method, weight=weight, seed=seed)
        table = pd.DataFrame(map(dataclasses.asdict, done.measurements))
        tables.append(table.assign(weight=weight, seed=seed, seconds=done.seconds))

    for weight in settings.weights_of(name):
        for seed in settings.sweep_seeds:
            run(weight, seed)
    chosen = selection.choose_weight(pd.concat(tables))
    for seed in settings.seeds:
        if seed not in settings.sweep_seeds:
            run(chosen, seed)
    rows = pd.concat(tables)
    rows = rows[(rows["weight"] == chosen) & rows["metric"].isin(NUMBERS)]
    about = {"task": task, "data": data.kind, "profile": settings.profile, "network": network}
    return rows.assign(**about, method=name)


def main() -> None:
    """Run all tasks of the grid and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", **JOBS)
    parser.add_argument("--csv", type=file, default=project.root() / "benchmarks" / "networks.csv")
    options = parser.parse_args()
    with told(parser):
        make(options.csv.parent, "--csv")
        settings = config.load()
        jobs = [
            (task, network, method)
            for task in settings.tasks
            for network in networks_of(settings.task(task).model)
            for method in METHODS
        ]
        for task in settings.tasks:  # data that are not there are told before anything is run
            prepare.load_data(settings.task(task))
    with ProcessPoolExecutor(min(options.jobs, len(jobs))) as workers:
        table = pd.concat(workers.map(measured, jobs))
    columns = ["task", "data", "profile", "network", "method", "weight", "seed", "split", "metric",
               "value", "seconds"]  # fmt: skip
    results.write_csv(table[columns], options.csv)
    clean = table[(table["metric"] == "accuracy") & (table["split"] == results.CLEAN)]
    print(clean.pivot_table(index=["task", "network"], columns="method", values="value").round(3))


if __name__ == "__main__":
    main()
