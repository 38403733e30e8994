"""Masks on the CAM grid and exact distances, against loops and adaptive pooling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xblcore.distance import distance_map, to_grid, widen

Masks = NDArray[np.bool_]
bounded = settings(max_examples=60, deadline=None, derandomize=True)
sides = st.integers(1, 9)
masks = st.tuples(st.integers(1, 3), sides, sides).flatmap(
    lambda shape: arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False))
)


@bounded
@given(masks, st.integers(0, 11))
def test_widen_in_loops(mask: Masks, margin: int) -> None:
    expected = np.zeros_like(mask)
    for n, row, column in np.argwhere(mask):
        top, left = max(row - margin, 0), max(column - margin, 0)
        expected[n, top : row + margin + 1, left : column + margin + 1] = True
    assert np.array_equal(widen(mask, margin), expected)


@bounded
@given(masks, sides, sides)
def test_to_grid_is_adaptive_max_pooling(mask: Masks, height: int, width: int) -> None:
    pooled = torch.nn.functional.adaptive_max_pool2d(
        torch.from_numpy(mask).float(), (height, width)
    )
    assert np.array_equal(to_grid(mask, (height, width)), pooled.numpy() > 0)


def test_distance_map_by_hand() -> None:
    mask = np.zeros((1, 3, 4), dtype=bool)
    mask[0, 0, 0] = mask[0, 2, 3] = True
    cells = np.sqrt([[0, 1, 4, 4], [1, 2, 2, 1], [4, 4, 1, 0]])
    assert np.allclose(distance_map(mask, normalise=False)[0], cells)
    assert np.allclose(distance_map(mask)[0], cells / 5)  # sqrt(3^2 + 4^2) = 5


@bounded
@given(masks)
def test_distance_map_in_loops(mask: Masks) -> None:
    """Each image by itself; without an object, NaN everywhere."""
    found = distance_map(mask)
    assert found.dtype == np.float32
    _, height, width = mask.shape
    for image, distances in zip(mask, found, strict=True):
        objects = np.argwhere(image)
        for row, column in itertools.product(range(height), range(width)):
            nearest = min((math.hypot(row - i, column - j) for i, j in objects), default=math.nan)
            expected = nearest / math.hypot(height, width)
            assert distances[row, column] == pytest.approx(expected, nan_ok=True, rel=1e-6)


def test_no_images() -> None:
    none = np.ones((0, 4, 5), dtype=bool)
    assert distance_map(none).shape == widen(none, 1).shape == (0, 4, 5)
    assert to_grid(none, (2, 3)).shape == (0, 2, 3)


def test_masks_are_not_changed_and_may_be_views() -> None:
    mask = np.random.default_rng(0).random((4, 8, 8)) < 0.3
    before = mask.copy()
    turned = distance_map(mask.transpose(0, 2, 1)[:, ::-1])
    assert np.array_equal(turned, distance_map(mask).transpose(0, 2, 1)[:, ::-1], equal_nan=True)
    for result in (to_grid(mask, (8, 8)), widen(mask, 0)):
        assert np.array_equal(result, mask)
        result[:] = True
    assert np.array_equal(mask, before)
