"""Measure a drawn figure: which texts overlap or are cut off, and what the legend explains."""

from __future__ import annotations

import itertools

from matplotlib import colors
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCH = 1.0  # pixels by which boxes may overlap: they include the space around the letters


def texts(fig: Figure) -> dict[str, Bbox]:
    """Draw a figure and return the boxes of its visible texts."""
    fig.canvas.draw()
    ticks = [(axis, tick) for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)
             for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())]  # fmt: skip
    hidden = set()
    for axis, tick in ticks:  # matplotlib keeps ticks beyond the ends of an axis
        low, high = sorted(axis.get_view_interval())
        if not (axis.axes.axison and low - 1e-9 <= tick.get_loc() <= high + 1e-9):
            hidden.add(id(tick.label1))
    return {
        f"{number} {text.get_text()}": text.get_window_extent()
        for number, text in enumerate(fig.findobj(Text))
        if text.get_text().strip() and text.get_visible() and id(text) not in hidden
    }


def overlapping(boxes: dict[str, Bbox]) -> list[tuple[str, str]]:
    """Return the pairs of texts whose boxes overlap."""
    smaller = {name: box.padded(-TOUCH) for name, box in boxes.items()}
    return [pair for pair in itertools.combinations(boxes, 2)
            if smaller[pair[0]].overlaps(smaller[pair[1]])]  # fmt: skip


def cut_off(fig: Figure, boxes: dict[str, Bbox]) -> list[str]:
    """Return the texts that are not within the figure."""
    whole = fig.bbox.padded(2)
    return [name for name, box in boxes.items()
            if not (whole.contains(*box.min) and whole.contains(*box.max))]  # fmt: skip


def title(fig: Figure) -> str:
    """Return the title of a figure, on one line."""
    return fig.get_suptitle().replace("\n", " ")


def legend_labels(fig: Figure) -> list[str]:
    """Return the labels of all legends of a figure."""
    legends = [*fig.legends, *(ax.get_legend() for ax in fig.axes if ax.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def unexplained(fig: Figure) -> set[str]:
    """Return the colours of lines and dots in the axes that no legend entry has."""
    handles = [handle for legend in fig.legends for handle in legend.get_lines()]
    known = {colors.to_hex(handle.get_color()) for handle in handles}
    used = set()
    for ax in fig.axes:
        used |= {colors.to_hex(line.get_color()) for line in ax.lines}
        for dots in ax.collections:
            if isinstance(dots, PathCollection):
                used |= {colors.to_hex(colour) for colour in dots.get_facecolors()}
    return used - known


def alike_without_colour(fig: Figure) -> list[tuple[str, str]]:
    """Return the pairs of legend entries that look the same if printed in grey."""
    handles = [handle for legend in fig.legends for handle in legend.legend_handles]
    looks = {str(handle.get_label()): _look(handle) for handle in handles}
    return [(a, b) for a, b in itertools.combinations(looks, 2)
            if looks[a][1:] == looks[b][1:] and abs(looks[a][0] - looks[b][0]) < 0.15]  # fmt: skip


def _look(handle: Artist) -> tuple[float, str]:
    """Lightness from 0 to 1, and everything else that tells a legend entry from others."""
    if isinstance(handle, Patch):
        red, green, blue = colors.to_rgb(handle.get_facecolor())
        return 0.299 * red + 0.587 * green + 0.114 * blue, "patch"
    assert isinstance(handle, Line2D)
    dashes = handle._dash_pattern  # of the style as given; get_linestyle has names only
    size = handle.get_markersize() if handle.get_marker() == "o" else 0
    return 0.0, f"{handle.get_marker()} {size} {dashes} {handle.get_linewidth()}"


def beyond_without_arrow(fig: Figure) -> list[str]:
    """Return the intervals that exceed their axis without an arrow."""
    found = []
    for ax in fig.axes:
        left, right = ax.get_xlim()
        arrows = {(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines
                  if line.get_marker() in ("<", ">")}  # fmt: skip
        for line in ax.lines:
            if line.get_marker() != "|":
                continue
            (low, high), y = line.get_xdata(), line.get_ydata()[0]
            if (low < left and (left, y) not in arrows) or (
                high > right and (right, y) not in arrows
            ):
                found.append(f"{ax.get_xlabel()}: {low} to {high} at {y}")
    return found


def arrows(ax: Axes) -> int:
    """Count the arrows at the ends of the x axis."""
    return sum(line.get_marker() in ("<", ">") and len(line.get_xdata()) == 1
               and line.get_xdata()[0] in ax.get_xlim() for line in ax.lines)  # fmt: skip
