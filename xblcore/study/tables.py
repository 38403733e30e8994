"""From tidy rows of runs to the tables of a task and of the whole study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from xblcore import methods, metrics, project
from xblcore.data.tasks import TASKS
from xblcore.study import explainers, stats

CLEAN, DECOY = "test_clean", "test_decoy"
POOLED = "pooled"  # the task of rows that combine all tasks
EXPLAINER = "grad_cam"  # of the headline numbers: the paper's own
METRIC_COLUMNS = ["task", "data", "method", "seed", "split", "explainer", "metric", "value"]
# What must be equal for a run to be compared with ERM and the oracle; the rest of the condition
# (annotations, explained layer, ...) does not concern these two.
SHARED = ["network", "decoy", "switch_on", "learning_rate", "epochs"]

LABELS = {
    "iou": "IoU",
    "cam_method": "Map",
    "feedback": "Annotation",
    "none": "",
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    "hires_cam_log_prob": "HiResCAM (log p)",
    "input_x_gradient": "Input x gradient",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "decoy_fashion_mnist": "Decoy Fashion-MNIST",
    "decoy_cifar10": "Decoy CIFAR-10",
    "decoy_coco": "Decoy MS-COCO",
    "natural_shortcut": "Natural shortcut",
    POOLED: "All tasks",
    "val": "validation images",
    "val_swapped": "validation images, decoy swapped",
    "test_decoy": "test images with a random decoy",
    "test_clean": "clean test images",
    **{name: entry.label for name, entry in methods.METHODS.items()},
}


def label(name: str) -> str:
    """Return the name of a method, task, split, metric or explainer for readers.

    >>> label("xbl_d_plus"), label("distance_focus")
    ('XBL-D+', 'Distance focus')
    """
    return LABELS.get(name, name.replace("_", " ").capitalize())


def about(task: str, data: str | Iterable[str]) -> str:
    """Name a task, with its kinds of data (a list, or with commas) unless all are original.

    >>> about("decoy_coco", "stand-in"), about("decoy_coco", "original")
    ('Decoy MS-COCO (stand-in data)', 'Decoy MS-COCO')
    >>> about("pooled", ["original", "stand-in"])
    'All tasks (partly stand-in data)'
    """
    kinds = set(data.split(", ") if isinstance(data, str) else data)
    partly = "partly " if "original" in kinds else ""
    others = " and ".join(sorted(kinds - {"original"}))
    return f"{label(task)} ({partly}{others} data)" if others else label(task)


def select(runs: pd.DataFrame, metric: str, *, split: str, explainer: str = "none") -> pd.DataFrame:
    """Return the rows of one metric on one split by one explainer."""
    return runs[
        (runs["metric"] == metric) & (runs["split"] == split) & (runs["explainer"] == explainer)
    ]


def recoveries(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the recovery of every run, paired by seed with ERM and the oracle, as rows.

    The floor and the ceiling are those of the same task and seed, and of the same network, decoy,
    and length and learning rate of training; other conditions do not concern them. An epoch that
    was chosen on test images (``keep``) is no floor.
    """
    rows = select(runs, "accuracy", split=CLEAN)
    keys = ["task", "seed", *SHARED]
    text = rows.reindex(columns=list(dict.fromkeys([*rows, *SHARED, "keep"])))
    text = text.astype(dict.fromkeys(SHARED, str))
    bounds = [
        text.loc[(text["method"] == name) & (text["keep"] != "best"), [*keys, "value"]]
        .drop_duplicates(keys)
        .rename(columns={"value": name})
        for name in ("erm", "oracle")
    ]
    both = text[keys].merge(bounds[0], how="left").merge(bounds[1], how="left")
    share = stats.recovery(
        rows["value"].to_numpy(), both["erm"].to_numpy(), both["oracle"].to_numpy()
    )
    undefined = pd.isna(share)
    return rows.assign(
        metric="recovery", value=share, worst=share, nan_share=undefined.astype(float)
    )


