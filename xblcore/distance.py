"""Masks on the grid of a CAM, and exact distances to the object. NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

Mask = NDArray[np.bool_]


def widen(mask: Mask, margin: int) -> Mask:
    """Widen masks, bool ``(N, H, W)``, by ``margin`` pixels in each direction.

    The neighbourhood is a square, like a receptive field.

    >>> widen(np.array([[[True, False, False]]]), 1)
    array([[[ True,  True, False]]])
    """
    _check(mask)
    if margin < 0:
        raise ValueError(f"margin must be at least 0 pixels, got {margin}")
    if margin == 0 or not mask.any():
        return mask.copy()
    side = 2 * margin + 1
    wide: Mask = maximum_filter(mask, size=(1, side, side), mode="constant", cval=False)
    return wide


def to_grid(mask: Mask, size: tuple[int, int]) -> Mask:
    """Bring masks to a coarser or finer grid; a cell is True if any pixel that it touches is.

    From bool ``(N, H, W)`` to bool ``(N, h, w)``, ``size = (h, w)``. Cell ``i`` of ``h`` covers
    rows ``floor(i H / h)`` to ``ceil((i + 1) H / h)``, columns likewise, as in adaptive pooling:
    if ``H / h`` is not an integer, neighbouring cells share a row of pixels and none is lost.

    >>> to_grid(np.array([[[False, False, True, False]]]), (1, 2))
    array([[[False,  True]]])
    """
    _check(mask)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (h, w), each at least 1, got {size!r}")
    for axis, cells in enumerate(size, start=1):
        mask = _any_in_cell(mask, axis, cells)
    return mask


def _any_in_cell(mask: Mask, axis: int, cells: int) -> Mask:
    pixels = mask.shape[axis]
    cell = np.arange(cells)
    first = cell * pixels // cells
    last = -(-(cell + 1) * pixels // cells) - 1  # inclusive
    covered: Mask = mask.take(first, axis)
    for offset in range(1, int((last - first).max()) + 1):
        covered |= mask.take(np.minimum(first + offset, last), axis)
    return covered


def distance_map(mask: Mask, *, normalise: bool = True) -> NDArray[np.float32]:
    """Euclidean distance from the centre of each cell to the nearest object cell; 0 on the object.

    ``D(u, v) = min over object cells (i, j) of sqrt((u - i)^2 + (v - j)^2)``, exact, divided by
    the diagonal of the grid, ``sqrt(h^2 + w^2)``. Hence the values are below 1 and comparable
    between grids of different resolution.

    Args:
        mask: bool ``(N, h, w)``, True on the object, see :func:`to_grid`.
        normalise: divide by the diagonal; False gives distances in cells.

    Returns:
        float32 ``(N, h, w)``. An image without an object has no distance: its map is NaN.

    >>> distance_map(np.array([[[True, False, False, False]]]), normalise=False)
    array([[[0., 1., 2., 3.]]], dtype=float32)
    >>> distance_map(np.array([[[False]]]))
    array([[[nan]]], dtype=float32)
    """
    _check(mask)
    distance = np.empty(mask.shape, np.float32)
    for one, out in zip(mask, distance, strict=True):
        out[:] = distance_transform_edt(~one)
    if normalise:
        distance /= np.float32(np.hypot(*mask.shape[1:]))
    distance[~mask.any(axis=(1, 2))] = np.nan
    return distance


def _check(mask: Mask) -> None:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        remedy = "pass mask.cpu().numpy()" if hasattr(mask, "cpu") else "binarise it first"
        raise ValueError(f"mask must be a boolean NumPy array, got {kind}; {remedy}")
    if mask.ndim != 3 or 0 in mask.shape[1:]:
        raise ValueError(f"mask must be (N, H, W) with at least one pixel, got shape {mask.shape}")
