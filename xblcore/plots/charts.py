"""Charts of the main study: methods, weights, training, explainers and metrics."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
from xblcore.plots.style import BLUE, GREY, REFERENCE, SMALL, VERMILLION, Look, look, number
from xblcore.study import tables

BOUNDS = ("erm", "oracle")  # floor and ceiling
# The widest axis: a recovery may be anything, and an interval may exceed [0, 1].
WIDEST = {"recovery": (-0.6, 1.6)}
DASHES: Mapping[str, Any] = {"erm": (0, (4, 3)), "oracle": (0, (1, 1.5))}
HEADINGS = {"recovery": "recovery (0: ERM, 1: oracle)", "decoy_flip_rate": "decoy flip rate"}
PANELS = (("recovery", tables.CLEAN), ("decoy_flip_rate", tables.DECOY))
Limits = tuple[float, float]


# Dots with intervals


def limits(metric: str, table: pd.DataFrame, seeds: pd.DataFrame | None = None) -> Limits:
    """Choose the limits of the axis for intervals and seeds of a metric: at least 0 to 1."""
    low, high = WIDEST.get(metric, (-0.1, 1.1))
    values = table[["mean", "ci_low", "ci_high"]].to_numpy(float).ravel()
    if seeds is not None:
        values = np.append(values, seeds["value"].to_numpy(float))
    known = np.append(values[~np.isnan(values)], [0.0, 1.0])
    return max(low, float(known.min()) - 0.02), min(high, float(known.max()) + 0.02)


def interval(
    ax: Axes, row: Mapping[Any, Any], y: float, series: Look, *, scale: float = 1.0
) -> bool:
    """Draw mean and interval of a row of a table at height ``y``, once the x limits are set.

    What exceeds the axis is shown as an arrow at its end, and an undefined mean as a word.

    Returns:
        Whether there is an arrow, for the legend.
    """
    mean, low, high = (float(row[name]) for name in ("mean", "ci_low", "ci_high"))
    low, high = (mean if math.isnan(end) else end for end in (low, high))
    word: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center",
                            "size": scale * (SMALL - 1), "color": series.colour}  # fmt: skip
    if math.isnan(mean):
        ax.text(0.02, y, "undefined", **word)
        return False
    left, right = ax.get_xlim()
    line: dict[str, Any] = {"color": series.colour, "lw": 1.6 * scale, "mew": 1.6 * scale}
    if low < right and high > left:
        ax.plot([max(low, left), min(high, right)], [y, y], **line)
    ends = [end for end in {low, high} - {mean} if left <= end <= right]
    ax.plot(ends, [y] * len(ends), "|", ms=9 * scale, **line)
    for end, marker, beyond in ((left, "<", low < left), (right, ">", high > right)):
        if beyond:
            ax.plot(end, y, marker, color=series.colour, ms=6 * scale, clip_on=False, zorder=3)
    if left <= mean <= right:
        ax.plot(mean, y, ls="", marker=series.marker, color=series.colour, ms=scale * series.size,
                mec="white", mew=0.6, zorder=3, clip_on=False)  # fmt: skip
    else:
        place, align = (0.05, "left") if mean < left else (0.95, "right")
        ax.text(place, y, number(mean), ha=align, **word)
    return low < left or high > right


def frame(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of an axes from the top, every other one shaded."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0, pad=7)
    for row in range(1, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)


def heading(metric: str, split: str, explainer: str = "none") -> str:
    """Label of the axis of a metric, with its direction."""
    text = HEADINGS.get(metric) or f"{style.label(metric).lower()}, {style.label(split)}"
    if explainer != "none":
        text = f"{style.label(explainer)}: {text}"
    if metric in METRICS and not METRICS[metric].higher_is_better:
        text += " (lower is better)"
    return text


def finding(metric: str, split: str, means: pd.Series[float]) -> str:
    """State the highest and the lowest mean of the methods other than ERM and the oracle."""
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
    return text if high == low else f"{text}; {low}: {number(least)}"


def reference_lines(ax: Axes, means: pd.Series[float]) -> list[Artist]:
    """Draw lines at the means of ERM and the oracle and return their legend entries."""
    known = [name for name in BOUNDS if name in means.index and means[name] == means[name]]
    for name in known:
        ax.axvline(means[name], color=REFERENCE, lw=1, ls=DASHES[name], zorder=0.6)
    return [Line2D([], [], color=REFERENCE, lw=1, ls=DASHES[name], label=look(name).label)
            for name in known]  # fmt: skip


def special_marks(*, arrows: bool, seeds: bool = False, what: str = "mean") -> list[Artist]:
    """Return legend entries of intervals, and of single seeds and arrows if there are any."""
    marks: list[Artist] = [
        Line2D([], [], color=GREY, marker="|", ms=9, mew=1.6, label=f"{what}, 95% interval"),
        Line2D([], [], color=GREY, ls="", marker="o", ms=3.5, label="single seed"),
        Line2D([], [], color=GREY, ls="", marker=">", ms=5, label="continues beyond the axis"),
    ]
    return [mark for mark, shown in zip(marks, (True, seeds, arrows), strict=True) if shown]


def _rows(table: pd.DataFrame, metric: str, split: str, explainer: str = "none") -> pd.DataFrame:
    """Select one row per method."""
    rows = tables.select(table, metric, split=split, explainer=explainer)
    if rows.empty or rows["method"].duplicated().any():
        raise ValueError(
            f"table must have one row per method for {metric} on {split} by {explainer}, got "
            f"{len(rows)} rows; select one task and one condition"
        )
    return rows.set_index("method")


def _draw_methods(
    ax: Axes, rows: pd.DataFrame, seeds: pd.DataFrame | None, view: Limits
) -> list[Artist]:
    """Draw one row per method and return the legend entries."""
    ax.set_xlim(*view)
    frame(ax, [look(str(name)).label for name in rows.index])
    arrows = False
    for y, (name, row) in enumerate(rows.iterrows()):
        series = look(str(name))
        arrows |= interval(ax, row.to_dict(), y, series)
        if seeds is not None:
            values = seeds.loc[seeds["method"] == name, "value"].dropna().to_numpy()
            below = y + 0.27 + 0.055 * (np.arange(len(values)) % 3)
            shown = values.clip(*view)
            for x, value, height in zip(shown, values, below, strict=True):
                marker = "o" if x == value else "<" if value < x else ">"
                ax.plot(x, height, marker, ms=3.5, color=series.colour, alpha=0.6, mew=0,
                        clip_on=False)  # fmt: skip
            arrows |= bool((shown != values).any())
        text = number(row["mean"], 3) if row["mean"] == row["mean"] else "–"
        if 0.005 <= row["nan_share"] < 1:
            text += f"\n{row['nan_share']:.0%} NaN"
        ax.text(1.025, y, text, transform=ax.get_yaxis_transform(), va="center", size=SMALL,
                linespacing=0.95)  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(5))
    lines = reference_lines(ax, rows["mean"]) if len(rows) > 1 else []
    return [*lines, *special_marks(arrows=arrows, seeds=seeds is not None)]


def _seeds(runs: pd.DataFrame, metric: str, split: str, explainer: str = "none") -> pd.DataFrame:
    rows = tables.recoveries(runs) if metric == "recovery" else runs
    return tables.select(rows, metric, split=split, explainer=explainer)


def by_method(
    ax: Axes, table: pd.DataFrame, metric: str, split: str, *, explainer: str = "none",
    runs: pd.DataFrame | None = None,
) -> Axes:  # fmt: skip
    """Show one metric of one task, one row per method: mean with 95% interval.

    Args:
        ax: of a figure about ``1.6 + 0.36 * methods`` inches high.
        table: of :func:`xblcore.study.tables.summarise`, one task and condition.
        explainer: ``none`` for accuracy, recovery and flips.
        runs: those that the table is made of, to show each seed as a dot.
    """
    rows = _rows(table, metric, split, explainer)
    seeds = None if runs is None else _seeds(runs, metric, split, explainer)
    entries = _draw_methods(ax, rows, seeds, limits(metric, rows, seeds))
    ax.set_xlabel(heading(metric, split, explainer))
    style.axes_title(ax, finding(metric, split, rows["mean"]), style.about_table(table))
    style.axes_legend(ax, entries)
    return ax


def summary(
    fig: Figure, runs: pd.DataFrame, table: pd.DataFrame, *,
    panels: Sequence[tuple[str, str]] = PANELS,
) -> Figure:  # fmt: skip
    """Show several metrics of every method: one column per task, or side by side for one task.

    Args:
        runs: tidy runs of one or several tasks.
        table: of :func:`xblcore.study.tables.summarise`, from the same runs.
        panels: metric and split of each panel.
    """
    parts = {str(task): part for task, part in table.groupby("task", sort=False)}
    methods = max(part["method"].nunique() for part in parts.values())
    rows, columns = (1, len(panels)) if len(parts) == 1 else (len(panels), len(parts))
    fig.set_size_inches(2.0 + 3.4 * columns, 1.5 + rows * (0.8 + 0.33 * methods))
    axes = iter(fig.subplots(rows, columns, sharey=True, squeeze=False).flat)
    entries: dict[str, Artist] = {}
    for metric, split in panels:
        seeds = _seeds(runs, metric, split)
        view = limits(metric, tables.select(table, metric, split=split), seeds)
        for task, part in parts.items():
            ax, own = next(axes), seeds[seeds["task"] == task]
            drawn = _draw_methods(ax, _rows(part, metric, split), own, view)
            entries |= {str(entry.get_label()): entry for entry in drawn}
            ax.set_xlabel(heading(metric, split))
            if len(parts) > 1 and (metric, split) == panels[0]:
                ax.set_title(style.about_table(part))
    means = {task: _rows(part, *panels[0])["mean"] for task, part in parts.items()}
    style.title(fig, _summary_finding(means, *panels[0]), style.about_table(table))
    style.legend(fig, list(entries.values()))
    return fig


def _summary_finding(means: Mapping[str, pd.Series[float]], metric: str, split: str) -> str:
    """State the method with the highest mean on each task."""
    if len(means) == 1:
        return finding(metric, split, next(iter(means.values())))
    best = []
    for task, values in means.items():
        found = style.extremes(values[~values.index.isin(BOUNDS)])
        best.append(f"{found[0]} {number(found[1])}" if found else "undefined")
        best[-1] += f" ({style.label(task)})"
    return f"Highest {style.label(metric).lower()}: {', '.join(best)}"


# Weights and training


def weight_selection(fig: Figure, weights: pd.DataFrame, *, data: str) -> Figure:
    """Show how the weight of each method is chosen, by accuracy with the decoy swapped.

    Args:
        weights: of :func:`xblcore.study.runs.choose_weights`, one task.
    """
    (task,) = weights["task"].unique()
    tried = [(look(str(name)), rows.sort_values("weight")) for name, rows in
             weights.groupby("method", sort=False) if len(rows) > 1]  # fmt: skip
    columns = max(1, min(4, len(tried)))
    fig.set_size_inches(max(6.5, 0.6 + 2.5 * columns), 1.8 + 1.9 * -(-len(tried) // columns))
    if not tried:
        fig.text(0.5, 0.3, "Every method has one weight.", ha="center")
        style.title(fig, "No weight is selected", style.about(task, data))
        return fig
    mean: dict[str, Any] = {"color": BLUE, "marker": "s", "ms": 5, "lw": 1.4}
    lowest: dict[str, Any] = {"color": GREY, "marker": "o", "ms": 3.5, "ls": ""}
    ring: dict[str, Any] = {"color": VERMILLION, "marker": "o", "ms": 11, "mfc": "none",
                            "mew": 1.6, "ls": ""}  # fmt: skip
    dashed: dict[str, Any] = {"color": REFERENCE, "lw": 1, "ls": DASHES["erm"]}
    axes = style.panels(fig, len(tried), columns=columns, xlabel="weight", ylabel="accuracy")
    chance, failed = float(weights["chance"].iloc[0]), []
    for ax, (series, rows) in zip(axes, tried, strict=True):
        best = rows[rows["chosen"]]
        ax.plot(rows["weight"], rows["lowest"], **lowest)
        ax.plot(rows["weight"], rows["accuracy"], **mean)
        ax.plot(best["weight"], best["accuracy"], **ring)
        ax.axhline(chance, **dashed)
        ax.set_xscale("log")
        ax.set_xticks(rows["weight"], [_short(weight) for weight in rows["weight"]], size=SMALL)
        ax.set_xticks([], minor=True)
        ax.set_title(series.label)
        if not rows["recovers"].any():
            failed.append(series.label)
    axes[0].set_ylim(bottom=0)
    text = f"No weight of {', '.join(failed)} exceeds" if failed else "Every method exceeds"
    text += f" chance ({number(chance)}) on {style.label('val_swapped')}"
    style.title(fig, text, style.about(task, data))
    looks = {"mean of the seeds": mean, "lowest seed": lowest, "chosen weight": ring,
             "chance": dashed}  # fmt: skip
    style.legend(fig, [Line2D([], [], label=name, **options) for name, options in looks.items()])
    return fig


def _short(weight: float) -> str:
    """Format a weight in few characters, such as 3k for 3000."""
    return f"{weight:g}" if weight < 1000 else f"{weight / 1000:g}k"


CURVES = {"cross_entropy": "cross-entropy", "penalty": "explanation loss, unweighted",
          "accuracy": "training accuracy"}  # fmt: skip


def learning_curves(fig: Figure, history: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Show losses and training accuracy over the epochs: mean of the seeds, and each seed.

    Args:
        history: columns ``method, seed, epoch, cross_entropy, penalty, accuracy``.
    """
    fig.set_size_inches(10, 4.4)
    methods = [str(name) for name in dict.fromkeys(history["method"])]
    for ax, (column, text) in zip(fig.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name in methods:
            rows, series = history[history["method"] == name], look(name)
            if column == "penalty" and not (rows[column] > 0).any():
                continue
            ax.set_yscale("log" if column == "penalty" else "linear")  # of very different size
            for _, own in rows.groupby("seed"):
                ax.plot(own["epoch"], own[column], color=series.colour, lw=0.7, alpha=0.45)
            mean = rows.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean, color=series.colour, lw=1.8, marker=series.marker,
                    ms=0.75 * series.size, mec="white", mew=0.5)  # fmt: skip
        ax.set(xlabel="epoch", title=text)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    last = int(history["epoch"].max())
    final = history[history["epoch"] == last].groupby("method", sort=False)["accuracy"].mean()
    high, most, low, least = style.extremes(final) or ("", math.nan, "", math.nan)
    text = f"Training accuracy after epoch {last}: {number(most)} ({high})"
    text += f" to {number(least)} ({low})" if high != low else ""
    style.title(fig, text, style.about(task, data))
    thin = Line2D([], [], color=GREY, lw=0.7, label="single seed")
    style.legend(fig, [*(style.entry(look(name), line=True) for name in methods), thin])
    return fig


