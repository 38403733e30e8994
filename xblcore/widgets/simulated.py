"""Strokes as a quick person would draw them from the true masks, to measure what few are worth.

A region is gone over once along its length, by a hand that is a little off, with a brush about as
wide as the region. That is a model of a person, not a person: say so beside every number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from xblcore.widgets.strokes import (
    LEAST_RADIUS,
    MOST_RADIUS,
    Layer,
    Mask,
    Stroke,
    checked_layer,
    draw,
)

MOST_STOPS = 8  # points of a stroke: nobody follows an outline more closely in a second
SMALLEST = 4  # pixels of a region that a person would notice, or the largest one


def simulate(
    masks: Mask,
    layer: Layer,
    *,
    generator: np.random.Generator,
    count: int = 25,
    jitter: float = 0.2,
) -> dict[int, tuple[Stroke, ...]]:
    """Mark ``count`` images, drawn at random from those that have something to mark.

    Args:
        masks: bool ``(N, H, W)``, the truth.
        layer: what the masks show, ``wrong`` or ``object``.
        generator: of the choice and of the hand.
        count: how many images; fewer where not so many have a mask.
        jitter: standard deviation of the hand, in radii of the brush, and of the radius itself as
            a share of it; 0 is a steady hand.

    Returns:
        Strokes by position of the image.

    Raises:
        ValueError: masks of another kind, a negative jitter or count.

    >>> masks = np.zeros((3, 8, 8), bool)
    >>> masks[1, 2:6, 2:6] = True
    >>> list(simulate(masks, "wrong", generator=np.random.default_rng(0)))
    [1]
    """
    if masks.dtype != np.bool_ or masks.ndim != 3:
        raise ValueError(f"masks must be boolean (N, H, W), got {masks.dtype} of {masks.shape}")
    if count < 0 or not jitter >= 0:
        raise ValueError(f"count and jitter must be at least 0, got {count} and {jitter}")
    checked_layer(layer)
    there = np.flatnonzero(masks.any(axis=(1, 2)))
    chosen = np.sort(generator.permutation(there)[:count])
    return {
        int(n): strokes_over(masks[n], layer, generator=generator, jitter=jitter) for n in chosen
    }


def strokes_over(
    mask: Mask, layer: Layer, *, generator: np.random.Generator, jitter: float = 0.2
) -> tuple[Stroke, ...]:
    """One stroke over each region of a mask, regions of a few pixels left out.

    Args:
        mask: bool ``(H, W)``.
        layer: of the strokes.
        generator: of the hand.
        jitter: as in :func:`simulate`.

    Returns:
        The strokes; none for an empty mask.
    """
    regions, number = ndimage.label(mask, structure=np.ones((3, 3), int))
    sizes = np.bincount(regions.ravel(), minlength=number + 1)[1:]
    worth = [n + 1 for n in range(number) if sizes[n] >= min(SMALLEST, sizes.max())]
    return tuple(_over(regions == n, layer, generator, jitter) for n in worth)


def masks_of(
    strokes: Mapping[int, Iterable[Stroke]], shape: tuple[int, int, int], layer: Layer
) -> Mask:
    """Masks ``(N, H, W)`` that strokes on one layer come to; all False where there are none.

    >>> dot = Stroke("wrong", "brush", 1.0, ((0.5, 0.5),))
    >>> masks_of({1: [dot]}, (2, 1, 3), "wrong").astype(int)
    array([[[0, 0, 0]],
           [[1, 1, 0]]])
    """
    masks = np.zeros(shape, bool)
    for n, drawn in strokes.items():
        for stroke in drawn:
            if stroke.layer == layer:
                draw(masks[n], stroke)
    return masks


def _over(region: Mask, layer: Layer, generator: np.random.Generator, jitter: float) -> Stroke:
    """Along the longest direction of a region, through the middle of it."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    rows, columns = np.nonzero(region)
    centres = np.stack([columns + 0.5, rows + 0.5], 1)  # (P, 2), x and y
    radius = float(depth.max())
    line = _centre_line(centres, depth[rows, columns], radius)
    line = line + generator.normal(0.0, 1.0, line.shape) * jitter * radius
    radius *= 1 + jitter * float(generator.normal())
    height, width = region.shape
    points = np.clip(line, 0.0, (width, height))
    return Stroke(
        layer,
        "brush",
        min(max(radius, LEAST_RADIUS), MOST_RADIUS),
        tuple((float(x), float(y)) for x, y in points),
    )


def _centre_line(
    centres: npt.NDArray[np.float64], depth: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """Points ``(K, 2)`` along the main axis, each the middle of the deepest pixels of its stretch.

    The line stops a radius short of both ends, which the brush covers.
    """
    around = centres - centres.mean(0)
    axis = np.linalg.svd(around, full_matrices=False)[2][0]
    along = around @ axis
    low, high = along.min() + radius - 0.5, along.max() - radius + 0.5
    if high - low < radius:  # compact: a dot in the middle
        middle: npt.NDArray[np.float64] = centres[depth >= depth.max() - 1e-9].mean(0)
        return middle[None]
    stops = np.linspace(low, high, min(MOST_STOPS, 2 + int((high - low) / radius)))
    stretch = np.abs(along[:, None] - stops).argmin(1)  # nearest stop of each pixel
    line = []
    for stop in range(len(stops)):
        here = stretch == stop
        if here.any():
            deepest = here & (depth >= depth[here].max() - 1e-9)
            line.append(centres[deepest].mean(0))
    return np.stack(line)
