"""Charts of the main study: methods, weights, training, explainers and metrics."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator

from xblcore.methods import METHODS
from xblcore.metrics import METRICS
from xblcore.plots import style
from xblcore.plots.style import BLUE, GREY, REFERENCE, SMALL, VERMILLION, Look, look, number, rim
from xblcore.study import tables

BOUNDS = ("erm", "oracle")  # floor and ceiling
# Metric, split and label of the panels that show whether a method still relies on the decoy.
PANELS = (("recovery", tables.CLEAN, "recovery (0: ERM, 1: oracle)"),
          ("decoy_flip_rate", tables.DECOY, "decoy flip rate (lower is better)"))  # fmt: skip
# The widest axis: a recovery may be anything, and an interval may exceed [0, 1].
WIDEST = {"recovery": (-0.6, 1.6), "decoy_flip_rate": (-0.1, 1.1)}
DASHES: Mapping[str, Any] = {"erm": (0, (4, 3)), "oracle": (0, (1, 1.5))}
BEYOND = "beyond"  # id of arrows at the ends of an axis


def set_limits(ax: Axes, metric: str, *values: pd.DataFrame | pd.Series[float]) -> None:
    """Set the limits of the x axis for values of a metric: at least 0 to 1, at most ``WIDEST``."""
    known = np.concatenate([[0.0, 1.0], *(part.to_numpy(float).ravel() for part in values)])
    low, high = WIDEST[metric]
    ax.set_xlim(max(low, np.nanmin(known) - 0.02), min(high, np.nanmax(known) + 0.02))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def interval(
    ax: Axes, row: Mapping[Any, Any], y: float, series: Look, *, scale: float = 1.0
) -> None:
    """Draw mean and interval of a row of a table at height ``y``, once the x limits are set.

    What exceeds the axis is shown as an arrow at its end, and an undefined mean as a word.
    """
    mean, low, high = (float(row[name]) for name in ("mean", "ci_low", "ci_high"))
    low, high = (mean if math.isnan(end) else end for end in (low, high))
    left, right = ax.get_xlim()
    inside = left <= mean <= right
    if not inside:  # also if undefined
        place, align = (0.95, "right") if mean > right else (0.05, "left")
        above = "center" if math.isnan(mean) else "bottom"  # of the line
        ax.text(place, y, number(mean), ha=align, va=above, size=scale * (SMALL - 1),
                color=series.colour, transform=ax.get_yaxis_transform())  # fmt: skip
    if math.isnan(mean):
        return
    ax.plot([low, high], [y, y], "|-", color=series.colour, ms=9 * scale, lw=1.6 * scale,
            mew=1.6 * scale)  # fmt: skip
    if inside:
        ax.plot(mean, y, ls="", marker=series.marker, color=series.colour, ms=scale * series.size,
                mec="white", mew=0.6, zorder=3, clip_on=False)  # fmt: skip
    for end, marker, beyond in ((left, "<", low < left), (right, ">", high > right)):
        if beyond:
            ax.plot(end, y, marker, color=series.colour, ms=6 * scale, clip_on=False, zorder=3,
                    gid=BEYOND)  # fmt: skip


def frame(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of an axes from the top, every other one shaded."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0, pad=7)
    for row in range(1, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=style.BAND, lw=0, zorder=0)


def reference_lines(ax: Axes, means: pd.Series[float]) -> list[Artist]:
    """Draw lines at the means of ERM and the oracle and return their legend entries."""
    known = means.reindex(BOUNDS).dropna()
    return [ax.axvline(mean, color=REFERENCE, lw=1, ls=DASHES[name], zorder=0.6,
                       label=look(name).label) for name, mean in known.items()]  # fmt: skip


def special_marks(axes: Iterable[Axes], *, seeds: bool = False, what: str = "mean") -> list[Artist]:
    """Return legend entries of intervals, and of single seeds and arrows if there are any."""
    arrows = any(line.get_gid() == BEYOND for ax in axes for line in ax.lines)
    marks: list[Artist] = [
        Line2D([], [], color=GREY, marker="|", ms=9, mew=1.6, label=f"{what}, 95% interval"),
        Line2D([], [], color=GREY, ls="", marker="o", ms=3.5, label="single seed"),
        Line2D([], [], color=GREY, ls="", marker=">", ms=5, label="continues beyond the axis"),
    ]
    return [mark for mark, shown in zip(marks, (True, seeds, arrows), strict=True) if shown]


def summary(fig: Figure, runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Show recovery and flips of every method: one column per task, or side by side for one task.

    ``table`` is :func:`xblcore.study.tables.summarise` of the tidy runs.
    """
    parts = {str(task): part for task, part in table.groupby("task", sort=False)}
    methods = max(part["method"].nunique() for part in parts.values())
    rows, columns = (1, len(PANELS)) if len(parts) == 1 else (len(PANELS), len(parts))
    fig.set_size_inches(2.0 + 3.4 * columns, 1.5 + rows * (0.8 + 0.33 * methods))
    grid = fig.subplots(rows, columns, sharey=True, squeeze=False)
    axes, lines = iter(grid.flat), dict[Any, Artist]()
    for metric, split, heading in PANELS:
        source = tables.recoveries(runs) if metric == "recovery" else runs
        seeds, means = (tables.select(rows, metric, split=split) for rows in (source, table))
        for task, part in parts.items():
            ax, own = next(axes), means[means["task"] == task].set_index("method")
            set_limits(ax, metric, means[["mean", "ci_low", "ci_high"]], seeds["value"])
            _draw_methods(ax, own, seeds[seeds["task"] == task])
            lines |= {line.get_label(): line for line in reference_lines(ax, own["mean"])}
            ax.set_xlabel(heading)
            if len(parts) > 1 and metric == "recovery":
                ax.set_title(style.about_table(part))
    recovery = tables.select(table, "recovery", split=tables.CLEAN)
    style.title(fig, _finding(recovery), style.about_table(table))
    style.legend(fig, [*lines.values(), *special_marks(grid.flat, seeds=True)])
    return fig


