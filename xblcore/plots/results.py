"""Figures of results: methods and tasks compared, the weight sweep, explainers compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from xblcore.plots import style
from xblcore.results import select


def by_method(
    ax: Axes,
    runs: pd.DataFrame,
    table: pd.DataFrame,
    metric: str,
    *,
    split: str,
    explainer: str = "none",
    bounds: bool = False,
) -> Axes:
    """One metric, a method a row: mean with its 95% interval, and a dot for each seed.

    Args:
        ax: where.
        runs: of one task; those with the chosen weight are shown.
        table: from :func:`xblcore.results.method_table` of the same runs.
        metric: which.
        split: on which images.
        explainer: by which attribution; ``none`` for accuracy and flips.
        bounds: draw lines at the floor (ERM) and the ceiling (oracle).
    """
    chosen = select(runs[runs["chosen"]], metric, split=split, explainer=explainer)
    means = select(table, metric, split=split, explainer=explainer).set_index("method")
    methods = list(dict.fromkeys(runs["method"]))
    for row, name in enumerate(methods):
        look = style.method(name)
        values = chosen.loc[chosen["method"] == name, "value"].to_numpy()
        below = row + 0.24 + 0.06 * (np.arange(len(values)) % 3)
        ax.scatter(values, below, s=13, color=look.colour, alpha=0.55, lw=0)
        mean, low, high = means.loc[name, ["mean", "ci_low", "ci_high"]].astype(float)
        ax.plot([low, high], [row, row], "|-", color=look.colour, lw=1.8, ms=11, mew=1.8)
        ax.plot(mean, row, ls="", marker=look.marker, color=look.colour, ms=look.size, mec="white",
                mew=0.7)  # fmt: skip
        share = float(means.loc[name, "nan_share"])
        text = f"{mean:.3f}".replace("-", "−") if mean == mean else "undefined"
        text += f" ({share:.0%} NaN)" if 0.005 <= share < 1 else ""
        ax.text(1.01, row, text, transform=ax.get_yaxis_transform(), va="center", size=9)
    if bounds:
        _bounds(ax, means["mean"])
    ax.set_yticks(range(len(methods)), [style.label(name) for name in methods])
    ax.set_ylim(len(methods) - 0.45, -0.6)
    ax.grid(axis="y", visible=False)
    return ax


def _bounds(ax: Axes, means: pd.Series[float]) -> None:
    for name, text in (("erm", "floor"), ("oracle", "ceiling")):
        if name in means:
            ax.axvline(means[name], color="#555555", lw=1, ls=(0, (4, 3)), zorder=0.6)
            ax.annotate(
                text, (means[name], 1), xycoords=("data", "axes fraction"), xytext=(0, 1),
                textcoords="offset points", ha="center", size=8.5, color="#555555",
            )  # fmt: skip


def accuracies(fig: Figure, runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Accuracy of every method where the decoy is gone, and where it tells nothing.

    Args:
        fig: an empty figure, about 9.5 by 4 inches.
        runs: of one task.
        table: from :func:`xblcore.results.method_table`.
    """
    axes = style.panels(fig, 2, columns=2, sharex=True)
    for ax, split in zip(axes, ("test_clean", "test_decoy"), strict=True):
        by_method(ax, runs, table, "accuracy", split=split, bounds=True)
        ax.set_title(style.label(split), pad=16)
        ax.set_xlabel("accuracy, with 95% interval and each seed")
    fig.suptitle(style.title_of("Accuracy", runs))
    return fig


SUMMARY = {
    "recovery": ("test_clean", "recovery: 0 as ERM, 1 as the oracle"),
    "decoy_flip_rate": ("test_decoy", "decoy flip rate (lower is better)"),
}


