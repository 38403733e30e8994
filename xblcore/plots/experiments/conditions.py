"""Figures of the experiments on what is marked, when the loss is turned on, and the decoy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xblcore.plots import style
from xblcore.plots.experiments import rows
from xblcore.plots.experiments.rows import Look
from xblcore.results import BOUNDS

COLUMNS = 4


def interaction(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """Recovery against how many images are marked: a panel a method, the others in grey behind it.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.tables.interaction`.
        profile: for the title.
    """
    shown = table[(table["metric"] == "recovery") & table["annotated"].notna()]
    names = rows.methods_of(shown)
    fig.set_size_inches(rows.WIDTH, 1.2 + 2.0 * -(-len(names) // COLUMNS))
    counts = sorted(set(shown["annotated"]))
    axes = style.panels(fig, len(names), columns=COLUMNS, sharex=True)
    for ax, name in zip(axes, names, strict=True):
        for other, part in shown.groupby("method", sort=False):
            if other != name:
                ax.plot(part["annotated"], part["mean"], color="#d4d4d4", lw=0.9, zorder=1)
        _course(ax, shown[shown["method"] == name], style.method(name))
        ax.set_title(style.label(name))
        ax.set_xscale("log")
        ax.set_xticks(counts, [f"{n:g}" for n in counts[:-1]] + ["all"])
        ax.set_xticks([], minor=True)
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel("recovery")
    text = f"marked training images; all: {counts[-1]:,.0f}" if counts else ""
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, rows.VIEW[0]), min(high, rows.VIEW[1]))
    fig.supxlabel(f"{text}   (grey: the other methods; 0: as ERM, 1: as the oracle)", size=10)
    return rows.head(fig, "Recovery by how much is marked", table, profile)


def _course(ax: Axes, part: pd.DataFrame, look: style.MethodStyle) -> None:
    for y in (0, 1):
        ax.axhline(y, color=rows.LINE, lw=1, ls=(0, (4, 3)), zorder=0.6)
    ax.plot(part["annotated"], part["mean"], color=look.colour, marker=look.marker,
            ms=0.8 * look.size, lw=1.6, mec="white", mew=0.6, zorder=3)  # fmt: skip
    ax.vlines(part["annotated"], part["ci_low"], part["ci_high"], color=look.colour, lw=1.6,
              zorder=2)  # fmt: skip
    undefined = part[part["mean"].isna()]
    for x in undefined["annotated"]:
        ax.annotate("undefined", (x, 0.03), xycoords=("data", "axes fraction"), ha="center", size=7)


def feedback(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """Recovery by kind of feedback: a panel a kind, a method a row, the correct one in grey.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.tables.feedback`.
        profile: for the title.
    """
    shown = table[table["metric"] == "recovery"]
    names = rows.methods_of(shown)
    correct = shown[(shown["feedback"] == "correct") & shown["method"].isin(names)]
    kinds = list(dict.fromkeys(shown["feedback"]))
    rows.size(fig, len(names), width=rows.WIDTH + 1)
    axes = fig.subplots(1, len(kinds), sharey=True, sharex=True, squeeze=False)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        rows.frame(ax, names, ticks=3)
        for row in correct.to_dict("records") if kind != "correct" else ():
            y = names.index(row["method"])
            ax.plot([row["mean"]] * 2, [y - 0.36, y + 0.36], color="#8c8c8c", lw=1.6)
        own = shown[(shown["feedback"] == kind) & shown["method"].isin(names)]
        for row in own.to_dict("records"):
            look = rows.of_method(row["method"], hollow=bool(row["repeated"]))
            rows.dot(ax, row, names.index(row["method"]), look, view=rows.VIEW)
        ax.set_title(style.label(kind), pad=16)
    rows.between_bounds(axes)
    axes[len(kinds) // 2].set_xlabel(f"{rows.RECOVERY}; with 95% interval")
    grey = Look("the same method with correct feedback", "#8c8c8c", "|", 10)
    same = Look("a box around the decoy is the decoy: the correct runs", rows.LINE, hollow=True)
    rows.key(fig, [grey, same] if shown["repeated"].any() else [grey])
    return rows.head(fig, "Recovery by kind of feedback", table, profile)


def switch_on(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """Recovery by when the loss is turned on, and what the wait changed, paired by seed.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.tables.switch_on`.
        profile: for the title.
    """
    names = rows.methods_of(table)
    waits = {n: f"after {n} epochs" if n else "from the start" for n in table["switch_on"].unique()}
    conditions = rows.looks(waits)
    rows.size(fig, len(names), each=0.42)
    left, right = fig.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    shown = table[table["metric"] == "recovery"]
    rows.series(left, shown, names, "switch_on", conditions, view=rows.VIEW)
    rows.between_bounds([left])
    left.set_xlabel(rows.RECOVERY)
    late = {wait: look for wait, look in conditions.items() if wait}
    change = table[table["metric"] == "recovery_change"]
    rows.series(right, change, names, "switch_on", late)
    right.axvline(0, color=rows.LINE, lw=1, zorder=0.6)
    right.set_xlabel("recovery, later minus from the start")
    rows.key(fig, list(conditions.values()), title="loss turned on")
    return rows.head(fig, "Recovery by when the loss is turned on", table, profile)


def decoys(fig: Figure, table: pd.DataFrame, *, decoy_size: int, profile: str) -> Figure:
    """Recovery by the size of the decoy, and by how often it tells the label.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.tables.decoys`.
        decoy_size: the task's own.
        profile: for the title.
    """
    shown = table[(table["metric"] == "recovery") & (table["decoys"] == 1)]
    names = rows.methods_of(shown)
    rows.size(fig, len(names), each=0.42)
    axes = fig.subplots(1, 2, sharey=True)
    parts = {
        "decoy_size": ("side of the decoy, pixels", shown[shown["predictive"] == 1], "{:g}"),
        "predictive": ("decoys that tell the label", shown[shown["decoy_size"] == decoy_size],
                       "{:.0%}"),
    }  # fmt: skip
    for ax, (by, (title, part, text)) in zip(axes, parts.items(), strict=True):
        conditions = rows.looks({n: text.format(n) for n in sorted(part[by].unique())})
        rows.series(ax, part, names, by, conditions, view=rows.VIEW)
        rows.between_bounds([ax])
        ax.set_xlabel(rows.RECOVERY)
        handles = rows.handles(list(conditions.values()))
        ax.legend(handles=handles, title=title, ncols=3, loc="lower center",
                  bbox_to_anchor=(0.5, 1.04))  # fmt: skip
    return rows.head(fig, "Recovery by the decoy", table, profile)


def two_decoys(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """Do predictions follow the second of two decoys, when both are marked and when one is?

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.tables.decoys`.
        profile: for the title.
    """
    shown = table[table["decoys"] == 2]
    names = rows.methods_of(shown, bounds=True)
    rows.size(fig, len(names), each=0.42)
    rates = {"decoy_flip_rate": "first decoy changed",
             "second_decoy_flip_rate": "second decoy changed"}  # fmt: skip
    conditions = rows.looks(rates)
    erm = shown[shown["method"] == "erm"].set_index("metric")["mean"]
    axes = fig.subplots(1, 2, sharey=True, sharex=True)
    for ax, (marked, title) in zip(
        axes, {"all": "both marked", "first": "only the first marked"}.items(), strict=True
    ):
        own = shown[(shown["marked"] == marked) | shown["method"].isin(BOUNDS)]
        rows.series(ax, own, names, "metric", conditions)
        for y, name in enumerate(names):
            if name not in set(own["method"]):
                ax.text(0.02, y, "marks no decoy", transform=ax.get_yaxis_transform(), va="center",
                        size=8, color=rows.LINE)  # fmt: skip
        for metric, look in conditions.items():
            if metric in erm:
                ax.axvline(erm[metric], color=look.colour, lw=1, ls=(0, (4, 3)), zorder=0.6)
        ax.set(title=title, xlabel="share of predictions that change (lower is better)")
    rows.key(fig, list(conditions.values()), title="dashed: ERM")
    return rows.head(fig, "Two decoys", table, profile)


def layers(fig: Figure, table: pd.DataFrame, *, profile: str) -> Figure:
    """Recovery by the CAM in training: a panel a method and layer, a score a row.

    Args:
        fig: an empty figure.
        table: from :func:`xblcore.experiments.gaming.layers`.
        profile: for the title.
    """
    shown = table[(table["metric"] == "recovery") & table["cam"].isin(["grad_cam", "hires_cam"])]
    places = list(shown[["method", "layer"]].drop_duplicates().itertuples(index=False, name=None))
    scores = list(dict.fromkeys(shown["score"]))
    columns = 3
    fig.set_size_inches(rows.WIDTH, 1.5 + 1.45 * -(-len(places) // columns))
    conditions = {
        "grad_cam": Look(style.label("grad_cam"), style.ORANGE, "s"),
        "hires_cam": Look(style.label("hires_cam"), style.BLUE, "o"),
    }
    names = {"logit": "logit", "log_prob": "log p", "projection": "projection"}
    axes = style.panels(fig, len(places), columns=columns, sharex=True)
    for ax, (method, layer) in zip(axes, places, strict=True):
        part = shown[(shown["method"] == method) & (shown["layer"] == layer)]
        by_score = part.assign(method=part["score"])
        rows.series(ax, by_score, scores, "cam", conditions, view=rows.VIEW)
        ax.set_yticks(range(len(scores)), [names.get(score, score) for score in scores])
        ax.set_title(f"{style.label(method)}, {layer}", size=10)
    rows.between_bounds(axes, named=False)
    rows.below(axes, columns, "recovery")
    rows.key(fig, list(conditions.values()), title="CAM that the loss is computed on")
    return rows.head(fig, "Recovery by layer, CAM and score", table, profile)
