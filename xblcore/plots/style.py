"""The look of all figures: settings, colours and markers, titles, and writing to files.

The colours are those of Okabe and Ito (2008), which readers with a colour vision deficiency can
tell apart; methods that share a colour have different markers.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke

from xblcore import project
from xblcore.methods import METHODS
from xblcore.metrics import METRICS
from xblcore.study.tables import POOLED, about, label

BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#7f7f7f", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
COLOURS = {"blue": BLUE, "orange": ORANGE, "vermillion": VERMILLION, "green": GREEN,
           "purple": PURPLE, "sky": SKY, "black": BLACK, "grey": GREY}  # fmt: skip
REFERENCE = "#555555"  # of reference lines
BAND = "#f5f5f5"  # behind every other row
SMALL = 8.5  # points

RC: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.05,
    "axes.titlesize": 10.5,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "figure.titlesize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
}


@dataclass(frozen=True)
class Look:
    """Label, colour, marker and marker size (points) of a series."""

    label: str
    colour: str
    marker: Any = "o"  # of matplotlib

    @property
    def size(self) -> float:
        """Marker size in points that makes all markers look equally large."""
        sizes = {"*": 11.0, "D": 6.0, "P": 8.0, "X": 8.0}
        return sizes.get(self.marker, 9.0 if isinstance(self.marker, tuple) else 7.0)


def look(method: str) -> Look:
    """Return the look of a method, from the registry; others are grey.

    >>> look("xbl_d_plus").colour == BLUE, look("my_loss")
    (True, Look(label='my_loss', colour='#7f7f7f', marker='o'))
    """
    if method not in METHODS:
        return Look(method, GREY)
    entry = METHODS[method]
    return Look(entry.label, COLOURS.get(entry.colour, entry.colour), entry.marker)


def number(value: float, decimals: int = 2) -> str:
    """Format a number with a proper minus sign.

    >>> number(-0.456), number(-0.001), number(float("nan"))
    ('−0.46', '0.00', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    return f"{value:z.{decimals}f}".replace("-", "−")


def percent(value: float) -> str:
    """Format a share, with a decimal if it is small.

    >>> percent(0.4019), percent(0.0066), percent(float("nan"))
    ('40%', '0.7%', 'undefined')
    """
    if pd.isna(value):
        return "undefined"
    return f"{value:.{int(0 < value < 0.0995)}%}".replace("-", "−")


def about_table(table: pd.DataFrame) -> str:
    """Name the task of a table with the columns ``task`` and ``data``; several are "All tasks"."""
    names = table["task"].unique()
    return about(names[0] if len(names) == 1 else POOLED, table["data"].unique())


def title(fig: Figure, finding: str, context: str) -> None:
    """Set the title of a figure: the finding, wrapped to its width, then what it is about."""
    fits = int(11 * fig.get_figwidth())  # characters of the title font
    parts = [
        textwrap.fill(text, min(fits, len(text) // -(-len(text) // fits) + 10),
                      break_on_hyphens=False) for text in (finding, context)
    ]  # fmt: skip
    fig.suptitle("\n".join(parts))  # lines of similar length


def extremes(values: pd.Series[float]) -> str:
    """State the highest and the lowest value, indexed by method or metric.

    >>> extremes(pd.Series({"rrr": 0.5, "erm": 0.1, "hint": float("nan"), "wrong_reason": -1}))
    '0.50 for RRR, −1.00 for wrong reason'
    """
    known = values.dropna()
    if known.empty:
        return "undefined"
    ends = dict.fromkeys((known.idxmax(), known.idxmin()))
    names = {name: label(str(name)) for name in ends}
    lower = {name: text.lower() for name, text in names.items()
             if name in METRICS and text[1:].islower()}  # not IoU  # fmt: skip
    return ", ".join(f"{number(known[name])} for {text}" for name, text in (names | lower).items())


def panels(
    fig: Figure, count: int, *, columns: int, size: tuple[float, float],
    around: tuple[float, float], xlabel: str = "", ylabel: str = "",
) -> list[Axes]:  # fmt: skip
    """Return ``count`` axes with a common y axis, in rows of similar length.

    There are at most ``columns`` per row; ``size`` is that of one panel and ``around`` the space
    for texts, both in inches (width, height).
    """
    rows = -(-count // columns)
    columns = -(-count // rows)
    width, height = around[0] + size[0] * columns, around[1] + size[1] * rows
    fig.set_size_inches(max(6.5, width), height)  # at least 6.5, for the title
    grid = fig.subplots(rows, columns, sharey=True, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    for ax in axes[max(0, count - columns) : count]:
        ax.set_xlabel(xlabel)
    for ax in grid[:, 0]:
        ax.set_ylabel(ylabel)
    return axes[:count]


def entry(series: Look, *, line: bool = False) -> Line2D:
    """Return the legend entry of a series."""
    return Line2D([], [], ls="-" if line else "", lw=1.6, marker=series.marker, ms=series.size,
                  color=series.colour, mec="white", mew=0.6, label=series.label)  # fmt: skip


def legend(fig: Figure, handles: Sequence[Artist], *, heading: str | None = None) -> None:
    """Put a legend below a figure, in as many columns as fit its width."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    fits = max(1, int(fig.get_figwidth() / (0.075 * longest + 0.55)))
    rows = -(-len(handles) // fits)
    fig.legend(handles=handles, ncols=-(-len(handles) // rows), loc="outside lower center",
               title=heading)  # fmt: skip


def rim(width: float, colour: str = BLACK) -> list[AbstractPathEffect]:
    """Edge on both sides of a line, so that it stands out on any background."""
    return [withStroke(linewidth=width + 1.2, foreground=colour)]


def save(fig: Figure, folder: str | Path, name: str) -> Path:
    """Write ``<folder>/<name>.png`` atomically; the same figure gives the same bytes."""
    path = Path(folder) / f"{name}.png"
    with mpl.rc_context(RC), project.write_atomic(path) as temporary:
        fig.savefig(temporary, metadata={"Software": None})
    return path


def use() -> None:
    """Set matplotlib to this look, once at the top of a notebook."""
    mpl.rcdefaults()  # nothing of a matplotlibrc, which is read from the current folder first
    mpl.rcParams.update(RC)
