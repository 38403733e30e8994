"""Decoys: values computable on paper, an independent estimate, rejections by text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xblcore import decoys


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("corner", "rows", "columns"),
    [(0, [0, 1], [0, 1]), (1, [0, 1], [3, 4]), (2, [1, 2], [0, 1]), (3, [1, 2], [3, 4])],
)
def test_corner_mask_marks_exactly_the_named_corner(corner, rows, columns):
    expected = np.zeros((3, 5), bool)
    expected[np.ix_(rows, columns)] = True
    (mask,) = decoys.corner_mask(np.array([corner]), (3, 5), 2)
    assert (mask == expected).all()
    assert (
        decoys.CORNERS[corner]
        == ("top", "bottom")[corner // 2] + " " + ("left", "right")[corner % 2]
    )


@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 5, 1), (7, 6, 5, 3)])
def test_the_patch_has_its_colour_and_all_else_stays(shape):
    images = rng().integers(0, 256, shape, dtype=np.uint8)
    before = images.copy()
    channels = shape[3] if len(shape) == 4 else 1
    values = rng().integers(0, 256, (7, channels), dtype=np.uint8)
    patched, mask = decoys.add_corner_patch(images, values, decoys.random_corners(7, rng()), 2)

    assert (images == before).all(), "the input is not to be changed"
    assert patched.shape == shape and patched.dtype == np.uint8
    assert mask.sum((1, 2)).tolist() == [4] * 7
    for image, original, value, where in zip(patched, images, values, mask, strict=True):
        assert (image[where] == (value if len(shape) == 4 else value[0])).all()
        assert (image[~where] == original[~where]).all()


def test_a_batch_gives_what_its_images_give_one_by_one():
    images = rng().integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    values = rng().integers(0, 256, (5, 3), dtype=np.uint8)
    corners = np.array([0, 1, 2, 3, 0])
    patched, mask = decoys.add_corner_patch(images, values, corners, 3)
    for n in range(5):
        one = slice(n, n + 1)
        alone, alone_mask = decoys.add_corner_patch(images[one], values[one], corners[one], 3)
        assert (alone == patched[one]).all() and (alone_mask == mask[one]).all()


def test_palettes_tell_every_class_apart():
    assert decoys.grey_palette(10)[:, 0].tolist() == [255 - 25 * label for label in range(10)]
    for classes in (2, 10, 64):
        palette = decoys.colour_palette(classes)
        assert palette.shape == (classes, 3) and palette.dtype == np.uint8
        assert len(np.unique(palette, axis=0)) == classes


def test_another_class_is_never_the_same_and_covers_all_others():
    codes = np.repeat(np.arange(4), 300)
    other = decoys.other_class(codes, 4, rng())
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (codes, other), 1)
    assert (counts.diagonal() == 0).all()
    assert (counts[~np.eye(4, dtype=bool)] > 60).all()


def test_mutual_information_on_paper():
    labels = np.repeat(np.arange(10), 20)
    colour = decoys.class_values(labels, decoys.colour_palette(10))
    assert decoys.mutual_information(colour, labels) == pytest.approx(math.log2(10))
    assert decoys.mutual_information(np.zeros((200, 3)), labels) == 0
    # One bit of the label: is it below five?
    assert decoys.mutual_information(labels < 5, labels) == pytest.approx(1)
    # Another class at random, every one equally often: log2(3) - log2(2) bits.
    codes, other = np.repeat([0, 0, 1, 1, 2, 2], 5), np.repeat([1, 2, 0, 2, 0, 1], 5)
    assert decoys.mutual_information(other, codes) == pytest.approx(math.log2(3) - 1)


def test_mutual_information_agrees_with_scikit_learn_and_chance_with_the_mean():
    from sklearn.metrics import mutual_info_score

    generator = rng()
    labels = generator.integers(10, size=2000)
    found = []
    for _ in range(20):
        values = generator.integers(10, size=2000)
        found.append(decoys.mutual_information(values, labels))
        peer = mutual_info_score(labels, values) / math.log(2)
        assert found[-1] == pytest.approx(peer, abs=1e-9)
    assert np.mean(found) == pytest.approx(decoys.chance_information(values, labels), rel=0.1)


IMAGES, VALUES = np.zeros((2, 6, 6), np.uint8), np.zeros((2, 1), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: decoys.corner_mask(np.array([4]), (6, 6), 2),
            r"corners must be in \[0, 4\), got 4",
        ),
        (lambda: decoys.corner_mask(np.array([0]), (6, 5), 6), r"size must be in \[1, 5\].* got 6"),
        (lambda: decoys.corner_mask(np.array([0]), (6, 5), 0), r"size must be in \[1, 5\].* got 0"),
        (
            lambda: decoys.add_corner_patch(IMAGES / 255, VALUES, np.array([0, 1]), 2),
            r"images must be uint8 .* got float64 of shape \(2, 6, 6\)",
        ),
        (
            lambda: decoys.add_corner_patch(IMAGES, VALUES[:1], np.array([0, 1]), 2),
            r"values must be uint8 of shape \(2, 1\) .* got uint8 of shape \(1, 1\)",
        ),
        (
            lambda: decoys.add_corner_patch(IMAGES, VALUES, np.array([0]), 2),
            r"corners must have shape \(2,\), got \(1,\)",
        ),
        (
            lambda: decoys.class_values(np.array([0, 10]), decoys.grey_palette(10)),
            r"labels must be in \[0, 10\), got 10 at position 1",
        ),
        (
            lambda: decoys.class_values(np.array([-1]), decoys.grey_palette(10)),
            r"labels must be in \[0, 10\), got -1 at position 0",
        ),
        (
            lambda: decoys.class_values(np.array([0.5]), decoys.grey_palette(10)),
            r"labels must be \(N,\) integers, got float64",
        ),
        (lambda: decoys.other_class(np.array([2]), 2, rng()), r"codes must be in \[0, 2\), got 2"),
        (lambda: decoys.grey_palette(12), r"classes must be in \[2, 11\].* got 12"),
        (lambda: decoys.colour_palette(1), r"classes must be in \[2, 64\].* got 1"),
        (
            lambda: decoys.mutual_information(np.zeros(3), np.zeros(2, int)),
            r"values and labels must be of one length.* got shapes \(3,\) and \(2,\)",
        ),
        (
            lambda: decoys.mutual_information(np.zeros(0), np.zeros(0, int)),
            "values and labels must be of one length, at least 1",
        ),
    ],
)
def test_rejections(call, message):
    with pytest.raises(ValueError, match=message):
        call()
