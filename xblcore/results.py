"""From the runs of the grid in ``params.yaml`` to the tables, without torch.

Only what the grid names is read, never what happens to lie in the folder: a method taken out of the
grid leaves no trace, and one that is missing is an error that names the stage to run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, mode
from typing import Any

import pandas as pd

from xblcore import config, project, stats
from xblcore.manifest import sha256_of
from xblcore.plots.style import label

STRICT = ["task", "data", "method", "seed", "split", "explainer", "metric", "value"]
EXPLAINER = "grad_cam"  # of the headline numbers: the paper's own, and one that XBL-D is not taught
CLEAN, DECOY = "test_clean", "test_decoy"

Manifests = dict[tuple[str, str], dict[str, Any]]

# Columns of the readable tables: metric, split and heading; the arrow points to the better side.
BEHAVIOUR = {
    "Accuracy, clean ↑": ("accuracy", CLEAN),
    "Accuracy, decoy ↑": ("accuracy", DECOY),
    "Recovery ↑": ("recovery", CLEAN),
    "Decoy flip rate ↓": ("decoy_flip_rate", DECOY),
}
EXPLANATION = {
    "Distance focus ↑": ("distance_focus", DECOY),
    "Attribution distance ↓": ("attribution_distance", DECOY),
    "Energy pointing game ↑": ("energy_pointing_game", DECOY),
    "IoU ↑": ("iou", DECOY),
    "Wrong reason ↓": ("wrong_reason", DECOY),
    "Dead CAM ↓": ("dead_cam", DECOY),
}
DEAD = "Dead CAM ↓"  # never NaN


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
            except (ValueError, KeyError, TypeError) as error:
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
        expected, found = manifest.get("files", {}).get(path.name), sha256_of(path)
        if found != expected:
            raise ValueError(
                f"sha256 of {path} must be {expected}, as in its manifest, got {found}: it was "
                "altered since it was made, or so was DVC's copy of it; delete it and run: "
                "make reproduce"
            )
        empty = {"value": [""], "nan_share": [""]}  # else "none", an explainer, would be NaN too
        tables.append(pd.read_csv(path, keep_default_na=False, na_values=empty))
    return pd.concat(tables, ignore_index=True)


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
        if {"erm", "oracle"} <= set(wide):
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


def readable(
    runs: pd.DataFrame, manifests: Manifests, *, explainer: str | None = None
) -> pd.DataFrame:
    """One row a method, ready to print: ``mean ± half the 95% interval``.

    Args:
        runs: of one task.
        manifests: from :func:`load_manifests`.
        explainer: None: behaviour, chosen weight and cost; else the explanation metrics by it, with
            the share of images on which they are undefined.
    """
    own = method_table(runs[runs["explainer"] == (explainer or "none")])
    means = own.set_index(["method", "split", "metric"]).to_dict("index")
    columns = BEHAVIOUR if explainer is None else EXPLANATION
    rows = []
    for chosen in _chosen(runs):
        key = (chosen["task"], method := chosen["method"])
        found = {name: means.get((method, *rest[::-1])) for name, rest in columns.items()}
        shares = [cell["nan_share"] for name, cell in found.items() if cell and name != DEAD]
        usual = mode(shares) if explainer else 0.0
        cells = {name: _cell(cell, usual, name) if cell else "–" for name, cell in found.items()}
        if explainer is None:
            seconds = f"{seconds_a_run(manifests[key]):.1f}"
            cells = {"Weight": f"{chosen['weight']:g}", **cells, "Seconds a run": seconds}
        else:
            cells["NaN"] = f"{usual:.1%}"
        rows.append({"Method": label(method), **cells})
    return pd.DataFrame(rows)


def _chosen(runs: pd.DataFrame) -> list[dict[Any, Any]]:
    """Task, data, method and chosen weight of each task x method, in the grid's order."""
    columns = ["task", "data", "method", "weight"]
    return runs.loc[runs["chosen"], columns].drop_duplicates().to_dict("records")


def _cell(cell: Mapping[Any, Any], usual: float, name: str) -> str:
    """Mean and interval; the share of NaN where it is not the usual one of the row."""
    if math.isnan(cell["mean"]):
        return "undefined"
    half = (cell["ci_high"] - cell["ci_low"]) / 2
    text = f"{cell['mean']:.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")
    differs = name != DEAD and abs(cell["nan_share"] - usual) >= 0.0005
    return text + (f" ({cell['nan_share']:.1%} NaN)" if differs else "")


def seconds_a_run(manifest: Mapping[str, Any]) -> float:
    """Median wall time of the runs of a manifest."""
    return float(median(manifest["seconds"].values()))


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def table_markdown(runs: pd.DataFrame, manifests: Manifests) -> str:
    """What ``results/<task>/table.md`` holds: behaviour and cost, then explanations by explainer.

    Args:
        runs: of one task.
        manifests: from :func:`load_manifests`.
    """
    task, data = str(runs["task"].iloc[0]), str(runs["data"].iloc[0])
    manifest = next(value for key, value in manifests.items() if key[0] == task)
    seeds = runs.loc[runs["chosen"], "seed"].nunique()
    parts = [
        f"# {label(task)}, {data} data, profile {manifest['config']['profile']}\n",
        f"Mean over {seeds} seeds ± half of the 95% interval (Student's t). Arrows point to the "
        "better side. NaN: share of images (for recovery, of seeds) on which a metric is "
        "undefined; in a cell, where it is not that of its row. "
        f"Device: {manifest['device']}, {manifest['processor']}.\n",
        markdown(readable(runs, manifests)),
    ]
    explainers = dict.fromkeys(runs.loc[runs["metric"] == "distance_focus", "explainer"])
    for name in explainers:
        parts += [
            f"## Explanations by {label(name)}, on {label(DECOY)}\n",
            markdown(readable(runs, manifests, explainer=name)),
        ]
    return "\n".join(parts)


def summary_table(runs: pd.DataFrame, manifests: Manifests) -> pd.DataFrame:
    """What ``results/paper/summary.csv`` holds: one row a task x method, means over seeds.

    ``distance_focus`` is by :data:`EXPLAINER`; ``seconds_a_run`` is wall time.
    """
    own = method_table(runs[runs["explainer"].isin(["none", EXPLAINER])])
    means = own.set_index(["task", "method", "explainer", "split", "metric"])["mean"]
    columns = {
        "accuracy_clean": ("none", CLEAN, "accuracy"),
        "recovery": ("none", CLEAN, "recovery"),
        "decoy_flip_rate": ("none", DECOY, "decoy_flip_rate"),
        "distance_focus": (EXPLAINER, DECOY, "distance_focus"),
    }
    rows = []
    for row in _chosen(runs):
        key = (row["task"], row["method"])
        row |= {name: means.get((*key, *rest), math.nan) for name, rest in columns.items()}
        rows.append(row | {"seconds_a_run": seconds_a_run(manifests[key])})
    return pd.DataFrame(rows)
