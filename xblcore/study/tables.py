"""The tables of a task and of the whole study as a reader sees them, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median, mode
from typing import Any

import pandas as pd

from xblcore.plots.style import label
from xblcore.results import CLEAN, DECOY, EXPLAINER, Manifests, markdown, method_table

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


def readable(
    runs: pd.DataFrame, manifests: Manifests, *, explainer: str | None = None
) -> pd.DataFrame:
    """One row a method, ready to print: ``mean ± half the 95% interval``.

    Args:
        runs: of one task.
        manifests: from :func:`xblcore.results.load_manifests`.
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


def table_markdown(runs: pd.DataFrame, manifests: Manifests) -> str:
    """What ``results/<task>/table.md`` holds: behaviour and cost, then explanations by explainer.

    Args:
        runs: of one task.
        manifests: from :func:`xblcore.results.load_manifests`.
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

    ``distance_focus`` is by :data:`xblcore.results.EXPLAINER`; ``seconds_a_run`` is wall time.
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


def seconds_a_run(manifest: Mapping[str, Any]) -> float:
    """Median wall time of the runs of a manifest."""
    return float(median(manifest["seconds"].values()))


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
