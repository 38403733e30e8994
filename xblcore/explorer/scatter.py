"""A metric against clean accuracy in a notebook: one dot a run, to be clicked or reached by keys.

One stop of the Tab key: left and right go from dot to dot along the metric, up and down along the
accuracy, Home and End to the outermost; Enter or Space chooses the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator

from xblcore.explorer.dots import Dot
from xblcore.informativeness import METRICS
from xblcore.plots import style

HERE = Path(__file__).parent
COMMANDS = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}


class Scatter(anywidget.AnyWidget):
    """The figure.

    Attributes:
        plot: what is drawn, of plain JSON types, from :func:`plot_of`.
        chosen: number of the chosen dot, -1 for none.
    """

    _esm = HERE / "scatter.js"
    _css = HERE / "explorer.css"

    plot = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)


def plot_of(
    dots: Sequence[Dot], *, metric: str, explainer: str, title: str, told: str
) -> dict[str, Any]:
    """What the front end draws; better is to the right, as in the figure of claim C3.

    Args:
        dots: one a run.
        metric: along x.
        explainer: that measured it.
        title: of the figure.
        told: one line on how the metric ranks the runs.
    """
    higher = METRICS[metric][1]
    by = "" if METRICS[metric][0] == "behaviour" else f" by {style.label(explainer)}"
    better = "higher is better" if higher else "axis reversed: lower is better"
    methods = list(dict.fromkeys(dot.run.method for dot in dots))
    return {
        "title": title,
        "told": told,
        "x": _axis([dot.x for dot in dots], f"{style.label(metric)}{by} ({better})", not higher),
        "y": _axis([dot.y for dot in dots], "Accuracy on clean test images", False),
        "methods": [_look(name) for name in methods],
        "dots": [
            {
                "x": dot.x,
                "y": dot.y,
                "method": methods.index(dot.run.method),
                "filled": dot.run.chosen,
                "label": f"{dot.run.name}: {style.label(metric).lower()} {dot.x:.3f}, "
                f"clean accuracy {dot.y:.3f}",
            }
            for dot in dots
        ],
    }


def _axis(values: Sequence[float], name: str, reverse: bool) -> dict[str, Any]:
    """Label, ends and ticks of an axis that has room for all the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(0.04 * (high - low), 0.005)
    low, high = low - room, high + room
    ticks = MaxNLocator(5).tick_values(low, high)
    inside = [float(tick) for tick in ticks if low <= tick <= high]
    digits = next((d for d in range(4) if np.allclose(np.round(inside, d), inside, atol=1e-9)), 4)
    return {
        "label": name,
        "ends": [high, low] if reverse else [low, high],
        "ticks": [{"at": tick, "text": f"{tick:.{digits}f}"} for tick in inside],
    }


def _look(method: str) -> dict[str, str]:
    """Name, colour and marker of a method, as in all figures."""
    look = style.method(method)
    return {"name": look.label, "colour": look.colour, "path": marker_path(look.marker)}


def marker_path(marker: style.Marker) -> str:
    """A marker of matplotlib as the path of an SVG, in a square from -1 to 1, y down.

    >>> marker_path("^")
    'M0.00,-1.00 L-1.00,1.00 L1.00,1.00 Z'
    """
    shape = MarkerStyle(marker)
    outline = shape.get_path().transformed(shape.get_transform())
    size = float(np.abs(outline.vertices).max())
    parts = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        if code == Outline.CLOSEPOLY:
            parts.append("Z")
            continue
        numbers = np.asarray(points).reshape(-1, 2) / size * [1, -1]
        pairs = " ".join(f"{x:.2f},{y:.2f}" for x, y in numbers + 0.0)
        parts.append(f"{COMMANDS[code]}{pairs}")
    return " ".join(parts)
