"""Figures of the claims: what makes a loss work (C2), which explanations can be trusted (C3)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from xblcore.metrics import METRICS
from xblcore.plots import charts, style
from xblcore.plots.style import BLUE, GREEN, ORANGE, PURPLE, REFERENCE, SMALL, Look, number
from xblcore.study import tables
from xblcore.study.claims import FACTORS, MARGIN

FACTOR_NAMES = {
    "weighting": "weighting\ndistance − overlap",
    "feedback": "annotation\nobject − decoy",
    "form": "form\nmass − share",
    "cam_method": "map\nHiResCAM of the projection\n− Grad-CAM of the logit",
}
VERDICTS = {"supported": "distance is better", "contradicted": "overlap is better",
            "equivalent": "equivalent", "undecided": "undecided"}  # fmt: skip
TARGETS = {"flips": "that the prediction follows the decoy",
           "wrong": "that the prediction without the decoy is wrong"}  # fmt: skip


def _looks(tasks: Iterable[str]) -> dict[str, Look]:
    """Return a look for each task; all tasks together are a black diamond."""
    looks = zip((BLUE, ORANGE, GREEN, PURPLE), ("o", "s", "^", "v"), strict=True)
    pairs = {task: (style.BLACK, "D") if task == tables.POOLED else next(looks)
             for task in dict.fromkeys(tasks)}  # fmt: skip
    return {task: Look(tables.label(task), *pair) for task, pair in pairs.items()}


def factorial(fig: Figure, effects: pd.DataFrame) -> Figure:
    """Show the effect of each factor of the loss on the recovery, for each task and over all.

    ``effects`` is the table of :func:`xblcore.study.claims.effects`.
    """
    own = effects[effects["kind"] == "main"].rename(columns={"estimate": "mean"})
    tasks, looks = own[own["task"] != tables.POOLED], _looks(own["task"])
    names = [name for name in FACTORS if name in set(own["effect"])]
    fig.set_size_inches(9, 2.2 + len(names))
    ax = fig.subplots()
    widest = tasks[["mean", "ci_low", "ci_high"]].abs().max(axis=None)  # of all tasks: an arrow
    limit = max(3 * MARGIN, 1.1 * (0 if math.isnan(widest) else widest))
    ax.set_xlim(-limit, limit)
    charts.frame(ax, [FACTOR_NAMES[name] for name in names])
    band = ax.axvspan(-MARGIN, MARGIN, color=style.SKY, alpha=0.3, lw=0,
                      label=f"equivalent: within ±{MARGIN:g}")  # fmt: skip
    ax.axvline(0, color=REFERENCE, lw=1)
    for row in own.to_dict("records"):
        place = (list(looks).index(row["task"]) + 0.5) / len(looks) - 0.5
        charts.interval(ax, row, names.index(row["effect"]) + 0.8 * place, looks[row["task"]])
    ax.set_xlabel("← second is better      difference in recovery      first is better →")
    style.title(fig, _weighting(tasks), style.about_table(tasks))
    entries: list[Artist] = [style.entry(series) for series in looks.values()]
    style.legend(fig, [*entries, band, *charts.special_marks([ax])])
    return fig


def _weighting(tasks: pd.DataFrame) -> str:
    """State the verdict on distance and overlap, and the factor with the largest effect."""
    parts = [
        f"{VERDICTS[verdict]} on {' and '.join(map(tables.label, own['task']))}"
        for verdict, own in tasks[tasks["effect"] == "weighting"].groupby("verdict")
    ]
    text = f"Distance or overlap: {', '.join(parts) or 'not compared'}"
    largest = tasks.dropna(subset="mean").set_index("effect")["mean"].abs()  # fmt: skip
    if largest.empty or largest.idxmax() == "weighting":
        return text
    factor = FACTOR_NAMES[str(largest.idxmax())].partition("\n")[0]
    return f"{text}. The {factor} changes recovery by up to {number(largest.max())}"


def validity(fig: Figure, table: pd.DataFrame) -> Figure:
    """Show how well each metric, by each explainer, predicts the target for single images.

    ``table`` is that of :func:`xblcore.study.claims.validity_table`, one task and one target.
    """
    (task,), (target,) = table["task"].unique(), table["target"].unique()
    kinds = {name: METRICS[name].kind for name in table["metric"].unique()}
    order = table.assign(kind=table["metric"].map(kinds)).sort_values(
        ["family", "kind"], key=lambda own: ~own.isin(["object", "distance"]), kind="stable"
    )
    rows = list(order[["family", "metric"]].drop_duplicates().itertuples(index=False, name=None))
    names, ends = list(table["explainer"].unique()), table[["mean", "ci_low", "ci_high"]]
    axes = style.panels(fig, len(names), columns=3, size=(2.6, 0.6 + 0.28 * len(rows)),
                        around=(3, 1.8), xlabel="AUROC")  # fmt: skip
    for ax, name in zip(axes, names, strict=True):
        low, high = ends.min(axis=None), ends.max(axis=None)
        ax.set_xlim(max(0.0, np.fmin(low, 0.4) - 0.01), min(1.0, np.fmax(high, 0.8)) + 0.01)
        charts.frame(ax, [tables.label(metric) for _, metric in rows])
        chance = ax.axvline(0.5, color=REFERENCE, lw=1, ls=charts.DASHES["erm"], label="chance")
        if 0 < (first := sum(family == "object" for family, _ in rows)) < len(rows):
            ax.axhline(first - 0.5, color=REFERENCE, lw=0.8)
            for text, align in (("object mask ↑", "bottom"), ("decoy mask ↓", "top")):
                ax.text(0.99, first - 0.5, text, size=SMALL - 1, ha="right", va=align,
                        transform=ax.get_yaxis_transform())  # fmt: skip
        for row in table[table["explainer"] == name].to_dict("records"):
            y = rows.index((row["family"], row["metric"]))
            charts.interval(ax, row, y, charts.KINDS[kinds[row["metric"]]], scale=0.8)
        ax.set_title(tables.label(name))
    text = f"AUROC for predicting {TARGETS[target]}"
    own = table[table["explainer"] == tables.EXPLAINER].set_index("metric")["mean"]
    if len(own):
        text += f", by {tables.label(tables.EXPLAINER)}: {style.extremes(own)}"
    style.title(fig, text, tables.about(task, table["data"].iloc[0]))
    entries = [style.entry(charts.KINDS[kind]) for kind in dict.fromkeys(order["kind"])]
    style.legend(fig, [*entries, chance, *charts.special_marks(axes)])
    return fig


def reported_and_actual(fig: Figure, shares: pd.DataFrame, *, data: str | Iterable[str]) -> Figure:
    """Plot the fall in reliance that explainers report against that of the flips.

    ``shares`` is the table of :func:`xblcore.study.tables.shares_reported`.
    """
    shares = shares.drop(index=list(charts.BOUNDS), level="method", errors="ignore")
    actual, reported = shares[charts.TRUTH], shares.drop(columns=charts.TRUTH)
    looks = _looks(shares.index.get_level_values("task"))
    axes = style.panels(fig, reported.shape[1], columns=3, size=(2.8, 2.7), around=(1, 1.9),
                        xlabel="actual, by the flips", ylabel="reported as gone")  # fmt: skip
    for ax, name in zip(axes, reported, strict=True):
        line = ax.axline((0, 0), slope=1, color=REFERENCE, lw=1, label="reported = actual")
        for task, series in looks.items():
            ax.plot(actual.loc[task], reported.loc[task, name], ls="", marker=series.marker,
                    color=series.colour, ms=0.85 * series.size, mec="white", mew=0.6)  # fmt: skip
        ax.set_title(tables.label(str(name)))
    entries: list[Artist] = [*(style.entry(series) for series in looks.values()), line]
    text, place = charts.overstatement(shares)
    if place:
        row, name = place
        entries += axes[list(reported).index(name)].plot(
            actual.loc[row], reported.loc[row, name], "o", ms=13, mfc="none",
            color=style.VERMILLION, mew=1.6, label="largest overstatement",
        )  # fmt: skip
    style.title(
        fig, text, tables.about(next(iter(looks)) if len(looks) == 1 else tables.POOLED, data)
    )
    style.legend(fig, entries)
    return fig