def gradient_norms(
    fig: Figure, norms: Mapping[str, Mapping[str, tuple[float, float]]], *, task: str, data: str
) -> Figure:
    """Compare the gradients of cross-entropy and explanation loss, one row per parameter.

    Args:
        norms: method to the result of :func:`xblcore.study.train.gradient_norms`.
    """
    names = list(dict.fromkeys(name for parts in norms.values() for name in parts))
    values = np.array([pair for parts in norms.values() for pair in parts.values()])
    smallest = float(values[values > 0].min(initial=1.0))
    low = math.floor(math.log10(smallest))  # below this decade the axis is linear, to show zero
    high = math.ceil(math.log10(max(float(values.max()), smallest)))
    ticks = [10.0**decade for decade in range(high, low, -max(1, -(-(high - low) // 5)))]
    fig.set_size_inches(2.4 + 3.6 * len(norms), 2.0 + 0.24 * len(names))
    axes = style.panels(fig, len(norms), columns=len(norms), xlabel="norm of the gradient",
                        sharex=True)  # fmt: skip
    marks = (("cross-entropy", GREY, "s"), ("explanation loss, weighted", VERMILLION, "o"))
    for ax, (method, parts) in zip(axes, norms.items(), strict=True):
        frame(ax, names)
        ax.set_title(look(method).label)
        for column, (text, colour, marker) in enumerate(marks):
            norm = [pair[column] for pair in parts.values()]
            rows = [names.index(name) for name in parts]
            ax.plot(norm, rows, marker, color=colour, ms=5.5, label=text)
        ax.set_xscale("symlog", linthresh=10.0**low, linscale=0.6)
        ax.set_xlim(-0.3 * 10.0**low, 2 * 10.0**high)
        ax.set_xticks([0.0, *ticks])
    zero = [look(method).label for method, parts in norms.items()
            if not any(pair[1] for pair in parts.values())]  # fmt: skip
    text = f"The gradient of the explanation loss is exactly zero for {', '.join(zero)}"
    style.title(fig, text if zero else "Every explanation loss has a gradient",
                style.about(task, data))  # fmt: skip
    style.legend(fig, axes[0].lines[:2])
    return fig


def receptive_field(fig: Figure, table: pd.DataFrame) -> Figure:
    """Show recovery and flips against the margin by which wrong regions are widened.

    Args:
        table: of :func:`xblcore.study.tables.summarise`, with the further columns ``network``,
            ``cells`` (margin in cells of the explained layer) and ``field`` (margin of the
            receptive field in cells).
    """
    rows = table[~table["method"].isin(BOUNDS)]
    networks = [str(name) for name in dict.fromkeys(rows["network"])]
    methods = [str(name) for name in dict.fromkeys(rows["method"])]
    fig.set_size_inches(1.8 + 3.4 * len(networks), 6.4)
    grid = fig.subplots(len(PANELS), len(networks), sharex="col", sharey="row", squeeze=False)
    arrows = False
    for axes, (metric, split) in zip(grid, PANELS, strict=True):
        shown = tables.select(rows, metric, split=split)
        low, high = limits(metric, shown)
        axes[0].set_ylim(low, high)
        axes[0].set_ylabel(heading(metric, split).replace(" (", "\n("))
        for ax, network in zip(axes, networks, strict=True):
            own = shown[shown["network"] == network].sort_values("cells")
            ax.axvline(own["field"].iloc[0], color=REFERENCE, lw=1.4, ls=DASHES["erm"])
            for method in methods:
                part, series = own[own["method"] == method], look(method)
                ax.plot(part["cells"], part["mean"], color=series.colour, marker=series.marker,
                        ms=series.size, mec="white", mew=0.6, lw=1.6)  # fmt: skip
                ax.vlines(part["cells"], part["ci_low"], part["ci_high"], color=series.colour,
                          lw=1.2)  # fmt: skip
                for row in part.to_dict("records"):
                    for marker, end, beyond in (("v", low, row["ci_low"] < low),
                                                ("^", high, row["ci_high"] > high)):  # fmt: skip
                        if beyond:
                            ax.plot(row["cells"], end, marker, ms=5, color=series.colour,
                                    clip_on=False)  # fmt: skip
                            arrows = True
    for ax, network in zip(grid[0], networks, strict=True):
        ax.set_title(network)
    for ax in grid[-1]:
        ax.set_xlabel("margin in cells of the explained layer")
    recovery = tables.select(rows, "recovery", split=tables.CLEAN)
    inside = recovery["cells"] < recovery["field"]
    below, above = (float(recovery.loc[part, "mean"].max()) for part in (inside, ~inside))
    text = f"Highest recovery with a margin smaller than the receptive field: {number(below)}; "
    style.title(fig, f"{text}with the receptive field or more: {number(above)}",
                style.about_table(rows))  # fmt: skip
    entries = [style.entry(look(name), line=True) for name in methods]
    dashed = Line2D([], [], color=REFERENCE, lw=1.4, ls=DASHES["erm"], label="receptive field")
    style.legend(fig, [*entries, dashed, *special_marks(arrows=arrows)])
    return fig


# Explanations

# Explainer to the Method.trained_on of the same kind of map.
READS = {"grad_cam": "grad_cam", "hires_cam": "hires_cam", "hires_cam_log_prob": "hires_cam",
         "input_x_gradient": "input_gradient"}  # fmt: skip
TRUTH = "decoy_flip_rate"


def explainers(fig: Figure, shares: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Compare what each explainer reports as gone of ERM's reliance on the decoy with the flips.

    Args:
        shares: of :func:`xblcore.study.tables.shares_reported`, one task: one row per method, one
            column per explainer and ``decoy_flip_rate``; 0 as ERM, 1 no reliance left.
    """
    shares = shares.loc[style.ordered(shares.index)]
    reported = shares.drop(columns=TRUTH)
    fig.set_size_inches(3.4 + 1.05 * shares.shape[1], 2.2 + 0.36 * len(shares))
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=[reported.shape[1], 1.0])
    _heat_map(left, reported)
    image = _heat_map(right, shares[[TRUTH]])
    left.set_yticks(range(len(shares)), [look(str(name)).label for name in shares.index])
    left.set_title("reported by the explainer", size=9.5)
    right.set_title("actual", size=9.5)
    bar = fig.colorbar(image, ax=[left, right], pad=0.02, extend="both", aspect=25)
    bar.set_ticks([-1, 0, 1], labels=["−1", "0: as\nERM", "1: none\nleft"])
    gaps = reported.sub(shares[TRUTH], axis=0).drop(index=list(BOUNDS), errors="ignore")
    gaps = gaps.stack().dropna()
    text = "Share of ERM's reliance on the decoy that is gone"
    if len(gaps):
        method, explainer = gaps.idxmax()
        text = (
            f"{style.label(explainer)} reports {number(shares.loc[method, explainer])} of ERM's "
            f"reliance on the decoy as gone for {look(method).label}; by the flips it is "
            f"{number(shares.loc[method, TRUTH])}"
        )
    style.title(fig, text, style.about(task, data))
    boxes: list[Artist] = [Patch(fc="white", ec="black", lw=1.8, label="explanation trained on")]
    if shares.isna().any(axis=None):
        boxes.append(Patch(label="undefined", **UNDEFINED))
    style.legend(fig, boxes)
    return fig


UNDEFINED: dict[str, Any] = {"fc": "#eeeeee", "ec": "#bbbbbb", "hatch": "///"}


def _heat_map(ax: Axes, shares: pd.DataFrame) -> Any:
    image = ax.imshow(shares.to_numpy(float), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    casing = [patheffects.withStroke(linewidth=3.6, foreground="white")]
    for y, (method, row) in enumerate(shares.iterrows()):
        kind = METHODS[str(method)].trained_on if method in METHODS else None
        for x, (explainer, share) in enumerate(row.items()):
            if share != share:
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **UNDEFINED))
            else:
                colour = "white" if abs(share) > 0.6 else "black"
                ax.text(x, y, number(share), ha="center", va="center", size=9, color=colour)
            if kind is not None and READS.get(str(explainer)) == kind:
                ax.add_patch(Rectangle((x - 0.44, y - 0.4), 0.88, 0.8, fill=False, ec="black",
                                       lw=1.6, path_effects=casing))  # fmt: skip
    names = [textwrap.fill(style.label(str(name)), 11) for name in shares.columns]
    ax.set_xticks(range(shares.shape[1]), names, size=SMALL)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return image


KINDS = {"distance": BLUE, "overlap": VERMILLION, "behaviour": "#444444", "health": GREY}


def _informativeness(rho: pd.Series[float]) -> str:
    """State the metrics with the highest and the lowest rank correlation."""
    found = style.extremes(rho)
    if found is None:
        return "Rank correlation with clean accuracy is undefined"
    high, most, low, least = found
    return (
        f"Rank correlation with clean accuracy: highest for {high.lower()} "
        f"(ρ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{number(most)}), lowest for {low.lower()} "
        f"(ρ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{number(least)})"
    )


def metrics_against_accuracy(
    fig: Figure, points: pd.DataFrame, *, explainer: str, data: str
) -> Figure:
    """Show each metric against clean accuracy, one dot per run; better is to the right.

    Args:
        points: of :func:`xblcore.study.claims.run_table`, one task: indexed by ``task, method,
            seed``, one column per metric (oriented so that higher is better) and ``target``.
    """
    (task,) = points.index.unique("task")
    names = [name for kind in KINDS for name in points
             if name in METRICS and METRICS[name].kind == kind]  # fmt: skip
    columns = min(4, len(names))
    fig.set_size_inches(max(5, 0.6 + 2.5 * columns), 1.8 + 2.05 * -(-len(names) // columns))
    methods = style.ordered(points.index.unique("method"))
    rho = points[names].corrwith(points["target"], method="spearman")
    axes = style.panels(fig, len(names), columns=columns, ylabel="clean accuracy")
    for ax, name in zip(axes, names, strict=True):
        sign = 1 if METRICS[name].higher_is_better else -1
        for method in methods:
            part, series = points.xs(method, level="method"), look(method)
            ax.scatter(sign * part[name], part["target"], s=0.45 * series.size**2, lw=0.4,
                       ec="white", color=series.colour, marker=series.marker, zorder=3,
                       clip_on=False)  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_title(f"{style.label(name)}\nρ = {number(rho[name])}", size=9.5,
                     color=KINDS[METRICS[name].kind])  # fmt: skip
        if sign < 0:
            ax.xaxis.set_inverted(True)
            ax.set_xlabel("axis reversed", size=SMALL, labelpad=1)
    context = f"{style.label(explainer)}, {style.about(task, data)}"
    style.title(fig, _informativeness(rho), context)
    entries = [style.entry(look(method)) for method in methods]
    style.legend(fig, [*entries, *_kind_entries(METRICS[name].kind for name in names)])
    return fig


def _kind_entries(kinds: Iterable[str]) -> list[Artist]:
    return [Patch(color=KINDS[kind], label=f"{kind} metric") for kind in dict.fromkeys(kinds)]


def forest(ax: Axes, table: pd.DataFrame, *, data: str) -> Axes:
    """Show the rank correlation of every metric with clean accuracy, with 95% intervals.

    Args:
        ax: of a figure about ``2 + 0.3 * metrics`` inches high.
        table: of :func:`xblcore.study.claims.informativeness`, one task and one explainer.
    """
    (task,), (explainer,) = table["task"].unique(), table["explainer"].unique()
    rows = table.assign(place=table["kind"].map(list(KINDS).index))
    rows = rows.sort_values(["place", "rho"], ascending=[True, False])
    ax.set_xlim(-1.05, 1.05)
    ax.axvline(0, color=REFERENCE, lw=1)
    frame(ax, [style.label(name) for name in rows["metric"]])
    for y, row in enumerate(rows.rename(columns={"rho": "mean"}).to_dict("records")):
        interval(ax, row, y, Look("", KINDS[row["kind"]]))
    ax.set_xlabel("Spearman's ρ with accuracy on clean test images (1 is best)")
    context = f"{style.label(explainer)}, {style.about(str(task), data)}"
    style.axes_title(ax, _informativeness(rows.set_index("metric")["rho"]), context)
    marks = special_marks(arrows=False, what="ρ")
    style.axes_legend(ax, [*_kind_entries(rows["kind"]), *marks])
    return ax
