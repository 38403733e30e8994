"""Masks brought to the CAM's grid, and exact distances to the object on it. NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

# Squared distances reach 2 * (h + w)^2 below. Up to this sum they fit 16 bits, which is also where
# SciPy, called once per mask, takes over in speed.
SMALL = 127
CHUNK = 2**18  # cells worked on at a time: about a megabyte of buffers, so they stay in the cache


def to_grid(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask on a coarser or finer grid: a cell is set if any pixel that it touches is.

    Cell ``i`` of ``h`` covers the rows ``floor(i H / h)`` to ``ceil((i + 1) H / h)``, columns
    likewise (the cells of adaptive pooling). Where ``H / h`` is no integer, neighbouring cells
    share a row of pixels; no pixel is lost.

    Args:
        mask: bool ``(N, H, W)``.
        size: ``(h, w)``, each at least 1.

    Returns:
        bool ``(N, h, w)``.

    Raises:
        ValueError: not boolean, not three axes, an image or a grid without cells.

    >>> to_grid(np.array([[[False, False, True, False]]]), (1, 2))
    array([[[False,  True]]])
    """
    _check(mask)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (h, w), each at least 1, got {size!r}")
    for axis, cells in enumerate(size, start=1):
        mask = _any_in_cell(mask, axis, cells)
    return mask


def _any_in_cell(mask: NDArray[np.bool_], axis: int, cells: int) -> NDArray[np.bool_]:
    pixels = mask.shape[axis]
    cell = np.arange(cells)
    first = cell * pixels // cells
    last = -(-(cell + 1) * pixels // cells) - 1  # inclusive
    covered: NDArray[np.bool_] = mask.take(first, axis)
    for offset in range(1, int((last - first).max()) + 1):  # the pixels of a cell, for all at once
        covered |= mask.take(np.minimum(first + offset, last), axis)
    return covered


def distance_map(mask: NDArray[np.bool_], *, normalise: bool = True) -> NDArray[np.float32]:
    """Euclidean distance from each cell to the nearest object cell, by centres; 0 on the object.

    ``D(u, v) = min over object cells (i, j) of sqrt((u - i)^2 + (v - j)^2)``, exact, divided by
    ``sqrt(h^2 + w^2)``, the diagonal of the whole grid. So the same displacement in the picture has
    the same distance at every grid size, the values stay below 1, and a grid of one cell works.
    Source: the exact transform in two separable passes, Saito and Toriwaki 1994.

    Args:
        mask: bool ``(N, h, w)``, True on the object, see :func:`to_grid`.
        normalise: divide by the diagonal; False gives distances in cells.

    Returns:
        float32 ``(N, h, w)``. An image without an object has no distance: its map is all NaN.

    Raises:
        ValueError: not boolean, not three axes, or an image without cells.

    >>> distance_map(np.array([[[True, False, False, False]]]), normalise=False)
    array([[[0., 1., 2., 3.]]], dtype=float32)
    >>> distance_map(np.array([[[False]]]))
    array([[[nan]]], dtype=float32)
    """
    _check(mask)
    _, height, width = mask.shape
    distance = np.empty(mask.shape, np.float32)
    if height + width <= SMALL:
        step = max(1, CHUNK // (height * width))
        for start in range(0, len(mask), step):
            distance[start : start + step] = _small_edt(mask[start : start + step])
    else:
        for one, out in zip(mask, distance, strict=True):
            out[:] = distance_transform_edt(~one)
    if normalise:
        distance /= np.float32(np.hypot(height, width))
    distance[~mask.any(axis=(1, 2))] = np.nan
    return distance


def _small_edt(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """All masks at once: distances within each column, then the best column for each cell."""
    _, height, width = mask.shape
    far = np.int16(height + width)  # beyond every distance there is
    # Images last, so that each step below runs over long contiguous rows.
    column = np.where(mask.transpose(2, 1, 0), np.int16(0), far)  # (w, h, N)
    column = np.ascontiguousarray(column)
    for row in range(1, height):
        np.minimum(column[:, row], column[:, row - 1] + np.int16(1), out=column[:, row])
    for row in range(height - 2, -1, -1):
        np.minimum(column[:, row], column[:, row + 1] + np.int16(1), out=column[:, row])
    squared = column * column
    best = squared.copy()
    for shift in range(1, width):
        squared += np.int16(2 * shift - 1)  # now the columns' squared distances plus shift^2
        np.minimum(best[shift:], squared[:-shift], out=best[shift:])
        np.minimum(best[:-shift], squared[shift:], out=best[:-shift])
    distance: NDArray[np.float32] = np.sqrt(best.transpose(2, 1, 0), dtype=np.float32)
    return distance  # (N, h, w)


def _check(mask: NDArray[np.bool_]) -> None:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        remedy = "pass mask.cpu().numpy()" if hasattr(mask, "cpu") else "binarise it first"
        raise ValueError(f"mask must be a boolean NumPy array, got {kind}; {remedy}")
    if mask.ndim != 3 or 0 in mask.shape[1:]:
        raise ValueError(f"mask must be (N, H, W) with at least one pixel, got shape {mask.shape}")
