"""Dots with intervals, a method a row: the parts that the figures of the experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from xblcore.plots import style
from xblcore.results import BOUNDS

WIDTH = 10.0  # inches, of every figure
RECOVERY = "recovery: 0 as ERM, 1 as the oracle"
VIEW = (-1.0, 2.0)  # of a recovery; where there is little to recover it may be anything
LINE = "#555555"
BAND = "#f5f5f5"


class Look(NamedTuple):
    """How a condition appears."""

    name: str
    colour: str
    marker: style.Marker = "o"
    size: float = 6.0
    hollow: bool = False


def of_method(name: str, *, hollow: bool = False) -> Look:
    """A method's own look, small enough to leave its interval to be seen."""
    look = style.method(name)
    return Look(look.label, look.colour, look.marker, 0.8 * look.size, hollow)


COLOURS = (
    (style.BLUE, "o"), (style.ORANGE, "s"), (style.VERMILLION, "^"), (style.GREEN, "D"),
    (style.PURPLE, "v"), (style.BLACK, "P"),
)  # fmt: skip


def looks(names: Mapping[Any, str]) -> dict[Any, Look]:
    """A look for each of a few conditions, by their value."""
    return {
        value: Look(name, *COLOURS[n % len(COLOURS)])
        for n, (value, name) in enumerate(names.items())
    }


def methods_of(table: pd.DataFrame, *, bounds: bool = False) -> list[str]:
    """Methods in the order of the table; floor and ceiling only if asked for."""
    names = list(dict.fromkeys(table["method"]))
    return [name for name in names if bounds or name not in BOUNDS]


def size(fig: Figure, rows: int, *, each: float = 0.34, width: float = WIDTH) -> None:
    """Make a figure as high as its rows need, with its titles and key."""
    fig.set_size_inches(width, max(3.6, 1.9 + each * rows))


def frame(ax: Axes, names: Sequence[str], *, ticks: int = 5) -> None:
    """Rows with their names, from the top, every other one shaded; at most ``ticks`` steps in x."""
    ax.set_yticks(range(len(names)), [style.label(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(ticks))
    for row in range(1, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=BAND, lw=0, zorder=0)


def dot(
    ax: Axes, row: Mapping[Any, Any], y: float, look: Look, *, view: tuple[float, float] | None
) -> None:
    """Mean and interval of one row of a table; a word where it is undefined or out of view."""
    mean, low, high = float(row["mean"]), float(row["ci_low"]), float(row["ci_high"])
    if mean != mean:
        ax.text(0.02, y, "undefined", transform=ax.get_yaxis_transform(), va="center", size=7,
                color=look.colour)  # fmt: skip
        return
    if beyond := _beyond(mean, view):
        x, align, text = beyond
        ax.text(x, y, text, transform=ax.get_yaxis_transform(), va="center", ha=align, size=7,
                color=look.colour)  # fmt: skip
        return
    ax.plot([low, high], [y, y], "|-", color=look.colour, lw=1.5, ms=look.size + 1, mew=1.3)
    face = "white" if look.hollow else look.colour
    edge = look.colour if look.hollow else "white"
    ax.plot(mean, y, ls="", marker=look.marker, ms=look.size, mfc=face, mec=edge,
            mew=1.4 if look.hollow else 0.6, color=look.colour)  # fmt: skip


def _beyond(x: float, view: tuple[float, float] | None) -> tuple[float, Any, str] | None:
    """Place along the axis, alignment and text of a number that is out of view."""
    if view is None or view[0] <= x <= view[1]:
        return None
    text = f"{x:.1f}".replace("-", "−")
    return (0.02, "left", f"◂ {text}") if x < view[0] else (0.98, "right", f"{text} ▸")


def series(
    ax: Axes,
    table: pd.DataFrame,
    names: Sequence[str],
    by: str,
    conditions: Mapping[Any, Look],
    *,
    view: tuple[float, float] | None = None,
) -> Axes:
    """One metric under several conditions, side by side in the row of each method.

    Args:
        ax: where.
        table: estimates of one metric, one for each method and condition; others are left out.
        names: of the methods, from the top.
        by: column of the conditions.
        conditions: their values, from the top of a row.
        view: means beyond are written at the edge; None: all are drawn.
    """
    frame(ax, names)
    step = min(0.26, 0.78 / max(1, len(conditions)))
    middle = (len(conditions) - 1) / 2
    places = {value: n for n, value in enumerate(conditions)}
    shown = table[table["method"].isin(names) & table[by].isin(list(conditions))]
    for row in shown.to_dict("records"):
        y = names.index(row["method"]) + (places[row[by]] - middle) * step
        dot(ax, row, y, conditions[row[by]], view=view)
    return ax


def between_bounds(axes: Sequence[Axes], *, named: bool = True) -> None:
    """Lines where ERM and the oracle are, for recoveries; call it once all panels are drawn.

    The axis holds both lines, and ends at :data:`VIEW` at the latest.
    """
    for ax in axes:
        low, high = ax.get_xlim()
        ax.set_xlim(max(min(low, -0.1), VIEW[0]), min(max(high, 1.1), VIEW[1]))
        ax.xaxis.set_major_locator(MultipleLocator(1.0))
        ax.xaxis.set_minor_locator(MultipleLocator(0.5))
        for x, text in ((0, "ERM"), (1, "oracle")):
            ax.axvline(x, color=LINE, lw=1, ls=(0, (4, 3)), zorder=0.6)
            if named:
                ax.annotate(
                    text, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 1), ha="center",
                    textcoords="offset points", size=8, color=LINE,
                )  # fmt: skip


def handles(conditions: Sequence[Look]) -> list[Line2D]:
    """Entries of a key, one a condition."""
    return [
        Line2D([], [], ls="-", lw=1.6, marker=look.marker, ms=look.size, color=look.colour,
               mfc="white" if look.hollow else look.colour, label=look.name)
        for look in conditions
    ]  # fmt: skip


def key(fig: Figure, conditions: Sequence[Look], *, title: str = "") -> None:
    """One entry a condition, below the figure."""
    fig.legend(handles=handles(conditions), loc="outside lower center", ncols=len(conditions),
               title=title or None)  # fmt: skip


def below(axes: Sequence[Axes], columns: int, text: str) -> None:
    """Label the x axes that have nothing below them; a figure's own label would lie on its key."""
    for ax in axes[-columns:]:
        ax.set_xlabel(text)


def head(fig: Figure, what: str, table: pd.DataFrame, profile: str) -> Figure:
    """Title that says what, of which profile, task and data."""
    fig.suptitle(style.title_of(f"{what}, profile {profile}", table))
    return fig