def _draw_methods(ax: Axes, rows: pd.DataFrame, seeds: pd.DataFrame) -> None:
    """Draw one row per method: mean, interval, the seeds below it, and the number."""
    frame(ax, [look(str(name)).label for name in rows.index])
    for y, (name, row) in enumerate(rows.iterrows()):
        series = look(str(name))
        interval(ax, row.to_dict(), y, series)
        values = seeds.loc[seeds["method"] == name, "value"].dropna()
        shown = values.clip(*ax.get_xlim())
        for marker, own in (("o", shown == values), ("<", shown > values), (">", shown < values)):
            if own.any():
                ax.plot(shown[own], [y + 0.32] * own.sum(), marker, ms=3.5, color=series.colour,
                        alpha=0.6, mew=0, clip_on=False,
                        gid=None if marker == "o" else BEYOND)  # fmt: skip
        text = number(row["mean"], 3) if row["mean"] == row["mean"] else "–"
        if 0.005 <= row["nan_share"] < 1:
            text += f"\n{row['nan_share']:.0%} NaN"
        ax.text(1.025, y, text, transform=ax.get_yaxis_transform(), va="center", size=SMALL,
                linespacing=0.95)  # fmt: skip


def _finding(recovery: pd.DataFrame) -> str:
    """State the highest recovery of each task, for one task also the lowest."""
    others = recovery[~recovery["method"].isin(BOUNDS)]
    if others["task"].nunique() > 1:
        best = others.dropna(subset="mean").sort_values("mean").groupby("task", sort=False).tail(1)
        return "Highest recovery: " + ", ".join(
            f"{look(row['method']).label} {number(row['mean'])} ({tables.label(row['task'])})"
            for row in best.sort_index().to_dict("records")
        )
    means = (others if len(others) else recovery).set_index("method")["mean"]
    return f"Recovery of the accuracy lost to the decoy: {style.extremes(means)}"