def summarise(runs: pd.DataFrame, *, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return mean and 95% interval over the seeds of every metric, recovery included.

    Args:
        runs: tidy rows, one weight per method and condition.
        by: further columns to group by, usually fields of the condition.

    Returns:
        One row per task, data, method, condition, split, explainer and metric with ``mean, ci_low,
        ci_high, nan_share`` (of images; for recovery, of seeds), ``worst`` (mean with undefined
        values as the worst) and ``seeds`` (that have a value), in the order of ``runs``.
    """
    rows = pd.concat([runs, recoveries(runs)], ignore_index=True)
    keys = ["task", "data", "method", "condition", *by, "split", "explainer", "metric"]
    found = []
    for key, group in rows.groupby(keys, sort=False, dropna=False):
        mean = stats.mean_ci(group["value"])
        shares = (group["nan_share"].mean(), group["worst"].mean())
        found.append((*key, mean.value, mean.low, mean.high, *shares, mean.n))
    columns = [*keys, "mean", "ci_low", "ci_high", "nan_share", "worst", "seeds"]
    return pd.DataFrame(found, columns=columns)


BEHAVIOUR = {
    "Accuracy, clean ↑": ("accuracy", CLEAN, "none"),
    "Accuracy, decoy ↑": ("accuracy", DECOY, "none"),
    "Recovery ↑": ("recovery", CLEAN, "none"),
    "Decoy flips ↓": ("decoy_flip_rate", DECOY, "none"),
}
EXPLANATION = {
    f"{label(name)} {'↑' if metrics.METRICS[name].higher_is_better else '↓'}": name
    for name in ("distance_focus", "attribution_distance", "energy_pointing_game", "iou",
                 "wrong_reason", "all_zero")
}  # fmt: skip


def _rows(
    table: pd.DataFrame, columns: dict[str, tuple[str, str, str]], by: str = "condition"
) -> Iterator[tuple[str, str, str, dict[str, str], pd.DataFrame]]:
    """Yield task (for readers), condition, method, formatted columns and rows of each group."""
    keys = ["task", "data", by, "method"]
    for (task, data, condition, method), own in table.groupby(keys, sort=False):
        found = own.set_index(["metric", "split", "explainer"])
        cells = {name: cell(found, key) for name, key in columns.items()}
        yield about(task, data), condition, method, cells, own


def behaviour_table(runs: pd.DataFrame, weights: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task and method: accuracy, recovery, flips, collapsed seeds and cost.

    Means over all seeds are shown, :func:`collapsed` ones included.
    """
    table = []
    for task, _, method, cells, found in _rows(summarise(runs), BEHAVIOUR):
        name = found["task"].iloc[0]
        own = runs[(runs["task"] == name) & (runs["method"] == method)]
        weight = f"{own['weight'].iloc[0]:g}" if methods.get(method).default_weight else "–"
        if weights is not None:
            mine = weights[(weights["task"] == name) & (weights["method"] == method)]
            if len(mine) > 1 and not mine["recovers"].any():
                weight = "no weight recovers"
        table.append(
            {"Task": task, "Method": label(method), "Weight": weight} | cells
            | {"Collapsed": f"{collapsed(own)} of {own['seed'].nunique()}",
               "Seconds per run": f"{own.drop_duplicates('seed')['seconds'].median():.1f}"}
        )  # fmt: skip
    return pd.DataFrame(table)


def condition_table(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return one row per task, value of a condition and method: accuracy, recovery and flips.

    ``table`` is that of :func:`summarise`, with names for the values of the column ``by``.
    """
    return pd.DataFrame(
        {"Task": task, "Condition": value, "Method": label(method)} | cells
        for task, value, method, cells, _ in _rows(table, BEHAVIOUR, by)
    )


def explanation_table(runs: pd.DataFrame, explainer: str) -> pd.DataFrame:
    """Return one row per task and method with the explanation metrics by one explainer."""
    known = explainers.get(explainer).name
    columns = {name: (metric, DECOY, known) for name, metric in EXPLANATION.items()}
    table = []
    for task, _, method, cells, found in _rows(summarise(runs), columns):
        focus = select(found, "distance_focus", split=DECOY, explainer=explainer)
        worst = "–" if focus.empty else f"{focus['worst'].iloc[0]:.3f}"
        share = "–" if focus.empty else f"{focus['nan_share'].iloc[0]:.1%}"
        cells |= {"Distance focus, all-zero maps as 0 ↑": worst, "NaN": share}
        table.append({"Task": task, "Method": label(method)} | cells)
    return pd.DataFrame(table)


def collapsed(runs: pd.DataFrame) -> int:
    """Count seeds whose network learnt nothing.

    That is: accuracy on *validation* images with the decoy of at most 1.2 times chance level, so
    that neither the object nor the decoy is used.
    """
    accuracy = select(runs, "accuracy", split="val")
    chance = accuracy["task"].map(lambda task: TASKS[task].chance)
    return int((accuracy["value"] <= 1.2 * chance).sum())


def overview(runs: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method: recovery and flips on each task, and the cost of a step.

    Args:
        runs: of the main grid and of experiments under its conditions.
        costs: of ``benchmarks/training_step.py``, with ``method, ratio``, one row per network. The
            range over the networks is shown, relative to ERM.
    """
    table = summarise(runs)
    found = {
        "recovery": select(table, "recovery", split=CLEAN),
        "flips": select(table, "decoy_flip_rate", split=DECOY),
    }
    means = {name: own.set_index(["method", "data", "task"])["mean"] for name, own in found.items()}
    rows = []
    for method in [name for name in methods.METHODS if name in set(table["method"])]:
        row = {"Method": label(method)}
        for data, task in dict.fromkeys(zip(table["data"], table["task"], strict=True)):
            for name, mean in means.items():
                key = (method, data, task)
                row[f"{about(task, data)}: {name}"] = f"{mean[key]:.2f}" if key in mean else "–"
        ratios = costs.loc[costs["method"] == method, "ratio"]
        row["Cost of a step"] = f"{ratios.min():.2f} to {ratios.max():.2f}" if len(ratios) else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def cell(table: pd.DataFrame, key: tuple[str, ...]) -> str:
    """Format mean and half of the interval of one row of :func:`summarise`."""
    if key not in table.index:
        return "–"
    row = table.loc[key]
    if math.isnan(row["mean"]):
        return "undefined"
    half = (row["ci_high"] - row["ci_low"]) / 2
    return f"{row['mean']:.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table atomically; the same numbers give the same bytes."""
    with project.write_atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame | None:
    """Read what :func:`write_csv` wrote, empty cells as missing; None if there is no such file."""
    if not path.is_file():
        return None
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], comment="#")
    if "condition" in table:  # empty for the main grid
        table["condition"] = table["condition"].astype(object).fillna("")
    return table


