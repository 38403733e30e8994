"""One figure for all experiments: methods under the values of one condition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xblcore.metrics import METRICS
from xblcore.plots import charts, style
from xblcore.plots.style import Look, look, number
from xblcore.study import tables

COLOURS = (style.BLUE, style.ORANGE, style.VERMILLION, style.GREEN, style.PURPLE, style.SKY,
           style.BLACK, style.GREY)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HEADINGS = {
    "annotated": "number of annotated images",
    "feedback": "quality of the annotations",
    "switch_on": "epochs before the loss is switched on",
    "margin": "margin in pixels",
    "wrong": "c in D+ = max(D, c E)",
    "marked": "annotated decoys",
    "cam_method": "CAM in training",
    "score": "score in training",
}
NONE = {"annotated": "all", "margin": "receptive field"}  # what None stands for


def value_label(value: Any, by: str) -> str:
    """Name a value of a condition.

    >>> value_label(25.0, "annotated"), value_label(None, "annotated"), value_label("top_left", "")
    ('25', 'all', 'top left')
    """
    if _missing(value):
        return NONE.get(by, "default")
    if is_dataclass(value) and not isinstance(value, type):  # a decoy
        changed = {
            field.name: getattr(value, field.name)
            for field in fields(value)
            if getattr(value, field.name) != field.default
        }
        return ", ".join(f"{name} {item}" for name, item in changed.items()) or "default"
    return f"{value:g}" if isinstance(value, int | float) else str(value).replace("_", " ")


def _missing(value: Any) -> bool:
    return value is None or value != value


def by_condition(
    fig: Figure, table: pd.DataFrame, *, by: str, heading: str | None = None,
    labels: Mapping[Any, str] | None = None,
    panels: Sequence[tuple[str, str]] = charts.PANELS,
) -> Figure:  # fmt: skip
    """Show the methods under every value of one condition: one row per method.

    ERM and the oracle are lines if they have one value for all conditions, otherwise rows.

    Args:
        table: of :func:`xblcore.study.tables.summarise` with ``by=(by,)``, one task.
        by: column of the condition.
        heading: of the legend; None: from the name of the column.
        labels: names of values; others are named by :func:`value_label`.
        panels: metric and split of each panel.
    """
    heading = heading or HEADINGS.get(by, by.replace("_", " "))
    names = labels or {}
    values = list(table.loc[~table["method"].isin(charts.BOUNDS), by].drop_duplicates())
    ordinal = all(_missing(value) or isinstance(value, int | float) for value in values)
    if ordinal:
        values.sort(key=lambda value: math.inf if _missing(value) else value)
    shown = table.assign(**{by: [names.get(v, value_label(v, by)) for v in table[by]]})
    looks = _looks([names.get(v, value_label(v, by)) for v in values], ordinal=ordinal)
    rows = [str(name) for name, part in shown.groupby("method", sort=False)
            if name not in charts.BOUNDS or part[by].nunique() > 1]  # fmt: skip
    step = min(0.3, 0.86 / len(looks))
    fig.set_size_inches(2.2 + 3.9 * len(panels), 1.9 + len(rows) * max(0.36, 0.13 * len(looks)))
    entries: dict[str, Artist] = {}
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (metric, split) in zip(axes, panels, strict=True):
        means = tables.select(shown, metric, split=split)
        ax.set_xlim(*charts.limits(metric, means))
        charts.frame(ax, [look(name).label for name in rows])
        arrows = False
        for row in means[means["method"].isin(rows) & means[by].isin(looks)].to_dict("records"):
            place = list(looks).index(row[by]) - (len(looks) - 1) / 2
            y = rows.index(row["method"]) + place * step
            arrows |= charts.interval(ax, row, y, looks[row[by]], scale=0.8)
        lines = means[~means["method"].isin(rows)].set_index("method")["mean"]
        found = [*charts.reference_lines(ax, lines), *charts.special_marks(arrows=arrows)]
        entries |= {str(entry.get_label()): entry for entry in found}
        ax.set_xlabel(charts.heading(metric, split))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    style.title(fig, _finding(shown, by, heading, *panels[0]), style.about_table(table))
    series = [style.entry(entry) for entry in looks.values()]
    style.legend(fig, [*series, *entries.values()], heading=heading)
    return fig


def _looks(names: Sequence[str], *, ordinal: bool) -> dict[str, Look]:
    """Return a look for every value: shades if they have an order, otherwise colours."""
    colours = list(COLOURS)
    if ordinal:
        colours = [to_hex(shade) for shade in colormaps["viridis"](np.linspace(0, 0.8, len(names)))]
    return {
        name: Look(name, colours[place % len(colours)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    }


def _finding(table: pd.DataFrame, by: str, heading: str, metric: str, split: str) -> str:
    """State the methods with the best and the worst result in their worst condition."""
    means = tables.select(table, metric, split=split)
    means = means[~means["method"].isin(charts.BOUNDS)].dropna(subset="mean")
    if means.empty:
        return f"{style.label(metric)} is undefined for every method"
    sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
    means = means.assign(key=sign * means["mean"])
    worst = means.loc[means.groupby("method", sort=False)["key"].idxmin()].set_index("method")
    texts = [
        f"{look(name).label} {number(worst.loc[name, 'mean'])} ({worst.loc[name, by]})"
        for name in dict.fromkeys((str(worst["key"].idxmax()), str(worst["key"].idxmin())))
    ]
    return f"Worst {style.label(metric).lower()} over the {heading}: {', '.join(texts)}"
