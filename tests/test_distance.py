"""Masks on the CAM's grid and exact distances, against brute force, SciPy and adaptive pooling."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from xblcore import distance
from xblcore.distance import distance_map, to_grid

Masks = NDArray[np.bool_]
bounded = settings(max_examples=60, deadline=None, derandomize=True)
sides = st.integers(1, 9)


def masks(max_side: int) -> st.SearchStrategy[Masks]:
    side = st.integers(1, max_side)
    shape = st.tuples(st.integers(1, 4), side, side)
    return shape.flatmap(
        lambda shape: arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(False))
    )


def brute_force(mask: Masks) -> NDArray[np.float32]:
    """All cells against all object cells of one mask ``(h, w)``."""
    cells = np.argwhere(np.ones_like(mask))
    objects = np.argwhere(mask)
    squared = ((cells[:, None] - objects[None]) ** 2).sum(2).min(1)
    distances: NDArray[np.float32] = np.sqrt(squared.reshape(mask.shape)).astype(np.float32)
    return distances


def test_to_grid_by_hand() -> None:
    mask = np.zeros((2, 4, 6), dtype=bool)
    mask[0, 0, 5] = mask[1, 2, 2] = mask[1, 3, 3] = True
    expected = [[[False, False, True], [False, False, False]], [[False] * 3, [False, True, False]]]
    assert to_grid(mask, (2, 3)).tolist() == expected


def test_to_grid_shares_the_row_between_two_cells_where_the_sizes_do_not_divide() -> None:
    middle = np.array([[[False], [True], [False]]])
    assert to_grid(middle, (2, 1)).tolist() == [[[True], [True]]]
    assert to_grid(np.array([[[True, False]]]), (1, 3)).tolist() == [[[True, True, False]]]


@bounded
@given(masks(9), sides, sides)
def test_to_grid_is_adaptive_max_pooling(mask: Masks, height: int, width: int) -> None:
    pooled = torch.nn.functional.adaptive_max_pool2d(
        torch.from_numpy(mask).float(), (height, width)
    )
    assert np.array_equal(to_grid(mask, (height, width)), pooled.numpy() > 0)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 4), (4, 5), (9, 2)])
def test_to_grid_loses_no_pixel(size: tuple[int, int]) -> None:
    every_pixel = np.eye(7 * 5, dtype=bool).reshape(35, 7, 5)
    assert to_grid(every_pixel, size).any(axis=(1, 2)).all()


@pytest.mark.parametrize("size", [(14, 14), (28, 28)])
def test_to_grid_of_the_same_or_no_images(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((3, *size)) < 0.2
    assert np.array_equal(to_grid(mask, size), mask)
    assert to_grid(mask[:0], (2, 2)).shape == (0, 2, 2)


def test_distance_map_by_hand() -> None:
    mask = np.zeros((1, 3, 4), dtype=bool)
    mask[0, 0, 0] = mask[0, 2, 3] = True
    cells = np.sqrt([[0, 1, 4, 4], [1, 2, 2, 1], [4, 4, 1, 0]])
    assert np.allclose(distance_map(mask, normalise=False)[0], cells)
    assert np.allclose(distance_map(mask)[0], cells / 5)  # sqrt(3^2 + 4^2) = 5


@bounded
@given(masks(12))
def test_distance_map_is_scipys_edt(mask: Masks) -> None:
    found = distance_map(mask, normalise=False)
    assert found.dtype == np.float32
    for one, image in zip(mask, found, strict=True):
        if one.any():
            assert np.array_equal(image, distance_transform_edt(~one).astype(np.float32))
        else:
            assert np.isnan(image).all()


@pytest.mark.parametrize("shape", [(63, 64), (64, 64), (1, 126), (126, 1), (1, 127), (5, 130)])
def test_distance_map_on_both_sides_of_the_16_bit_limit(shape: tuple[int, int]) -> None:
    mask = np.zeros((4, *shape), dtype=bool)
    mask[0, 0, 0] = mask[1, -1, -1] = mask[2, shape[0] // 2, shape[1] // 3] = True
    mask[3] = np.random.default_rng(0).random(shape) < 0.01
    mask[3, 0, -1] = True
    expected = [brute_force(one) for one in mask]
    assert np.array_equal(distance_map(mask, normalise=False), expected)


def test_distance_map_where_a_neighbouring_image_is_nearer() -> None:
    mask = np.zeros((3, 14, 14), dtype=bool)
    mask[0, 0, 0] = mask[1, 13, 13] = True  # the third image has no object at all
    found = distance_map(mask)
    assert found[0, 13, 13] == pytest.approx(13 / 14)
    assert np.array_equal(found[0], found[1, ::-1, ::-1])
    assert np.isnan(found[2]).all()


def test_distance_map_in_chunks_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((23, 6, 5)) < 0.1
    whole = distance_map(mask)
    one_by_one = np.concatenate([distance_map(mask[i : i + 1]) for i in range(len(mask))])
    assert np.array_equal(whole, one_by_one, equal_nan=True)
    monkeypatch.setattr(distance, "CHUNK", 4 * 30 + 7)
    # In another order, so that memory left by what was freed cannot pass for a chunk forgotten.
    assert np.array_equal(whole[::-1], distance_map(mask[::-1]), equal_nan=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (14, 14), (70, 70)])
def test_distance_map_of_full_empty_and_no_masks(size: tuple[int, int]) -> None:
    full = np.ones((2, *size), dtype=bool)
    assert not distance_map(full).any()
    assert np.isnan(distance_map(~full)).all()
    assert distance_map(full[:0]).shape == (0, *size)
    corner = np.zeros((1, *size), dtype=bool)
    corner[0, 0, 0] = True
    assert distance_map(corner).max() == pytest.approx(
        np.hypot(size[0] - 1, size[1] - 1) / np.hypot(*size)
    )


def test_the_same_displacement_is_about_as_far_on_every_grid() -> None:
    mask = np.zeros((1, 112, 112), dtype=bool)
    mask[:, :, :56] = True
    edges = [distance_map(to_grid(mask, (side, side)))[0, 0, -1] for side in (14, 28, 56)]
    assert np.allclose(edges, [7 / 14 / np.sqrt(2)] * 3, atol=1e-6)


def test_masks_are_left_as_they_are_and_may_be_views() -> None:
    mask = np.random.default_rng(0).random((4, 8, 8)) < 0.3
    before = mask.copy()
    turned = distance_map(mask.transpose(0, 2, 1)[:, ::-1])
    assert np.array_equal(turned, distance_map(mask).transpose(0, 2, 1)[:, ::-1], equal_nan=True)
    to_grid(mask, (8, 8))[:] = True
    assert np.array_equal(mask, before)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((1, 2, 2)), "mask must be a boolean NumPy array, got float64; binarise it first"),
        (
            torch.zeros(1, 2, 2),
            r"mask must be a boolean NumPy array, got Tensor; pass mask.cpu\(\)",
        ),
        (np.zeros((2, 2), bool), r"mask must be \(N, H, W\) with at least one pixel, .* \(2, 2\)"),
        (np.zeros((1, 0, 2), bool), r"at least one pixel, got shape \(1, 0, 2\)"),
    ],
)
def test_masks_that_are_rejected(mask: Masks, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distance_map(mask)
    with pytest.raises(ValueError, match=message):
        to_grid(mask, (1, 1))


@pytest.mark.parametrize("size", [(0, 2), (2,), (1, 2, 3)])
def test_sizes_that_are_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"size must be \(h, w\), each at least 1, got \("):
        to_grid(np.zeros((1, 2, 2), bool), size)