def weight_selection(fig: Figure, weights: pd.DataFrame, *, data: str) -> Figure:
    """Show the result of :func:`xblcore.study.runs.choose_weights` for one task."""
    (task,) = weights["task"].unique()
    tried = [(look(str(name)), rows.sort_values("weight")) for name, rows in
             weights.groupby("method", sort=False) if len(rows) > 1]  # fmt: skip
    if not tried:
        fig.set_size_inches(6.5, 0.8)
        style.title(fig, "Every method has one weight; none is selected", tables.about(task, data))
        return fig
    axes = style.panels(fig, len(tried), columns=4, size=(2.5, 1.9), around=(0.6, 1.8),
                        xlabel="weight", ylabel="accuracy")  # fmt: skip
    chance, failed = float(weights["chance"].iloc[0]), []
    several = (weights["lowest"] < weights["accuracy"]).any()
    for ax, (series, rows) in zip(axes, tried, strict=True):
        best = rows[rows["chosen"]]
        ax.plot(rows["weight"], rows["accuracy"], "s-", color=BLUE, ms=5, lw=1.4,
                label="mean of the seeds" if several else "one seed")  # fmt: skip
        if several:
            ax.plot(rows["weight"], rows["lowest"], "o", color=GREY, ms=3.5, label="lowest seed")
        ax.plot(best["weight"], best["accuracy"], "o", color=VERMILLION, ms=11, mfc="none",
                mew=1.6, clip_on=False, label="chosen weight")  # fmt: skip
        ax.axhline(chance, color=REFERENCE, lw=1, ls=DASHES["erm"], label="chance")
        ax.set_xscale("log")
        short = [f"{n:g}" if n < 1000 else EngFormatter(sep="")(n) for n in rows["weight"]]
        ax.set_xticks(rows["weight"], short, size=SMALL)
        ax.set_xticks([], minor=True)
        ax.set_title(series.label)
        if not rows["recovers"].any():
            failed.append(series.label)
    axes[0].set_ylim(bottom=0)
    text = (
        f"No weight of {', '.join(failed)} clearly exceeds"
        if failed
        else "Every method clearly exceeds"
    )
    text += f" chance ({number(chance)}) on {tables.label('val_swapped')}"
    style.title(fig, text, tables.about(task, data))
    style.legend(fig, list(axes[0].lines))
    return fig


CURVES = {"cross_entropy": "cross-entropy", "penalty": "explanation loss, unweighted",
          "accuracy": "training accuracy"}  # fmt: skip
VISIBLE = 1e-6  # of the largest explanation loss; the maps of some networks vanish


