"""The runs of the grid in ``params.yaml``, read and gathered over seeds, without torch.

Only what the grid names is read, never what happens to lie in the folder: a method taken out of the
grid leaves no trace, and one that is missing is an error that names the stage to run.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xblcore import config, project, stats

STRICT = ["task", "data", "method", "seed", "split", "explainer", "metric", "value"]
EXPLAINER = "grad_cam"  # of the headline numbers: the paper's own, and one that XBL-D is not taught
CLEAN, DECOY = "test_clean", "test_decoy"
BOUNDS = ("erm", "oracle")  # floor and ceiling: their recovery is 0 and 1 by definition

Manifests = dict[tuple[str, str], dict[str, Any]]
KEYS = {
    "data": str,
    "device": str,
    "processor": str,
    "packages": dict,
    "seconds": dict,
    "files": dict,
}  # of a manifest, beside its config


def folder(task: str, method: str, *, root: Path | None = None) -> Path:
    """Where the runs of a task x method lie.

    >>> folder("decoy_coco", "rrr", root=Path("/clone")).as_posix()
    '/clone/build/runs/decoy_coco/rrr'
    """
    return (root or project.root()) / "build" / "runs" / task / method


def load_manifests(tasks: Sequence[str] | None = None, *, root: Path | None = None) -> Manifests:
    """Manifest of every task x method of the grid.

    Args:
        tasks: of the grid; None: all of it.
        root: of the project; None: found from the current folder.

    Raises:
        ValueError: a task that is not in the grid, or runs of another profile than that of
            ``params.yaml``.
        FileNotFoundError: runs that are missing.
    """
    settings = config.load(root)
    unknown = [task for task in tasks or [] if task not in settings.tasks]
    if unknown:
        raise ValueError(f"task must be one of {', '.join(settings.tasks)}, got {unknown[0]!r}")
    manifests: Manifests = {}
    for task in settings.tasks if tasks is None else tasks:
        for method in settings.methods:
            path = folder(task, method, root=root) / "manifest.json"
            stage = f"dvc repro train@{task}-{method}"
            if not path.is_file():
                raise FileNotFoundError(f"no runs of {method} on {task} ({path}); run: {stage}")
            try:
                manifest = json.loads(path.read_text(encoding="utf-8"))
                profile = manifest["config"]["profile"]
                wrong = [key for key, kind in KEYS.items() if not isinstance(manifest[key], kind)]
                if wrong:
                    raise TypeError(f"{wrong[0]} {reprlib.repr(manifest[wrong[0]])}")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(
                    f"{path} must be a manifest, got {error!r}; delete it and run: make reproduce"
                ) from error
            if profile != settings.profile:
                raise ValueError(
                    f"runs of {method} on {task} must be of profile {settings.profile!r} as in "
                    f"params.yaml, got {profile!r}; run: {stage}"
                )
            manifests[task, method] = manifest
        kinds = {manifest["data"] for key, manifest in manifests.items() if key[0] == task}
        if len(kinds) != 1:
            raise ValueError(
                f"runs of {task} must be of one kind of data, got {' and '.join(sorted(kinds))}; "
                "run: dvc repro"
            )
    return manifests


def load_runs(tasks: Sequence[str] | None = None, *, root: Path | None = None) -> pd.DataFrame:
    """All runs of the grid, in its order: every weight, seed, split, explainer and metric.

    Args, errors: as :func:`load_manifests`, and ValueError for runs that are not what was written.

    Returns:
        Tidy, columns ``task, data, method, weight, chosen, seed, split, explainer, metric, value,
        nan_share``.
    """
    tables = []
    for (task, method), manifest in load_manifests(tasks, root=root).items():
        path = folder(task, method, root=root) / "runs.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; run: dvc repro train@{task}-{method}")
        expected, found = manifest["files"].get(path.name), project.sha256_of(path)
        if found != expected:
            raise ValueError(
                f"sha256 of {path} must be {expected}, as in its manifest, got {found}: it was "
                "altered since it was made, or so was DVC's copy of it; delete it and run: "
                "make reproduce"
            )
        empty = {"value": [""], "nan_share": [""]}  # else "none", an explainer, would be NaN too
        table = pd.read_csv(  # to the last bit, which is pandas's default from 3.0 on
            path, keep_default_na=False, na_values=empty, float_precision="round_trip"
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def select(runs: pd.DataFrame, metric: str, *, split: str, explainer: str = "none") -> pd.DataFrame:
    """Rows of one metric on one split by one explainer.

    Raises:
        ValueError: there are none.
    """
    found = runs[
        (runs["metric"] == metric) & (runs["split"] == split) & (runs["explainer"] == explainer)
    ]
    if found.empty:
        raise ValueError(f"runs must have rows of {metric} on {split} by {explainer}, got none")
    return found


def metrics_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What ``results/metrics.csv`` holds: the runs with the chosen weights, one row a number."""
    return runs.loc[runs["chosen"], STRICT].reset_index(drop=True)


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table whole or not at all; the same numbers give the same bytes."""
    with project.write_atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")


def write_text(text: str, path: str | Path) -> None:
    """Write a text whole or not at all."""
    with project.write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def recoveries(runs: pd.DataFrame) -> pd.DataFrame:
    """Recovery of every chosen run, paired by seed, as rows like those of ``runs``.

    None where ERM or the oracle is not among the methods.
    """
    chosen = runs[runs["chosen"] & (runs["metric"] == "accuracy") & (runs["split"] == CLEAN)]
    tables = []
    for _, rows in chosen.groupby("task", sort=False):
        wide = rows.pivot(index="seed", columns="method", values="value")
        if {*BOUNDS} <= set(wide):
            for method, own in rows.groupby("method", sort=False):
                share = stats.recovery(wide[method], wide["erm"], wide["oracle"])
                by_seed = pd.Series(share, wide.index)
                own = own.assign(metric="recovery", value=own["seed"].map(by_seed))
                tables.append(own.assign(nan_share=own["value"].isna().astype(float)))
    return pd.concat(tables, ignore_index=True) if tables else chosen.head(0)


def method_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with its 95% Student interval, of every metric, recovery included.

    Args:
        runs: from :func:`load_runs`; those with the chosen weight count.

    Returns:
        One row a task x method x split x explainer x metric: ``mean, ci_low, ci_high``,
        ``nan_share`` (of images; for recovery, of seeds) and ``seeds`` (that have a value).
    """
    rows = pd.concat([runs[runs["chosen"]], recoveries(runs)], ignore_index=True)
    keys = ["task", "data", "method", "split", "explainer", "metric"]
    found = []
    for key, group in rows.groupby(keys, sort=False):
        mean = stats.mean_ci(group["value"])
        found.append((*key, mean.value, mean.low, mean.high, group["nan_share"].mean(), mean.n))
    table = pd.DataFrame(found, columns=[*keys, "mean", "ci_low", "ci_high", "nan_share", "seeds"])
    grid = runs[["task", "method"]].drop_duplicates().reset_index(drop=True)
    position = table.merge(grid.reset_index(names="position"))["position"]
    return table.iloc[position.argsort(kind="stable")].reset_index(drop=True)


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