def shares_reported(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the fall in reliance on the decoy relative to ERM, by each explainer and by flips.

    For an explainer, ``1 - d / d_ERM`` with the attribution distance ``d``, but at least -1:
    all-zero maps count as the worst. For the flips, ``(f_ERM - f) / (f_ERM - f_oracle)``: the
    oracle has some although it has never seen a decoy. Means over the seeds, indexed by task and
    method; one column per explainer and ``decoy_flip_rate``.
    """
    keys = ["task", "method", "seed"]
    distance = runs[(runs["metric"] == "attribution_distance") & (runs["split"] == DECOY)]
    wide = distance.pivot_table(index=keys, columns="explainer", values="worst")
    flips = select(runs, "decoy_flip_rate", split=DECOY).set_index(keys)["value"].sort_index()
    found = []
    for task, own in wide.groupby(level="task", sort=False):
        floor = own.xs("erm", level="method").loc[task]
        share = 1 - own / floor.reindex(own.index.get_level_values("seed")).to_numpy()
        share = share.clip(lower=-1.0)
        erm, oracle = (flips.loc[task, name].reindex(own.index.get_level_values("seed")).to_numpy()
                       for name in ("erm", "oracle"))  # fmt: skip
        share["decoy_flip_rate"] = stats.recovery(-flips.reindex(own.index), -erm, -oracle)
        found.append(share.groupby(level=["task", "method"], sort=False).mean())
    return pd.concat(found)