def learning_curves(fig: Figure, history: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Show losses and training accuracy over the epochs: mean of the seeds, and each seed.

    ``history`` has the columns ``method, seed, epoch, cross_entropy, penalty, accuracy``.
    """
    fig.set_size_inches(10, 4.4)
    looks = {str(name): look(str(name)) for name in dict.fromkeys(history["method"])}
    for ax, (column, text) in zip(fig.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        rows = history
        if column == "penalty":  # of very different size, and zero without an explanation loss
            rows = history[history.groupby("method")[column].transform("max") > 0]
            ax.set_yscale("log" if len(rows) else "linear")
            floor = VISIBLE * rows[column].max()
            if (rows[column] < floor).any():
                rows = rows.assign(**{column: rows[column].clip(lower=floor)})
                text += f"\n(values below {floor:.0e} at the bottom)"
        for name, own in rows.groupby("method", sort=False):
            curves, series = own.pivot(index="epoch", columns="seed", values=column), looks[name]
            ax.plot(curves, color=series.colour, lw=0.7, alpha=0.45)
            ax.plot(curves.mean(axis=1), color=series.colour, lw=1.8, marker=series.marker,
                    ms=0.85 * series.size, mec="white", mew=0.5)  # fmt: skip
        ax.set(xlabel="epoch", title=text)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    last = int(history["epoch"].max())
    final = history[history["epoch"] == last].groupby("method", sort=False)["accuracy"].mean()
    text = f"Training accuracy after epoch {last}: {style.extremes(final)}"
    style.title(fig, text, tables.about(task, data))
    thin = Line2D([], [], color=GREY, lw=0.7, label="single seed")
    style.legend(fig, [*(style.entry(own, line=True) for own in looks.values()), thin])
    return fig


def gradient_norms(
    fig: Figure, norms: Mapping[str, Mapping[str, tuple[float, float]]], *, task: str, data: str
) -> Figure:
    """Compare the gradients of cross-entropy and explanation loss, one row per parameter.

    ``norms`` maps methods to results of :func:`xblcore.study.train.gradient_norms`.
    """
    losses = {"cross-entropy": (GREY, "s"), "explanation loss, weighted": (VERMILLION, "o")}
    found = {method: pd.DataFrame(parts, index=list(losses)).T for method, parts in norms.items()}
    every = pd.concat(list(found.values()))
    names = list(every.index.unique())
    # Decades; below the lowest one the axis is linear, to show zero.
    low = math.floor(math.log10(every[every > 0].min(axis=None)))
    high = math.ceil(math.log10(every.max(axis=None)))
    step = max(1, -(-(high - low) // 5))
    axes = style.panels(fig, len(norms), columns=len(norms), size=(3.6, 0.24 * len(names)),
                        around=(1 + 0.07 * max(map(len, names)), 2.0),
                        xlabel="norm of the gradient")  # fmt: skip
    for ax, (method, own) in zip(axes, found.items(), strict=True):
        frame(ax, names)
        ax.set_title(look(method).label)
        for text, (colour, marker) in losses.items():
            rows = [names.index(name) for name in own.index]
            ax.plot(own[text], rows, marker, color=colour, ms=5.5, label=text)
        ax.set_xscale("symlog", linthresh=10.0**low, linscale=0.6)
        ax.set_xlim(-0.3 * 10.0**low, 2 * 10.0**high)
        ax.set_xticks([0.0, *(10.0**decade for decade in range(high, low, -step))])
    zero = [look(method).label for method, own in found.items() if not own.iloc[:, 1].any()]
    text = f"The gradient of the explanation loss is exactly zero for {', '.join(zero)}"
    style.title(fig, text if zero else "Every explanation loss has a gradient",
                tables.about(task, data))  # fmt: skip
    style.legend(fig, axes[0].lines[:2])
    return fig


# Explainer to the Method.trained_on of the same kind of map.
READS = {"grad_cam": "grad_cam", "hires_cam": "hires_cam", "hires_cam_log_prob": "hires_cam",
         "input_x_gradient": "input_gradient"}  # fmt: skip
TRUTH = "decoy_flip_rate"
OVERSTATED = 0.1  # a smaller gap is not a finding


def explainers(fig: Figure, shares: pd.DataFrame, *, task: str, data: str) -> Figure:
    """Compare the fall in reliance that each explainer reports with that of the flips.

    ``shares`` is :func:`xblcore.study.tables.shares_reported` of one task: one row per method,
    one column per explainer and ``decoy_flip_rate``.
    """
    shares = shares.reindex([name for name in METHODS if name in shares.index])
    fig.set_size_inches(3.4 + 1.05 * shares.shape[1], 2.2 + 0.36 * len(shares))
    ax = fig.subplots()
    ax.set_facecolor("#eeeeee")  # of undefined cells
    sns.heatmap(shares, annot=shares.map(number), fmt="", cmap="RdBu", vmin=-1, vmax=1, ax=ax,
                annot_kws={"size": 9}, cbar_kws={"extend": "both", "aspect": 25})  # fmt: skip
    ax.axvline(shares.columns.get_loc(TRUTH), color="white", lw=8)
    for y, method in enumerate(shares.index):
        kind = METHODS[method].trained_on if method in METHODS else None
        for x, explainer in enumerate(shares.columns):
            if kind is not None and READS.get(explainer) == kind:
                ax.add_patch(Rectangle((x + 0.06, y + 0.1), 0.88, 0.8, fill=False, ec="black",
                                       lw=1.6, path_effects=rim(1.6, "white")))  # fmt: skip
    ax.set_yticklabels([look(str(name)).label for name in shares.index], rotation=0)
    heads = [
        tables.label(str(name)) if name != TRUTH else "actual, by the flips" for name in shares
    ]
    ax.set_xticklabels([textwrap.fill(name, 11) for name in heads], rotation=0, size=SMALL)
    ax.set(xlabel="reported as gone by each explainer, and actual", ylabel="")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    if bar := ax.collections[0].colorbar:
        bar.set_ticks([-1, 0, 1], labels=["−1", "0: as\nERM", "1: none\nleft"])
    style.title(fig, overstatement(shares)[0], tables.about(task, data))
    boxes: list[Artist] = [Patch(fc="white", ec="black", lw=1.8, label="explanation trained on")]
    if shares.isna().any(axis=None):
        boxes.append(Patch(fc="#eeeeee", label="undefined"))
    style.legend(fig, boxes)
    return fig


def overstatement(shares: pd.DataFrame) -> tuple[str, tuple[Any, str] | None]:
    """State where an explainer reports most beyond the flips, and return that row and column."""
    own = shares[~shares.index.get_level_values(-1).isin(BOUNDS)]
    gaps = own.drop(columns=TRUTH).sub(own[TRUTH], axis=0)
    if not gaps.max(axis=None) >= OVERSTATED:
        text = f"No explainer overstates by {OVERSTATED} or more how much of ERM's reliance on the "
        return f"{text}decoy is gone", None
    row = gaps.max(axis=1).idxmax()
    explainer = str(gaps.loc[row].idxmax())
    *task, method = row if isinstance(row, tuple) else (row,)
    place = f" on {tables.label(task[0])}" if task else ""
    reported, actual = number(own.loc[row, explainer]), number(own.loc[row, TRUTH])
    text = f"{tables.label(explainer)} reports {reported} of ERM's reliance on the decoy as gone"
    return f"{text} for {look(method).label}{place}; by the flips it is {actual}", (row, explainer)


KINDS = {kind: Look(f"{kind} metric", colour, marker) for kind, colour, marker in (
    ("distance", BLUE, "o"), ("overlap", VERMILLION, "s"), ("behaviour", "#444444", "^"),
    ("health", GREY, "D"))}  # fmt: skip
INFORMATIVE = "Rank correlation with clean accuracy"


def metrics_against_accuracy(
    fig: Figure, points: pd.DataFrame, *, explainer: str, data: str
) -> Figure:
    """Show each metric against clean accuracy, one dot per run; better is to the right.

    ``points`` is :func:`xblcore.study.claims.run_table` of one task.
    """
    (task,) = points.index.unique("task")
    names = [name for kind in KINDS for name in points
             if name in METRICS and METRICS[name].kind == kind]  # fmt: skip
    methods = [name for name in METHODS if name in points.index.unique("method")]
    rho = points[names].corrwith(points["target"], method="spearman")
    axes = style.panels(fig, len(names), columns=4, size=(2.5, 2.05), around=(0.6, 1.8),
                        ylabel="clean accuracy")  # fmt: skip
    for ax, name in zip(axes, names, strict=True):
        better = METRICS[name].higher_is_better
        for method in methods:
            part, series = points.xs(method, level="method"), look(method)
            ax.scatter(part[name] if better else -part[name], part["target"], lw=0.4, ec="white",
                       s=0.45 * series.size**2, color=series.colour, marker=series.marker,
                       zorder=3, clip_on=False)  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_inverted(not better)
        ax.set_xlabel("" if better else "axis reversed", size=SMALL, labelpad=1)
        ax.set_title(f"{tables.label(name)}\n{METRICS[name].kind}, ρ = {number(rho[name])}",
                     size=9.5)  # fmt: skip
    context = f"{tables.label(explainer)}, {tables.about(task, data)}"
    style.title(fig, f"{INFORMATIVE}: {style.extremes(rho)}", context)
    style.legend(fig, [style.entry(look(method)) for method in methods])
    return fig


def forest(ax: Axes, table: pd.DataFrame, *, data: str | Iterable[str]) -> Axes:
    """Show the rank correlation of every metric with clean accuracy, with 95% intervals.

    ``table`` is :func:`xblcore.study.claims.informativeness` of one task and one explainer.
    """
    (task,), (explainer,) = table["task"].unique(), table["explainer"].unique()
    rows = table.assign(place=table["kind"].map(list(KINDS).index), mean=table["rho"])
    rows = rows.sort_values(["place", "rho"], ascending=[True, False])
    fig = ax.get_figure(root=True)
    assert fig is not None
    ax.set_xlim(-1.05, 1.05)
    ax.axvline(0, color=REFERENCE, lw=1)
    frame(ax, [tables.label(name) for name in rows["metric"]])
    for y, row in enumerate(rows.to_dict("records")):
        interval(ax, row, y, KINDS[row["kind"]])
    ax.set_xlabel("Spearman's ρ with accuracy on clean test images (1 is best)")
    context = f"{tables.label(explainer)}, {tables.about(str(task), data)}"
    rho = rows.set_index("metric")["rho"]
    style.title(fig, f"{INFORMATIVE}: {style.extremes(rho)}", context)
    kinds = [style.entry(KINDS[kind]) for kind in dict.fromkeys(rows["kind"])]
    style.legend(fig, [*kinds, *special_marks([ax], what="ρ")])
    return ax
