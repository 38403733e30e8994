"""Charts of the main study: methods, weights, training, explainers and metrics."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from xblcore.methods import METHODS
from xblcore.metrics import METRICS
from xblcore.plots import style
from xblcore.plots.style import BLACK, BLUE, GREY, REFERENCE, SMALL, VERMILLION, Look, look, number
from xblcore.study import tables

BOUNDS = ("erm", "oracle")  # floor and ceiling
VIEW = (-0.6, 1.6)  # widest axis of a recovery; its values may be anything
DASHES: Mapping[str, Any] = {"erm": (0, (4, 3)), "oracle": (0, (1, 1.5))}
HEADINGS = {"recovery": "recovery (0: ERM, 1: oracle)", "accuracy": "accuracy, {split}"}
PANELS = (("recovery", tables.CLEAN), ("decoy_flip_rate", tables.DECOY))


# Dots with intervals


class Drawn(NamedTuple):
    """Which special marks a row of dots contains, for the legend."""

    interval: bool = False
    beyond: bool = False


def interval(
    ax: Axes, row: Mapping[Any, Any], y: float, series: Look, *, scale: float = 1.0
) -> Drawn:
    """Draw mean and interval of a row of a table at height ``y``, once the x limits are set.

    What lies beyond the x axis is shown as an arrow at its end; an undefined mean as a word.
    """
    mean, low, high = (float(row[name]) for name in ("mean", "ci_low", "ci_high"))
    if math.isnan(mean):
        ax.text(0.02, y, "undefined", transform=ax.get_yaxis_transform(), va="center",
                size=SMALL - 1, color=series.colour)  # fmt: skip
        return Drawn()
    left, right = ax.get_xlim()
    style_of_line = {"color": series.colour, "lw": 1.6, "mew": 1.6, "ms": scale * 9.0}
    if low < right and high > left:
        ax.plot([max(low, left), min(high, right)], [y, y], **(style_of_line | {"marker": ""}))
        ends = [end for end in (low, high) if left <= end <= right]
        ax.plot(ends, [y] * len(ends), ls="", marker="|", **style_of_line)
    for end, arrow, outside in ((left, "<", min(low, mean) < left),
                                (right, ">", max(high, mean) > right)):  # fmt: skip
        if outside:
            ax.plot(end, y, arrow, color=series.colour, ms=scale * 6.0, clip_on=False, zorder=3)
    if left <= mean <= right:
        ax.plot(mean, y, ls="", marker=series.marker, color=series.colour, ms=scale * series.size,
                mec="white", mew=0.6, zorder=3, clip_on=False)  # fmt: skip
    else:
        at, align = (0.04, "left") if mean < left else (0.96, "right")
        ax.text(at, y, number(mean), transform=ax.get_yaxis_transform(), va="center", ha=align,
                size=SMALL - 1, color=series.colour)  # fmt: skip
    return Drawn(low < high, min(low, mean) < left or max(high, mean) > right)


def limits(metric: str, *values: Sequence[float] | pd.Series[float]) -> tuple[float, float]:
    """Choose the x limits for means (and seeds) of a metric; most metrics are in [0, 1]."""
    if metric != "recovery":
        return -0.02, 1.02
    known = np.concatenate([np.asarray(part, dtype=float) for part in values] + [[0.0, 1.0]])
    known = known[~np.isnan(known)]
    return max(VIEW[0], float(known.min()) - 0.1), min(VIEW[1], float(known.max()) + 0.1)


def frame(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of an axes from the top, every other one shaded."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    for row in range(1, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)


def heading(metric: str, split: str = "", explainer: str = "none") -> str:
    """Label of the axis of a metric, with its direction."""
    text = HEADINGS.get(metric, style.label(metric).lower() + ", {split}")
    text = text.format(split=style.label(split)).removesuffix(", ")
    if explainer != "none":
        text = f"{style.label(explainer)}: {text}"
    if metric in METRICS and not METRICS[metric].higher_is_better:
        text += " (lower is better)"
    return text


def finding(metric: str, split: str, means: pd.Series[float]) -> str:
    """State the highest and the lowest mean of the methods, apart from ERM and the oracle."""
    others = means[~means.index.isin(BOUNDS)]
    found = style.extremes(others if len(others) else means)
    if found is None:
        return f"{style.label(metric)} is undefined for every method"
    high, most, low, least = found
    if metric == "decoy_flip_rate":
        text = f"Swapping the decoy changes {number(least)} of the predictions of {low}"
        return text if high == low else f"{text}, {number(most)} of those of {high}"
    text = {
        "recovery": f"{high} recovers {number(most)} of the accuracy lost to the decoy",
        "accuracy": f"{high} has an accuracy of {number(most)} on {style.label(split)}",
    }.get(metric, f"{style.label(metric)} is {number(most)} for {high}")
    return text if high == low else f"{text}; {low} {number(least)}"


def _rows(table: pd.DataFrame, metric: str, split: str, explainer: str) -> pd.DataFrame:
    """Select one row per method."""
    rows = tables.select(table, metric, split=split, explainer=explainer)
    if rows.empty or rows["method"].duplicated().any():
        raise ValueError(
            f"table must have one row per method for {metric} on {split} by {explainer}, got "
            f"{len(rows)} of {rows['method'].nunique()} methods; select one task and condition"
        )
    return rows.set_index("method")


def _seeds(runs: pd.DataFrame, metric: str, split: str, explainer: str) -> pd.DataFrame:
    rows = tables.recoveries(runs) if metric == "recovery" else runs
    return tables.select(rows, metric, split=split, explainer=explainer)


def _draw_methods(
    ax: Axes, table: pd.DataFrame, metric: str, split: str, explainer: str,
    runs: pd.DataFrame | None,
) -> list[Artist]:  # fmt: skip
    """Draw the rows of all methods and return the legend entries."""
    rows = _rows(table, metric, split, explainer)
    seeds = None if runs is None else _seeds(runs, metric, split, explainer)
    ax.set_xlim(*limits(metric, rows["mean"], [] if seeds is None else seeds["value"]))
    frame(ax, [look(str(name)).label for name in rows.index])
    drawn = []
    for y, (name, row) in enumerate(rows.iterrows()):
        series = look(str(name))
        drawn.append(interval(ax, row.to_dict(), y, series))
        if seeds is not None:
            values = seeds.loc[seeds["method"] == name, "value"].dropna().to_numpy()
            inside = values.clip(*ax.get_xlim())
            below = y + 0.27 + 0.055 * (np.arange(len(values)) % 3)
            ax.scatter(inside, below, s=11, color=series.colour, alpha=0.6, lw=0, clip_on=False)
            for x, at in zip(inside[inside != values], below[inside != values], strict=True):
                ax.plot(x, at, "<" if x < 0 else ">", color=series.colour, ms=3.5, clip_on=False)
                drawn.append(Drawn(beyond=True))
        text = number(row["mean"], 3) if row["mean"] == row["mean"] else "–"
        text += f"\n{row['nan_share']:.0%} NaN" if 0.005 <= row["nan_share"] < 1 else ""
        ax.text(1.025, y, text, transform=ax.get_yaxis_transform(), va="center", size=SMALL,
                linespacing=0.95)  # fmt: skip
    lines = {
        name: rows.loc[name, "mean"] for name in BOUNDS if name in rows.index and len(rows) > 1
    }
    ax.set_xlabel(heading(metric, split, explainer))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    return [
        *reference_lines(ax, lines),
        *special_marks(drawn, seeds=seeds is not None),
    ]


def reference_lines(ax: Axes, values: Mapping[str, float]) -> list[Artist]:
    """Draw lines at the values of ERM and the oracle, and return their legend entries."""
    known = {name: value for name, value in values.items() if value == value}
    for name, value in known.items():
        ax.axvline(value, color=REFERENCE, lw=1, ls=DASHES[name], zorder=0.6)
    return [
        Line2D([], [], color=REFERENCE, lw=1, ls=DASHES[name], label=look(name).label)
        for name in known
    ]


def special_marks(drawn: Sequence[Drawn], *, seeds: bool = False) -> list[Artist]:
    """Return legend entries of intervals, seeds and arrows, as far as they occur."""
    entries = [
        (any(mark.interval for mark in drawn), "mean with 95% interval",
         {"ls": "-", "marker": "|", "ms": 9, "mew": 1.6}),
        (seeds, "single seed", {"ls": "", "marker": "o", "ms": 3.5}),
        (any(mark.beyond for mark in drawn), "continues beyond the axis",
         {"ls": "", "marker": ">", "ms": 5}),
    ]  # fmt: skip
    return [Line2D([], [], color=GREY, label=text, **kw) for shown, text, kw in entries if shown]


def by_method(
    ax: Axes,
    table: pd.DataFrame,
    metric: str,
    split: str,
    *,
    explainer: str = "none",
    runs: pd.DataFrame | None = None,
) -> Axes:
    """Show one metric of one task, one row per method: mean with 95% interval.

    Args:
        ax: of a figure about ``1.6 + 0.36 * methods`` inches high.
        table: of :func:`xblcore.study.tables.summarise`, one task and condition.
        metric: the metric.
        split: the images.
        explainer: of the explanation; ``none`` for accuracy, recovery and flips.
        runs: to show every seed as a dot; those that the table is made of.
    """
    entries = _draw_methods(ax, table, metric, split, explainer, runs)
    rows = _rows(table, metric, split, explainer)
    style.axes_title(ax, finding(metric, split, rows["mean"]), style.about_table(table))
    ax.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.2,
              ncols=3)  # fmt: skip
    return ax


def summary(
    fig: Figure,
    runs: pd.DataFrame,
    table: pd.DataFrame,
    *,
    panels: Sequence[tuple[str, str]] = PANELS,
) -> Figure:
    """Show several metrics of every method: one column per task, or side by side for one task.

    Args:
        fig: an empty figure; its size is set.
        runs: tidy runs of one or several tasks.
        table: of :func:`xblcore.study.tables.summarise`, from the same runs.
        panels: metric and split of each panel.
    """
    tasks = list(dict.fromkeys(table["task"]))
    methods = max(table.loc[table["task"] == task, "method"].nunique() for task in tasks)
    rows, columns = (1, len(panels)) if len(tasks) == 1 else (len(panels), len(tasks))
    fig.set_size_inches(2.0 + 3.4 * columns, 1.5 + rows * (1.0 + 0.33 * methods))
    grid = fig.subplots(rows, columns, sharey=True, squeeze=False)
    entries: dict[str, Artist] = {}
    cells = [(panel, task) for panel in panels for task in tasks]
    for ax, ((metric, split), task) in zip(grid.flat, cells, strict=True):
        own, means = (frame[frame["task"] == task] for frame in (runs, table))
        drawn = _draw_methods(ax, means, metric, split, "none", own)
        entries |= {str(entry.get_label()): entry for entry in drawn}
        if len(tasks) > 1:
            ax.set_title(style.about_table(means))
    text = _best_by_task(table, *panels[0])
    style.title(fig, text, style.about_table(table))
    style.legend(fig, list(entries.values()))
    return fig


def _best_by_task(table: pd.DataFrame, metric: str, split: str) -> str:
    """State the method with the highest mean on each task, or the finding of the only task."""
    means = {
        str(task): _rows(part, metric, split, "none")["mean"]
        for task, part in table.groupby("task", sort=False)
    }
    if len(means) == 1:
        return finding(metric, split, next(iter(means.values())))
    best = {
        task: style.extremes(values[~values.index.isin(BOUNDS)]) for task, values in means.items()
    }
    texts = [
        f"{style.label(task)}: " + (f"{found[0]} {number(found[1])}" if found else "undefined")
        for task, found in best.items()
    ]
    return f"Highest {metric} — " + "; ".join(texts)


# Weights and training


def weight_selection(fig: Figure, weights: pd.DataFrame, *, data: str) -> Figure:
    """Show how the weight of each method is chosen, by accuracy with the decoy swapped.

    Args:
        fig: an empty figure; its size is set.
        weights: of :func:`xblcore.study.runs.choose_weights`, one task.
        data: for the title.
    """
    (task,) = weights["task"].unique()
    tried = {str(name): rows.sort_values("weight") for name, rows in
             weights.groupby("method", sort=False) if len(rows) > 1}  # fmt: skip
    columns = min(4, max(1, len(tried)))
    fig.set_size_inches(
        max(6.5, 0.6 + 2.5 * columns), 1.6 + 1.9 * -(-max(1, len(tried)) // columns)
    )
    if not tried:
        fig.text(0.5, 0.5, "Every method has one weight.", ha="center", va="center")
        style.title(fig, "No weight is selected", style.about(task, data))
        return fig
    chance = float(weights["chance"].iloc[0])
    for ax, (name, rows) in zip(style.panels(fig, len(tried), columns=columns), tried.items(),
                                strict=True):  # fmt: skip
        series, recovers = look(name), bool(rows["recovers"].any())
        ax.plot(rows["weight"], rows["lowest"], ls="", marker="o", ms=3.5, color=GREY)
        ax.plot(rows["weight"], rows["accuracy"], marker="s", ms=5, color=BLUE, lw=1.4)
        best = rows[rows["chosen"]]
        ax.plot(best["weight"], best["accuracy"], ls="", marker="o", ms=12, mfc="none",
                mec=VERMILLION, mew=1.6)  # fmt: skip
        ax.axhline(chance, color=REFERENCE, lw=1, ls=DASHES["erm"])
        ax.set_xscale("log")
        ax.set_xticks(rows["weight"], [_short(weight) for weight in rows["weight"]], size=SMALL)
        ax.set_xticks([], minor=True)
        ax.set(title=series.label + ("" if recovers else ": not above chance"), ylim=(-0.02, 1.02))
        if style.first_column(ax):
            ax.set_ylabel("accuracy")
    failed = [look(name).label for name, rows in tried.items() if not rows["recovers"].any()]
    text = f"No weight of {', '.join(failed)} exceeds" if failed else "Every method exceeds"
    style.title(fig, f"{text} chance ({number(chance)}) on {style.label('val_swapped')}",
                style.about(task, data))  # fmt: skip
    style.legend(fig, [
        Line2D([], [], color=BLUE, marker="s", ms=5, lw=1.4, label="mean of the seeds"),
        Line2D([], [], color=GREY, ls="", marker="o", ms=3.5, label="lowest seed"),
        Line2D([], [], color=VERMILLION, ls="", marker="o", ms=11, mfc="none", mew=1.6,
               label="chosen weight"),
        Line2D([], [], color=REFERENCE, lw=1, ls=DASHES["erm"], label="chance"),
    ], heading="weight of the explanation loss (x axis)")  # fmt: skip
    return fig


def _short(weight: float) -> str:
    """Format a weight in few characters, such as 3k for 3000."""
    return f"{weight:g}" if weight < 1000 else f"{weight / 1000:g}k"


CURVES = {
    "cross_entropy": "cross-entropy",
    "penalty": "explanation loss, unweighted",
    "accuracy": "training accuracy",
}


def learning_curves(fig: Figure, history: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Show losses and training accuracy over the epochs: mean of the seeds, and every seed.

    Args:
        fig: an empty figure; its size is set.
        history: columns ``method, seed, epoch`` and those of :data:`CURVES`.
        task: for the title.
        data: for the title.
    """
    fig.set_size_inches(10, 4.4)
    axes = fig.subplots(1, len(CURVES))
    methods = [str(name) for name in dict.fromkeys(history["method"])]
    for ax, (column, text) in zip(axes, CURVES.items(), strict=True):
        for name in methods:
            rows, series = history[history["method"] == name], look(name)
            if column == "penalty" and not (rows[column] > 0).any():
                continue
            for _, own in rows.groupby("seed"):
                ax.plot(own["epoch"], own[column], color=series.colour, lw=0.7, alpha=0.45)
            mean = rows.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean, color=series.colour, lw=1.8, marker=series.marker,
                    ms=0.75 * series.size, mec="white", mew=0.5)  # fmt: skip
        ax.set(xlabel="epoch", title=text)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    if axes[1].lines:
        axes[1].set_yscale("log")  # penalties of different methods differ by orders of magnitude
    else:
        axes[1].text(0.5, 0.5, "none", transform=axes[1].transAxes, ha="center")
    last = int(history["epoch"].max())
    final = history[history["epoch"] == last].groupby("method", sort=False)["accuracy"].mean()
    found = style.extremes(final)
    text = f"Training accuracy after epoch {last}: "
    text += "undefined" if found is None else f"{number(found[1])} ({found[0]})"
    if found is not None and found[0] != found[2]:
        text += f" to {number(found[3])} ({found[2]})"
    style.title(fig, text, style.about(task, data))
    thin = Line2D([], [], color=GREY, lw=0.7, label="single seed")
    style.legend(fig, [*(style.entry(look(name), line=True) for name in methods), thin])
    return fig


