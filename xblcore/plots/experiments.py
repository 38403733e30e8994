"""One figure for all experiments: methods under the values of one condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xblcore.plots import charts, style
from xblcore.plots.style import Look, look, number
from xblcore.study import tables

COLOURS = (style.BLUE, style.ORANGE, style.VERMILLION, style.GREEN, style.PURPLE, style.SKY,
           style.BLACK, style.GREY)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What a field that is None stands for; see xblcore.study.runs.Condition.
NONE = {"annotated": "all", "margin": "receptive field"}


def value_label(value: Any, by: str) -> str:
    """Name a value of a condition.

    >>> value_label(25.0, "annotated"), value_label(None, "annotated"), value_label("boxes", "feedback")
    ('25', 'all', 'boxes')
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
    return value is None or (isinstance(value, float) and np.isnan(value))


def _looks(values: list[Any], by: str, labels: Mapping[Any, str]) -> dict[str, Look]:
    """Return a look for every value by its name: shades for numbers, colours for kinds."""
    names = [labels.get(value, value_label(value, by)) for value in values]
    if all(_missing(value) or isinstance(value, int | float) for value in values):
        shades = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(values)))
        colours = [to_hex(shade) for shade in shades]
    else:
        colours = [COLOURS[place % len(COLOURS)] for place in range(len(values))]
    return {
        name: Look(name, colours[place], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    }


def by_condition(
    fig: Figure,
    table: pd.DataFrame,
    *,
    by: str,
    heading: str | None = None,
    labels: Mapping[Any, str] | None = None,
    panels: tuple[tuple[str, str], ...] = charts.PANELS,
) -> Figure:
    """Show the methods under every value of one condition: one row per method.

    ERM and the oracle are lines if they have one value for all conditions, otherwise rows.

    Args:
        fig: an empty figure; its size is set.
        table: of :func:`xblcore.study.tables.summarise` with ``by=(by,)``, one task.
        by: column of the condition.
        heading: of the legend; None: the name of the column.
        labels: names of values; others are named by :func:`value_label`.
        panels: metric and split of each panel.
    """
    values = list(table.loc[~table["method"].isin(charts.BOUNDS), by].drop_duplicates())
    if all(_missing(value) or isinstance(value, int | float) for value in values):
        values.sort(key=lambda value: np.inf if _missing(value) else value)
    looks, names = _looks(values, by, labels or {}), labels or {}
    shown = table.assign(**{by: [names.get(v, value_label(v, by)) for v in table[by]]})
    rows = [
        str(name) for name, part in shown.groupby("method", sort=False)
        if name not in charts.BOUNDS or part[by].nunique() > 1
    ]  # fmt: skip
    step = min(0.2, 0.82 / len(values))
    fig.set_size_inches(2.2 + 3.9 * len(panels), 1.9 + len(rows) * max(0.36, 0.13 * len(values)))
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    entries: dict[str, Artist] = {}
    for ax, (metric, split) in zip(axes, panels, strict=True):
        means = tables.select(shown, metric, split=split)
        ax.set_xlim(*charts.limits(metric, means["mean"]))
        charts.frame(ax, [look(name).label for name in rows])
        drawn = []
        for row in means[means["method"].isin(rows)].to_dict("records"):
            if row[by] in looks:
                place = list(looks).index(row[by]) - (len(looks) - 1) / 2
                y = rows.index(row["method"]) + place * step
                drawn.append(charts.interval(ax, row, y, looks[row[by]], scale=0.72))
        lines = means[means["method"].isin(set(charts.BOUNDS) - set(rows))]
        found = [
            *charts.reference_lines(ax, dict(zip(lines["method"], lines["mean"], strict=True))),
            *charts.special_marks(drawn),
        ]
        entries |= {str(entry.get_label()): entry for entry in found}
        ax.set_xlabel(charts.heading(metric))
        ax.xaxis.set_major_locator(MaxNLocator(5))
    style.title(fig, _finding(shown, by, *panels[0]), style.about_table(table))
    series = [style.entry(entry) for entry in looks.values()]
    style.legend(fig, [*series, *entries.values()], heading=heading or by.replace("_", " "))
    return fig


def _finding(table: pd.DataFrame, by: str, metric: str, split: str) -> str:
    """State the methods whose worst condition is best and worst."""
    means = tables.select(table, metric, split=split)
    means = means[~means["method"].isin(charts.BOUNDS)].dropna(subset="mean")
    if means.empty:
        return f"{style.label(metric)} is undefined for every method"
    worst = means.loc[means.groupby("method", sort=False)["mean"].idxmin()].set_index("method")
    high, low = worst["mean"].idxmax(), worst["mean"].idxmin()
    texts = [
        f"{look(str(name)).label} {number(worst.loc[name, 'mean'])} ({worst.loc[name, by]})"
        for name in dict.fromkeys((high, low))
    ]
    return f"Lowest {style.label(metric).lower()} over the values of {by.replace('_', ' ')}: " + (
        ", ".join(texts)
    )
