"""One figure for all experiments: methods under the values of one condition."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from xblcore.decoys import Decoy
from xblcore.plots import charts, style
from xblcore.plots.style import Look, look, number
from xblcore.study import tables

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HEADINGS = {
    "decoy": "decoys",
    "annotated": "number of annotated images",
    "feedback": "quality of the annotations",
    "switch_on": "epochs before the loss is switched on",
    "margin": "margin in pixels",
    "wrong": "c in D+ = max(D, c E)",
    "score": "score in training",
    "every": "steps between two evaluations of the loss",
    "keep": "epoch that is kept",
}
# What None stands for.
NONE = {"annotated": "all", "margin": "receptive field", "every": "as in the study",
        "score": "projection", "layer": "last layer"}  # fmt: skip


def heading(by: str) -> str:
    """Name a field of the condition."""
    return HEADINGS.get(by, by.replace("_", " "))


def value_label(value: Any, by: str) -> str:
    """Name a value of a condition. A decoy is named by what differs from the default one.

    >>> value_label(25.0, "annotated"), value_label(None, "annotated"), value_label("top_left", "")
    ('25', 'all', 'top left')
    """
    if pd.isna(value):
        return NONE.get(by, "default")
    if isinstance(value, Decoy):
        places = {"corner": "", "object": f"{_gap_label(value.gap)} the object"}
        parts = [f"{value.size}x{value.size}" * (value.size != Decoy.size),
                 places.get(value.place, value.place.replace("_", " ")),
                 value.pattern * (value.pattern != Decoy.pattern),
                 f"predictive {value.predictive:g}" * (value.predictive != 1)]  # fmt: skip
        return ", ".join(filter(None, parts)) or "default"
    return f"{value:g}" if isinstance(value, int | float) else str(value).replace("_", " ")


def _gap_label(gap: int) -> str:
    if gap == 0:
        return "touching"
    return f"{gap} pixels from" if gap > 0 else f"{-gap} pixels into"


def by_condition(fig: Figure, table: pd.DataFrame, *, by: str) -> Figure:
    """Show recovery and flips under every value of one condition: one row per method.

    ERM and the oracle are lines if they have one value for all conditions, otherwise rows.

    Args:
        table: of :func:`xblcore.study.tables.summarise` with ``by=(by,)``, one task.
        by: column of the condition.
    """
    values = list(table.loc[~table["method"].isin(charts.BOUNDS), by].drop_duplicates())
    ordinal = all(pd.isna(value) or isinstance(value, int | float) for value in values)
    if ordinal:
        values.sort(key=lambda value: math.inf if pd.isna(value) else value)
    shown = table.assign(**{by: [value_label(value, by) for value in table[by]]})
    names = [value_label(value, by) for value in values]
    shades = sns.color_palette("viridis", len(names)).as_hex()
    series = zip(names, cycle(shades if ordinal else style.COLOURS.values()), cycle(MARKERS))
    looks = {name: Look(name, colour, marker) for name, colour, marker in series}
    rows = [str(name) for name, part in shown.groupby("method", sort=False)
            if name not in charts.BOUNDS or part[by].nunique() > 1]  # fmt: skip
    step = min(0.3, 0.86 / len(looks))
    fig.set_size_inches(10, 1.9 + len(rows) * max(0.36, 0.13 * len(looks)))
    lines: dict[Any, Artist] = {}
    axes = fig.subplots(1, len(charts.PANELS), sharey=True)
    for ax, (metric, split, text) in zip(axes, charts.PANELS, strict=True):
        means = tables.select(shown, metric, split=split)
        charts.set_limits(ax, metric, means[["mean", "ci_low", "ci_high"]])
        charts.frame(ax, [look(name).label for name in rows])
        for row in means[means["method"].isin(rows) & means[by].isin(looks)].to_dict("records"):
            place = list(looks).index(row[by]) - (len(looks) - 1) / 2
            y = rows.index(row["method"]) + place * step
            charts.interval(ax, row, y, looks[row[by]], scale=0.8)
        bounds = means[~means["method"].isin(rows)].set_index("method")["mean"]
        lines |= {line.get_label(): line for line in charts.reference_lines(ax, bounds)}
        ax.set_xlabel(text)
    style.title(fig, _finding(shown, by), style.about_table(table))
    entries = [style.entry(entry) for entry in looks.values()] if len(looks) > 1 else []
    style.legend(
        fig, [*entries, *lines.values(), *charts.special_marks(axes)],
        heading=heading(by) if entries else None,
    )  # fmt: skip
    return fig


def _finding(table: pd.DataFrame, by: str) -> str:
    """State the methods with the best and the worst recovery in their worst condition."""
    means = tables.select(table, "recovery", split=tables.CLEAN)
    means = means[~means["method"].isin(charts.BOUNDS)].dropna(subset="mean")
    if means.empty:
        return "Recovery is undefined for every method"
    worst = means.loc[means.groupby("method")["mean"].idxmin()].sort_values("mean")
    ends = worst.iloc[[-1, 0]].drop_duplicates("method")
    several = means[by].nunique() > 1
    texts = [f"{look(row['method']).label} {number(row['mean'])}" + f" ({row[by]})" * several
             for row in ends.to_dict("records")]  # fmt: skip
    lead = f"Worst recovery over the {heading(by)}" if several else "Recovery"
    return f"{lead}: {', '.join(texts)}"
