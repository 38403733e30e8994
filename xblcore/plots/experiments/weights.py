"""Figures of the weight sweep: the Pareto front, each method's way along it, all compared."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xblcore.plots import results, style
from xblcore.plots.experiments import rows
from xblcore.plots.experiments.rows import Look

COLUMNS = 4
KEY = ["method", "weight", "chosen", "on_front"]
X, Y = "accuracy", "distance_focus"
AXES = {"xlabel": "accuracy, clean test", "ylabel": "distance focus by HiResCAM"}

OVERVIEW = {
    "accuracy": "accuracy,\nclean test ↑",
    "decoy_flip_rate": "decoy flip rate ↓",
    "distance_focus": "distance focus\nby HiResCAM ↑",
    "regret": "regret of the rule ↓",
    "time_ratio": "time of a step,\nERM = 1 ↓",
}


def _wide(points: pd.DataFrame) -> pd.DataFrame:
    """One row a method and weight; columns ``mean``, ``ci_low`` and ``ci_high`` by metric."""
    numbers = points[points["metric"].isin([X, Y])]
    parts = [
        numbers.pivot(index=KEY, columns="metric", values=what).add_suffix(f"_{what}")
        for what in ("mean", "ci_low", "ci_high")
    ]
    wide = pd.concat(parts, axis=1)
    order = {name: n for n, name in enumerate(dict.fromkeys(points["method"]))}
    wide = wide.reset_index()
    ranks = wide.assign(rank=wide["method"].map(order)).sort_values(["rank", "weight"])
    return ranks.drop(columns="rank").reset_index(drop=True)


def _front(ax: Axes, wide: pd.DataFrame) -> None:
    """The line of what can be had: no point is above and to the right of it."""
    front = wide[wide["on_front"]].sort_values(f"{X}_mean")
    ax.step(front[f"{X}_mean"], front[f"{Y}_mean"], where="pre", color=rows.LINE, lw=1.2, zorder=1)


def front(fig: Figure, points: pd.DataFrame, *, profile: str) -> Figure:
    """Clean accuracy against distance focus: all weights, the chosen ones named, and the front.

    Args:
        fig: an empty figure.
        points: from :func:`xblcore.experiments.weighing.points`.
        profile: for the title.
    """
    fig.set_size_inches(rows.WIDTH, 6.4)
    ax = fig.subplots()
    wide = _wide(points)
    _front(ax, wide)
    for row in wide.to_dict("records"):
        look = style.method(row["method"])
        x, y = row[f"{X}_mean"], row[f"{Y}_mean"]
        if not row["chosen"]:
            ax.plot(x, y, ls="", marker=look.marker, color=look.colour, ms=4, alpha=0.55, mew=0)
            continue
        ax.plot([row[f"{X}_ci_low"], row[f"{X}_ci_high"]], [y, y], color=look.colour, lw=1.2)
        ax.plot([x, x], [row[f"{Y}_ci_low"], row[f"{Y}_ci_high"]], color=look.colour, lw=1.2)
        ax.plot(x, y, ls="", marker=look.marker, color=look.colour, ms=look.size + 1, mec="white",
                mew=0.7, zorder=4)  # fmt: skip
    _names_beside(ax, wide[wide["chosen"]])
    ax.set(**AXES)
    told = (
        "large: the weight that the rule chose, with 95% intervals; small: others; line: the front"
    )
    fig.supxlabel(told, size=9.5)
    return rows.head(fig, "Clean accuracy and distance focus", points, profile)


def _names_beside(ax: Axes, chosen: pd.DataFrame) -> None:
    """Names in a column at the right, in the order of height, each led to its point."""
    shown = chosen.dropna(subset=[f"{X}_mean", f"{Y}_mean"]).sort_values(f"{Y}_mean")
    if shown.empty:
        return
    for n, row in enumerate(shown.to_dict("records")):
        look = style.method(row["method"])
        ax.annotate(
            f"{look.label}, {row['weight']:g}" if row["weight"] else look.label,
            (row[f"{X}_mean"], row[f"{Y}_mean"]), xycoords="data",
            xytext=(1.03, (n + 0.5) / len(shown)), textcoords="axes fraction", va="center", size=9,
            arrowprops={"arrowstyle": "-", "color": look.colour, "lw": 0.6, "alpha": 0.6,
                        "shrinkB": 4, "relpos": (0, 0.5)},
        )  # fmt: skip


def paths(fig: Figure, points: pd.DataFrame, *, profile: str) -> Figure:
    """Each method's way as its weight grows, a panel a method, all others in grey behind it.

    Args:
        fig: an empty figure.
        points: from :func:`xblcore.experiments.weighing.points`.
        profile: for the title.
    """
    wide = _wide(points)
    names = list(dict.fromkeys(wide["method"]))
    fig.set_size_inches(rows.WIDTH, 1.2 + 2.1 * -(-len(names) // COLUMNS))
    axes = style.panels(fig, len(names), columns=COLUMNS, sharex=True)
    for ax, name in zip(axes, names, strict=True):
        ax.plot(wide[f"{X}_mean"], wide[f"{Y}_mean"], "o", color="#cfcfcf", ms=3.5, mew=0, zorder=1)
        _front(ax, wide)
        _path(ax, wide[wide["method"] == name], style.method(name))
        ax.set_title(style.label(name))
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel(AXES["ylabel"])
    rows.below(axes, COLUMNS, AXES["xlabel"])
    ring = Look("weight that the rule chose", style.BLACK, "o", 11, hollow=True)
    rows.key(fig, [Look("a method's weights in their order", style.BLUE), ring])
    return rows.head(fig, "What a larger weight does", points, profile)


def _path(ax: Axes, own: pd.DataFrame, look: style.MethodStyle) -> None:
    x, y = own[f"{X}_mean"], own[f"{Y}_mean"]
    ax.plot(x, y, color=look.colour, marker=look.marker, ms=look.size - 1.5, lw=1.3, mec="white",
            mew=0.5, zorder=3)  # fmt: skip
    for axis, lines in (("x", ax.hlines), ("y", ax.vlines)):
        at, metric = (y, X) if axis == "x" else (x, Y)
        lines(at, own[f"{metric}_ci_low"], own[f"{metric}_ci_high"], color=look.colour, lw=1,
              alpha=0.6, zorder=2)  # fmt: skip
    chosen = own[own["chosen"]]
    ax.plot(chosen[f"{X}_mean"], chosen[f"{Y}_mean"], ls="", marker="o", ms=12, mfc="none",
            mec=style.BLACK, mew=1.1, zorder=4)  # fmt: skip
    if len(own) > 1:  # where the path begins and ends
        for i in (0, -1):
            ax.annotate(f"{own['weight'].iloc[i]:g}", (x.iloc[i], y.iloc[i]), xytext=(0, -7),
                        textcoords="offset points", ha="center", va="top", size=7.5)  # fmt: skip


def rule(fig: Figure, runs: pd.DataFrame, *, profile: str) -> Figure:
    """:func:`xblcore.plots.results.weight_sweep` for as many methods as there are.

    Args:
        fig: an empty figure.
        runs: with a column ``chosen``.
        profile: for the title.
    """
    swept = runs.groupby("method")["weight"].nunique().gt(1).sum()
    fig.set_size_inches(rows.WIDTH, 1.4 + 2.3 * max(1, -(-int(swept) // COLUMNS)))
    results.weight_sweep(fig, runs)
    return rows.head(fig, "Weight of the explanation loss", runs, profile)


def overview(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """All methods at their chosen weight: outcomes, regret of the rule, and time of a step.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.weighing.overview`.
        profile: for the title.
    """
    names = rows.methods_of(table, bounds=True)
    rows.size(fig, len(names), width=rows.WIDTH + 2)
    axes = fig.subplots(1, len(OVERVIEW), sharey=True)
    for ax, (metric, text) in zip(axes, OVERVIEW.items(), strict=True):
        rows.frame(ax, names, ticks=3)
        for row in table[table["metric"] == metric].to_dict("records"):
            y = names.index(row["method"])
            rows.dot(ax, row, y, rows.of_method(row["method"]), view=None)
            if row["mean"] == row["mean"]:
                share = row["nan_share"]
                note = f"\n{share:.0%} NaN" if share >= 0.005 else ""
                ax.text(1.01, y, f"{row['mean']:z.3f}{note}", va="center", size=8,
                        transform=ax.get_yaxis_transform())  # fmt: skip
        ax.set_title(text, size=10)
    return rows.head(fig, "All methods at the weight that the rule chose", table, profile)
