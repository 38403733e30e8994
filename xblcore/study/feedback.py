"""Annotations of varying quality, derived from the true masks.

The kinds follow the feedback types of Friedrich et al. 2023, "A typology for exploring the
mitigation of shortcut behaviour", extended by outlines that are too wide, misplaced, or boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from xblcore.distance import Mask

KINDS = ("correct", "object_only", "decoy_only", "incomplete", "dilated", "jittered", "boxes",
         "random", "adversarial")  # fmt: skip
EXACT = KINDS[:3]  # the true masks, or one of them

# Error of imprecise outlines, as a fraction of the side of the image: 2 of 28 pixels.
SLOPPINESS = 1 / 14


class Marks(NamedTuple):
    """Annotated regions, bool ``(N, H, W)``: the object, and the wrong region."""

    object_mask: Mask
    decoy_mask: Mask


def mark(kind: str, object_mask: Mask, decoy_mask: Mask, generator: np.random.Generator) -> Marks:
    """Annotate images, masks bool ``(N, H, W)``, with a given quality; all False stays all False.

    ``correct``: the true masks. ``object_only``, ``decoy_only``: one of them. ``incomplete``: half
    of each, on one side of a line in a random direction. ``dilated``: widened by
    :data:`SLOPPINESS`. ``jittered``: shifted by at most that in each direction. ``boxes``: bounding
    boxes. ``random``: shifted cyclically to a random place. ``adversarial``: the object is marked
    as wrong, and everything else as right.

    >>> dot = np.zeros((1, 3, 3), bool)
    >>> dot[0, 1, 1] = True
    >>> mark("adversarial", dot, ~dot, np.random.default_rng(0)).decoy_mask.sum()
    np.int64(1)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    for name, mask in (("object_mask", object_mask), ("decoy_mask", decoy_mask)):
        if mask.dtype != np.bool_ or mask.ndim != 3 or mask.shape != object_mask.shape:
            raise ValueError(f"{name} must be bool (N, H, W), got {mask.dtype} {mask.shape}")
    if kind == "adversarial":
        marked = object_mask.any((1, 2), keepdims=True)
        return Marks(marked & ~object_mask, object_mask.copy())
    if kind == "object_only":
        return Marks(object_mask.copy(), np.zeros_like(decoy_mask))
    if kind == "decoy_only":
        return Marks(np.zeros_like(object_mask), decoy_mask.copy())
    change = _CHANGES[kind]
    return Marks(change(object_mask, generator), change(decoy_mask, generator))


def only_some(marked: Marks, count: int, generator: np.random.Generator) -> Marks:
    """Keep the masks of ``count`` random images; the others become all False.

    For the same generator state, a larger count includes the images of a smaller one.
    """
    total = len(marked.object_mask)
    if not 1 <= count <= total:
        raise ValueError(f"annotated must be in [1, {total}], the training images, got {count}")
    kept = np.zeros((total, 1, 1), bool)
    kept[generator.permutation(total)[:count]] = True
    return Marks(marked.object_mask & kept, marked.decoy_mask & kept)


def _same(mask: Mask, _generator: np.random.Generator) -> Mask:
    return mask.copy()


def _half(mask: Mask, generator: np.random.Generator) -> Mask:
    kept = np.zeros_like(mask)
    angles = generator.uniform(0, 2 * np.pi, len(mask))
    for one, out, angle in zip(mask, kept, angles, strict=True):
        rows, columns = np.nonzero(one)
        order = np.argsort(rows * np.sin(angle) + columns * np.cos(angle), kind="stable")
        half = order[: -(-len(order) // 2)]
        out[rows[half], columns[half]] = True
    return kept


def _wider(mask: Mask, _generator: np.random.Generator) -> Mask:
    radius = _margin(mask)
    reach = np.arange(-radius, radius + 1)
    disk = np.hypot(reach[:, None], reach) <= radius
    wide: Mask = ndimage.binary_dilation(mask, disk[None])
    return wide


def _shifted(mask: Mask, generator: np.random.Generator) -> Mask:
    margin = _margin(mask)
    height, width = mask.shape[1:]
    padded = np.pad(mask, ((0, 0), (margin, margin), (margin, margin)))
    moved = np.empty_like(mask)
    starts = generator.integers(0, 2 * margin + 1, (len(mask), 2))
    for one, out, (row, column) in zip(padded, moved, starts, strict=True):
        out[:] = one[row : row + height, column : column + width]
    return moved


def _boxes(mask: Mask, _generator: np.random.Generator) -> Mask:
    rows, columns = np.any(mask, axis=2), np.any(mask, axis=1)  # (N, H), (N, W)
    return _between(rows)[:, :, None] & _between(columns)[:, None, :]  # (N, H, W)


def _between(line: Mask) -> Mask:
    """Fill each row of ``(N, L)`` between its first and its last True."""
    begun, to_come = np.maximum.accumulate(line, 1), np.maximum.accumulate(line[:, ::-1], 1)
    between: Mask = begun & to_come[:, ::-1]
    return between


def _anywhere(mask: Mask, generator: np.random.Generator) -> Mask:
    moved = np.empty_like(mask)
    shifts = generator.integers(0, mask.shape[1:], (len(mask), 2))
    for one, out, shift in zip(mask, moved, shifts, strict=True):
        out[:] = np.roll(one, tuple(shift), (0, 1))
    return moved


def _margin(mask: Mask) -> int:
    side: int = min(mask.shape[1:])
    return max(1, round(side * SLOPPINESS))


_CHANGES: dict[str, Callable[[Mask, np.random.Generator], Mask]] = {
    "correct": _same, "incomplete": _half, "dilated": _wider, "jittered": _shifted,
    "boxes": _boxes, "random": _anywhere,
}  # fmt: skip