def summary(fig: Figure, runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Every method on every task: what is won back of the accuracy, and what is left of reliance.

    Args:
        fig: an empty figure, about 1 and 4 for each task inches wide and 7.5 high.
        runs: of one or several tasks, with :func:`xblcore.results.recoveries` among them.
        table: from :func:`xblcore.results.method_table` of the same runs.
    """
    tasks = runs[["task", "data"]].drop_duplicates().to_dict("records")
    metrics = [metric for metric in SUMMARY if metric in set(runs["metric"])]
    grid = fig.subplots(len(metrics), len(tasks), sharex="row", sharey=True, squeeze=False)
    for row, metric in zip(grid, metrics, strict=True):
        split, text = SUMMARY[metric]
        for ax, task in zip(row, tasks, strict=True):
            own, means = (rows[rows["task"] == task["task"]] for rows in (runs, table))
            by_method(ax, own, means, metric, split=split, bounds=metric == "recovery")
            ax.set_title(style.task_label(task["task"], data=task["data"]), pad=16)
            ax.set_xlabel(text)
            ax.xaxis.set_major_locator(MaxNLocator(5))
    data = style.data_of(runs)
    what = "Summary, mean with 95% interval and each seed"
    fig.suptitle(what + ("" if data == "original" else f" ({data} data)"))
    return fig


def flip_rates(ax: Axes, runs: pd.DataFrame, table: pd.DataFrame) -> Axes:
    """Share of predictions that change when only the decoy does: reliance on it, as a cause."""
    by_method(ax, runs, table, "decoy_flip_rate", split="test_decoy")
    ax.set_xlabel("share of predictions that change when only the decoy does (lower is better)")
    ax.set_xlim(left=-0.02 * ax.get_xlim()[1])
    ax.set_title(style.title_of("Decoy flip rate", runs))
    return ax


def weight_sweep(fig: Figure, runs: pd.DataFrame) -> Figure:
    """Every candidate weight: what the rule that chooses sees, and what it must not see.

    Weights are compared on the seeds that all of them were run with; methods with one weight are
    left out, and a study of such methods alone says so.

    Args:
        fig: an empty figure, about 9.5 inches wide and 3 high for each three or four methods.
        runs: of one task.
    """
    accuracy = runs[runs["metric"] == "accuracy"]
    swept = [name for name, rows in accuracy.groupby("method", sort=False)
             if rows["weight"].nunique() > 1]  # fmt: skip
    fig.suptitle(style.title_of("Weight of the explanation loss", runs))
    if not swept:
        fig.text(0.5, 0.5, "No method was run with several weights.", ha="center", va="center")
        return fig
    axes = style.panels(fig, len(swept), columns=3 if len(swept) in (3, 5, 6) else 4)
    for ax, name in zip(axes, swept, strict=True):
        _sweep(ax, accuracy[accuracy["method"] == name])
        ax.set_title(style.label(str(name)))
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel("accuracy")
    handles = [
        Line2D([], [], color=style.BLUE, marker="o",
               label="validation, decoy swapped (the rule's view)"),
        Line2D([], [], color=style.VERMILLION, marker="s", ls="--", mfc="white",
               label="clean test (shown, not used)"),
        Line2D([], [], color="#d9d9d9", lw=8, label="chosen weight"),
    ]  # fmt: skip
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def _sweep(ax: Axes, rows: pd.DataFrame) -> None:
    shared = set.intersection(*(set(group["seed"]) for _, group in rows.groupby("weight")))
    rows = rows[rows["seed"].isin(shared)]
    looks = {"val_swapped": (style.BLUE, "o", "-"), "test_clean": (style.VERMILLION, "s", "--")}
    for split, (colour, marker, line) in looks.items():
        part = rows[rows["split"] == split]
        ax.scatter(part["weight"], part["value"], s=14, color=colour, alpha=0.5, lw=0)
        mean = part.groupby("weight")["value"].mean()
        fill = colour if split == "val_swapped" else "white"
        ax.plot(mean.index, mean, marker=marker, color=colour, ls=line, mfc=fill, ms=5.5)
    ax.set_xscale("log")
    weights = sorted(set(rows["weight"]))
    ax.set_xticks(weights, [f"{weight:g}" for weight in weights])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("weight")
    for weight in set(rows.loc[rows["chosen"], "weight"]):
        ax.axvline(weight, color="#d9d9d9", lw=8, zorder=0.5)


def explainers_compared(
    fig: Figure,
    runs: pd.DataFrame,
    table: pd.DataFrame,
    *,
    metric: str = "attribution_distance",
    split: str = "test_decoy",
) -> Figure:
    """One metric by every explainer: does the gain carry over, or was it only taught to one map?

    Args:
        fig: an empty figure, about 9.5 inches wide and 4 high for each three explainers.
        runs: of one task.
        table: from :func:`xblcore.results.method_table`.
        metric: of an explanation.
        split: on which images.
    """
    measured = runs[(runs["metric"] == metric) & (runs["split"] == split)]
    explainers = list(dict.fromkeys(measured["explainer"]))
    axes = style.panels(fig, len(explainers), columns=min(3, len(explainers)), sharex=True)
    for ax, explainer in zip(axes, explainers, strict=True):
        by_method(ax, runs, table, metric, split=split, explainer=explainer)
        ax.set(title=style.label(explainer), xlabel=style.label(metric))
        ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0].set_xlim(left=-0.04 * axes[0].get_xlim()[1])
    fig.suptitle(style.title_of(f"{style.label(metric)} by explainer", runs))
    return fig