def gradient_norms(
    fig: Figure,
    norms: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    task: str,
    data: str,
) -> Figure:
    """Compare the gradients of cross-entropy and explanation loss, one row per parameter.

    Args:
        fig: an empty figure; its size is set.
        norms: method to the result of :func:`xblcore.study.train.gradient_norms`.
        task: for the title.
        data: for the title.
    """
    names = list(dict.fromkeys(name for parts in norms.values() for name in parts))
    values = np.array([pair for parts in norms.values() for pair in parts.values()])
    smallest = float(values[values > 0].min()) if (values > 0).any() else 1.0
    linear = 10 ** np.floor(np.log10(smallest))  # below it the axis is linear, to show zero
    fig.set_size_inches(2.4 + 3.6 * len(norms), 2.0 + 0.24 * len(names))
    marks = (("cross-entropy", GREY, "s"), ("explanation loss, weighted", VERMILLION, "o"))
    zero = []
    for ax, (method, parts) in zip(style.panels(fig, len(norms), columns=len(norms), sharex=True),
                                   norms.items(), strict=True):  # fmt: skip
        frame(ax, names)
        rows = [names.index(name) for name in parts]
        for column, (text, colour, marker) in enumerate(marks):
            norm = [pair[column] for pair in parts.values()]
            ax.plot(norm, rows, ls="", marker=marker, color=colour, ms=5.5, label=text)
        if not any(pair[1] for pair in parts.values()):
            zero.append(look(method).label)
        ax.set_xscale("symlog", linthresh=linear, linscale=0.6)
        ax.set_xlim(-0.3 * linear, 5 * max(float(values.max()), linear))
        ticks = [0.0, *10.0 ** np.arange(np.log10(linear), np.log10(ax.get_xlim()[1]))]
        ax.set_xticks(ticks[:: -(-len(ticks) // 6)])
        ax.set(title=look(method).label, xlabel="norm of the gradient")
    others = [look(name).label for name in norms if look(name).label not in zero]
    text = f"The gradient of the explanation loss is exactly zero for {', '.join(zero)}"
    if not zero:
        text = f"The explanation loss of {', '.join(others)} has a gradient"
    style.title(fig, text, style.about(task, data))
    style.legend(fig, fig.axes[0].lines[:2])
    return fig


# Explanations

READS = {
    "grad_cam": "grad_cam",
    "hires_cam": "hires_cam",
    "hires_cam_log_prob": "hires_cam",
    "input_x_gradient": "input_gradient",
}  # explainer to the value of Method.trained_on for the same kind of map
TRUTH = "decoy_flip_rate"


def explainers(fig: Figure, shares: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Compare what each explainer reports as gone of ERM's reliance on the decoy with the flips.

    Args:
        fig: an empty figure; its size is set.
        shares: of :func:`xblcore.study.tables.shares_reported`, one task: one row per method, one
            column per explainer and ``decoy_flip_rate``; 0 as ERM, 1 no reliance left.
        task: for the title.
        data: for the title.
    """
    reported = shares.drop(columns=TRUTH)
    fig.set_size_inches(3.4 + 1.05 * shares.shape[1], 2.2 + 0.36 * len(shares))
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=[reported.shape[1], 1.0])
    _heat_map(left, reported)
    image = _heat_map(right, shares[[TRUTH]])
    left.set_yticks(range(len(shares)), [look(str(name)).label for name in shares.index])
    left.set_title("reported by the explainer", size=9.5)
    right.set_title("actual (flips)", size=9.5)
    bar = fig.colorbar(image, ax=[left, right], pad=0.02, extend="both", aspect=25)
    bar.set_ticks([-1, 0, 1], labels=["−1", "0: as\nERM", "1: none\nleft"])
    bar.outline.set_visible(False)  # type: ignore[operator]
    gaps = reported.sub(shares[TRUTH], axis=0).drop(index=list(BOUNDS), errors="ignore").stack()
    gaps = gaps.dropna()
    text = "Share of ERM's reliance on the decoy that is gone"
    if len(gaps) and float(gaps.max()) > 0:
        method, explainer = gaps.idxmax()
        text = (
            f"{style.label(explainer)} reports {number(shares.loc[method, explainer])} of ERM's "
            f"reliance on the decoy as gone for {look(method).label}; by the flips it is "
            f"{number(shares.loc[method, TRUTH])}"
        )
    style.title(fig, text, style.about(task, data))
    boxes: list[Artist] = [Patch(fc="white", ec="black", lw=1.8, label="explanation trained on")]
    if shares.isna().any(axis=None):
        boxes.append(Patch(fc="#eeeeee", ec="white", hatch="///", label="undefined"))
    style.legend(fig, boxes)
    return fig


def _heat_map(ax: Axes, shares: pd.DataFrame) -> Any:
    image = ax.imshow(shares.to_numpy(float), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for y, (method, row) in enumerate(shares.iterrows()):
        for x, (explainer, share) in enumerate(row.items()):
            corner = (x - 0.5, y - 0.5)
            if share != share:
                ax.add_patch(Rectangle(corner, 1, 1, fc="#eeeeee", ec="white", hatch="///"))
            else:
                colour = "white" if abs(share) > 0.6 else "black"
                ax.text(x, y, number(share), ha="center", va="center", size=9, color=colour)
            kind = METHODS[str(method)].trained_on if method in METHODS else None
            if kind is not None and READS.get(str(explainer)) == kind:
                casing = [patheffects.withStroke(linewidth=3.6, foreground="white")]
                inner = (corner[0] + 0.06, corner[1] + 0.1)
                ax.add_patch(Rectangle(inner, 0.88, 0.8, fill=False, ec="black", lw=1.6,
                                       path_effects=casing))  # fmt: skip
    names = [textwrap.fill(style.label(str(name)), 11) for name in shares.columns]
    ax.set_xticks(range(shares.shape[1]), names, size=SMALL)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return image


KINDS = {"distance": BLUE, "overlap": VERMILLION, "behaviour": "#444444", "health": GREY}


def metrics_against_accuracy(
    fig: Figure, points: pd.DataFrame, *, explainer: str, data: str
) -> Figure:
    """Show each metric against clean accuracy, one dot per run; better is to the right.

    Args:
        fig: an empty figure; its size is set.
        points: of :func:`xblcore.study.claims.run_table`, one task: indexed by ``task, method,
            seed``, one column per metric (oriented so that higher is better) and ``target``.
        explainer: of the metrics, for the title.
        data: for the title.
    """
    (task,) = points.index.unique("task")
    rank = {kind: place for place, kind in enumerate(KINDS)}
    names = sorted(
        (name for name in points if name in METRICS),
        key=lambda name: rank[METRICS[name].kind],
    )
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    fig.set_size_inches(0.6 + 2.5 * columns, 1.7 + 2.05 * rows)
    methods = [str(name) for name in points.index.unique("method")]
    correlations = {}
    for ax, name in zip(style.panels(fig, len(names), columns=columns), names, strict=True):
        sign = 1 if METRICS[name].higher_is_better else -1
        for method in methods:
            part, series = points.xs(method, level="method"), look(method)
            ax.scatter(sign * part[name], part["target"], s=0.45 * series.size**2, lw=0.4,
                       ec="white", color=series.colour, marker=series.marker)  # fmt: skip
        ax.xaxis.set_inverted(sign < 0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        correlations[name] = rho = points[[name, "target"]].corr("spearman").iloc[0, 1]
        ax.set_title(f"{style.label(name)}\nρ = {number(rho)}", size=9.5,
                     color=KINDS[METRICS[name].kind])  # fmt: skip
        if sign < 0:
            ax.set_xlabel("axis reversed", size=SMALL, labelpad=1)
        if style.first_column(ax):
            ax.set_ylabel("clean accuracy")
    found = style.extremes(pd.Series(correlations))
    text = "Rank correlation with clean accuracy: " + (
        f"highest for {found[0].lower()} (ρ = {number(found[1])}), lowest for {found[2].lower()} "
        f"({number(found[3])})" if found else "undefined"
    )  # fmt: skip
    style.title(fig, text, f"{style.label(explainer)}, {style.about(task, data)}")
    kinds = list(dict.fromkeys(METRICS[name].kind for name in names))
    style.legend(fig, [*(style.entry(look(method)) for method in methods), *_kind_entries(kinds)])
    return fig


def _kind_entries(kinds: Sequence[str]) -> list[Artist]:
    return [Patch(color=KINDS[kind], label=f"{kind} metric") for kind in kinds]


def forest(ax: Axes, table: pd.DataFrame, *, data: str) -> Axes:
    """Show the rank correlation of every metric with clean accuracy, with 95% intervals.

    Args:
        ax: of a figure about ``2 + 0.3 * metrics`` inches high.
        table: of :func:`xblcore.study.claims.informativeness`, one task and one explainer.
        data: for the title.
    """
    (task,), (explainer,) = table["task"].unique(), table["explainer"].unique()
    rank = {kind: place for place, kind in enumerate(KINDS)}
    rows = table.assign(rank=table["kind"].map(rank)).sort_values(
        ["rank", "rho"], ascending=[True, False]
    )
    ax.set_xlim(-1.05, 1.05)
    frame(ax, [style.label(name) for name in rows["metric"]])
    drawn = []
    for y, row in enumerate(rows.to_dict("records")):
        estimate = {"mean": row["rho"], "ci_low": row["ci_low"], "ci_high": row["ci_high"]}
        drawn.append(interval(ax, estimate, y, Look("", KINDS[str(row["kind"])])))
    ax.axvline(0, color=REFERENCE, lw=1)
    ax.set_xlabel("Spearman's ρ with accuracy on clean test images (1 is best)")
    found = style.extremes(rows.set_index("metric")["rho"])
    text = f"Metrics by {style.label(explainer)}: " + (
        f"{found[0].lower()} is the most informative about accuracy (ρ = {number(found[1])}), "
        f"{found[2].lower()} the least ({number(found[3])})" if found else "undefined"
    )  # fmt: skip
    style.axes_title(ax, text, style.about(str(task), data))
    marks = [mark for mark in special_marks(drawn)]
    ax.legend(handles=[*_kind_entries(list(dict.fromkeys(rows["kind"]))), *marks], ncols=3,
              loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.2)  # fmt: skip
    return ax


def receptive_field(fig: Figure, table: pd.DataFrame) -> Figure:
    """Show recovery and flips against the margin by which wrong regions are widened.

    Args:
        fig: an empty figure; its size is set.
        table: of :func:`xblcore.study.tables.summarise`, with the further columns ``network``,
            ``cells`` (margin in cells of the explained layer) and ``field`` (margin of the
            receptive field in cells).
    """
    rows = table[~table["method"].isin(BOUNDS)]
    networks = [str(name) for name in dict.fromkeys(rows["network"])]
    methods = [str(name) for name in dict.fromkeys(rows["method"])]
    fig.set_size_inches(1.6 + 3.4 * len(networks), 6.4)
    grid = fig.subplots(len(PANELS), len(networks), sharex="col", sharey="row", squeeze=False)
    inside, beyond = [], []
    for axes, (metric, split) in zip(grid, PANELS, strict=True):
        for ax, network in zip(axes, networks, strict=True):
            own = tables.select(rows[rows["network"] == network], metric, split=split)
            field = float(own["field"].iloc[0])
            for method in methods:
                part, series = own[own["method"] == method].sort_values("cells"), look(method)
                ax.plot(part["cells"], part["mean"], color=series.colour, marker=series.marker,
                        ms=series.size, mec="white", mew=0.6, lw=1.6, clip_on=False)  # fmt: skip
                ax.vlines(part["cells"], part["ci_low"].clip(0), part["ci_high"], lw=1.2,
                          color=series.colour)  # fmt: skip
            ax.axvline(field, color=REFERENCE, lw=1.4, ls=DASHES["erm"])
            if metric == PANELS[0][0]:
                inside.append(own.loc[own["cells"] < field, "mean"].max())
                beyond.append(own.loc[own["cells"] >= field, "mean"].max())
                ax.set_title(network)
            else:
                ax.set_xlabel("margin in cells of the explained layer")
        axes[0].set_ylabel(heading(metric).replace(" (", "\n("))
    text = (
        f"Highest recovery with a margin below the receptive field: {number(max(inside))}; "
        f"from it on: {number(max(beyond))}"
    )
    style.title(fig, text, style.about_table(rows))
    field_entry = Line2D([], [], color=REFERENCE, lw=1.4, ls=DASHES["erm"],
                         label="receptive field")  # fmt: skip
    interval_entry = Line2D([], [], color=GREY, lw=1.2, marker="|", ms=0, label="95% interval")
    style.legend(fig, [*(style.entry(look(name), line=True) for name in methods), field_entry,
                       interval_entry])  # fmt: skip
    return fig
