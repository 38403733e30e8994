"""Strokes of a round brush: what is allowed in one, and which pixels it covers.

Coordinates are in image pixels, x to the right and y down; pixel ``(row, column)`` has its centre
at ``x = column + 0.5, y = row + 0.5``.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Layer = Literal["wrong", "object"]
Tool = Literal["brush", "eraser"]
Point = tuple[float, float]

LAYERS: tuple[Layer, ...] = get_args(Layer)
TOOLS: tuple[Tool, ...] = get_args(Tool)
# A brush of radius 1 reaches a pixel's centre from wherever it is put down.
LEAST_RADIUS, MOST_RADIUS = 1.0, 512.0
# A bound, since the work grows with them: a line drawn for a minute has some 4,000.
MOST_POINTS = 10_000
SLACK = 1e-9  # of a squared distance, for what rounding takes from a pixel on the very rim


@dataclass(frozen=True)
class Stroke:
    """One line of the brush or the eraser, from pressing to letting go; a dot has one point.

    Attributes:
        layer: ``wrong`` or ``object``.
        tool: ``brush`` adds to the layer, ``eraser`` removes from it.
        radius: in image pixels, in [1, 512].
        points: ``(x, y)`` in image pixels, 1 to 10,000 of them.

    Raises:
        ValueError: a field outside its range.

    >>> Stroke("wrong", "brush", 2.0, ((2.5, 2.5),)).points
    ((2.5, 2.5),)
    """

    layer: Layer
    tool: Tool
    radius: float
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        checked_layer(self.layer)
        if self.tool not in TOOLS:
            raise ValueError(f"tool must be one of {', '.join(TOOLS)}, got {shown(self.tool)}")
        if not _number(self.radius) or not LEAST_RADIUS <= self.radius <= MOST_RADIUS:
            raise ValueError(
                f"radius must be a number in [{LEAST_RADIUS:g}, {MOST_RADIUS:g}], "
                f"got {shown(self.radius)}"
            )
        if not 1 <= len(self.points) <= MOST_POINTS:
            raise ValueError(
                f"points must be 1 to {MOST_POINTS}, got {len(self.points)}; "
                "let go of the brush now and then"
            )
        for point in self.points:
            if len(point) != 2 or not all(map(_number, point)):
                raise ValueError(f"points must be pairs of finite numbers, got {shown(point)}")


def draw(mask: Mask, stroke: Stroke) -> None:
    """Put a stroke on a mask, in place: the pixels whose centres are within the radius of its line.

    Args:
        mask: bool ``(H, W)``; pixels of the stroke become True for a brush, False for an eraser.
        stroke: parts of it outside the mask are cut off.

    >>> mask = np.zeros((2, 5), bool)
    >>> draw(mask, Stroke("wrong", "brush", 1.0, ((1.5, 0.5), (3.5, 0.5))))
    >>> mask.astype(int)
    array([[1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0]])
    """
    points = np.array(stroke.points, float)
    starts, ends = (points, points) if len(points) == 1 else (points[:-1], points[1:])
    height, width = mask.shape
    reach = stroke.radius + 1
    for (x, y), (end_x, end_y) in zip(starts, ends, strict=True):
        left, right = _pixels(min(x, end_x) - reach, max(x, end_x) + reach, width)
        top, bottom = _pixels(min(y, end_y) - reach, max(y, end_y) + reach, height)
        across = np.arange(left, right)[None, :] + 0.5 - x
        down = np.arange(top, bottom)[:, None] + 0.5 - y
        along_x, along_y = end_x - x, end_y - y
        length = along_x**2 + along_y**2
        # How far along the segment its nearest point to each pixel lies, from 0 to 1.
        part = (across * along_x + down * along_y) / length if length else across * 0.0
        part = np.clip(part, 0.0, 1.0)
        squared = (across - part * along_x) ** 2 + (down - part * along_y) ** 2
        mask[top:bottom, left:right][squared <= stroke.radius**2 + SLACK] = stroke.tool == "brush"


def stroke_from(message: object) -> Stroke:
    """A stroke as the browser or a journal has it, with nothing in it trusted.

    Args:
        message: a mapping with ``layer``, ``tool``, ``radius`` and ``points``, a list of pairs.

    Raises:
        ValueError: a field that is missing, of the wrong type or outside its range.

    >>> stroke_from({"layer": "object", "tool": "brush", "radius": 3, "points": [[1, 2]]}).radius
    3.0
    >>> stroke_from({"layer": "sky", "tool": "brush", "radius": 3, "points": [[1, 2]]})
    Traceback (most recent call last):
    ValueError: layer must be one of wrong, object, got 'sky'
    """
    if not isinstance(message, Mapping):
        raise ValueError(f"stroke must be a mapping, got {type(message).__name__}")
    missing = [key for key in ("layer", "tool", "radius", "points") if key not in message]
    if missing:
        raise ValueError(f"stroke must have the field {missing[0]!r}, got none")
    points, radius = message["points"], message["radius"]
    if not isinstance(points, list) or len(points) > MOST_POINTS:
        got = f"{len(points)} of them" if isinstance(points, list) else shown(points)
        raise ValueError(f"points must be a list of 1 to {MOST_POINTS}, got {got}")
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2 or not all(map(_number, point)):
            raise ValueError(f"points must be pairs of finite numbers, got {shown(point)}")
    if not _number(radius):
        raise ValueError(f"radius must be a finite number, got {shown(radius)}")
    pairs = tuple((float(x), float(y)) for x, y in points)
    return Stroke(message["layer"], message["tool"], float(radius), pairs)


def message_of(stroke: Stroke) -> dict[str, object]:
    """The stroke as :func:`stroke_from` reads it, of plain JSON types."""
    points = [list(point) for point in stroke.points]
    return {
        "layer": stroke.layer, "tool": stroke.tool, "radius": stroke.radius, "points": points
    }  # fmt: skip


def checked_layer(layer: object) -> Layer:
    """``layer`` if there is one of that name.

    Raises:
        ValueError: there is none.
    """
    for known in LAYERS:
        if layer == known:
            return known
    raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {shown(layer)}")


def shown(value: object) -> str:
    """A value from elsewhere, cut short for a message."""
    return reprlib.repr(value)


def _number(value: object) -> bool:
    """Whether it is a finite number that a float can hold."""
    if type(value) is int:
        return abs(value) < 2**53
    return isinstance(value, float) and math.isfinite(value)


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    return max(0, math.floor(low)), max(0, min(side, math.ceil(high)))
