"""Decoys: what they cover and encode, against loops and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from xblcore import decoys
from xblcore.decoys import Decoy, add_decoys
from xblcore.examples import Examples

PALETTE = decoys.colour_palette(4)


def clean(count: int = 60, *, size: tuple[int, int] = (12, 10)) -> Examples:
    """Colour noise with a rectangle as object; classes 0 to 3 in turn."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 255, (count, 3, *size), generator=generator, dtype=torch.uint8)
    object_mask = torch.zeros(count, *size, dtype=torch.bool)
    object_mask[:, 4:8, 3:6] = True
    return Examples(images, torch.arange(count) % 4, object_mask, object_mask & False)


def make(decoy: Decoy = Decoy(), *, predictive: bool = True, seed: int = 0, count: int = 60):  # noqa: B008
    return add_decoys(clean(count), decoy, PALETTE, predictive=predictive, seed=[seed])


def colour_of(images: torch.Tensor, masks: torch.Tensor) -> np.ndarray:
    """Class whose colour the brightest pixels of each patch have."""
    values = [image[:, mask].amax(1).numpy() for image, mask in zip(images, masks, strict=True)]
    return np.array([int((value == PALETTE).all(1).nonzero()[0][0]) for value in values])


@pytest.mark.parametrize("predictive", [True, False])
@pytest.mark.parametrize(
    "decoy",
    [
        Decoy(),
        Decoy(size=1),
        Decoy(size=3, place="top_left"),
        Decoy(size=2, place="object", gap=1),
        Decoy(size=3, pattern="striped"),
        Decoy(size=3, pattern="chequered"),
        Decoy(predictive=0.7),
    ],
    ids=str,
)
def test_images_differ_from_clean_and_swapped_ones_in_the_decoy_only(decoy, predictive) -> None:
    before, done = clean(), make(decoy, predictive=predictive)
    masks = done.examples.decoy_mask
    assert (masks.sum((1, 2)) == decoy.size**2).all()
    assert torch.equal(done.examples.labels, before.labels)
    assert torch.equal(done.examples.object_mask, before.object_mask & ~masks)
    assert (colour_of(done.examples.images, masks) == done.codes.numpy()).all()
    assert torch.equal(done.swapped.decoy_mask, masks)
    changed = (done.swapped.images != done.examples.images).any(1)
    assert not (changed & ~masks).any()
    assert (changed & masks).flatten(1).any(1).all()
    assert (colour_of(done.swapped.images, masks) != done.codes.numpy()).all()
    outside = ~masks[:, None].expand_as(before.images)
    assert torch.equal(done.examples.images[outside], before.images[outside])
    assert torch.equal(before.images, clean().images)


def test_a_predictive_decoy_has_the_colour_of_the_class_and_another_one_a_random_colour() -> None:
    labels = clean().labels.numpy()
    assert (make().codes.numpy() == labels).all()
    random = make(predictive=False, count=2000)
    joint = np.histogram2d(random.codes.numpy(), np.arange(2000) % 4, bins=4)[0]
    assert (abs(joint - 125) < 4.5 * math.sqrt(125)).all()  # independent and uniform


def test_a_partly_predictive_decoy_is_swapped_to_the_class_where_it_is_wrong() -> None:
    labels = clean(2000).labels.numpy()
    done = make(Decoy(predictive=0.7), count=2000)
    right = done.codes.numpy() == labels
    assert right.mean() == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / 2000))
    swapped = colour_of(done.swapped.images, done.examples.decoy_mask)
    assert (swapped[~right] == labels[~right]).all()
    assert (swapped[right] != labels[right]).all()


def test_corners_are_equally_frequent_and_the_seed_decides() -> None:
    """Independently of the global random generators."""
    np.random.seed(1)  # noqa: NPY002
    first = make(count=2000)
    corners = first.examples.decoy_mask[:, [0, 0, -1, -1], [0, -1, 0, -1]].sum(0)
    assert corners.sum() == 2000
    assert ((corners - 500).abs() < 4 * math.sqrt(375)).all()
    np.random.seed(2)  # noqa: NPY002
    for seed, same in ((0, True), (1, False)):
        again = make(count=2000, seed=seed)
        assert torch.equal(again.examples.images, first.examples.images) == same
        assert torch.equal(again.swapped.images, first.swapped.images) == same


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("gap", [0, 1, 2, -1, -2, 30])
def test_the_distance_to_the_object_in_loops(size: int, gap: int) -> None:
    """The closest possible to the one asked for; every such position occurs."""
    done, before = make(Decoy(size=size, place="object", gap=gap), count=200), clean(1)
    inside = np.argwhere(before.object_mask[0].numpy()).tolist()
    outside = np.argwhere(~before.object_mask[0].numpy()).tolist()

    def signed(pixel: tuple[int, int]) -> float:
        """Pixels between this one and the object, negative inside."""
        if list(pixel) in inside:
            return -min(math.dist(pixel, other) for other in outside)
        return min(math.dist(pixel, other) for other in inside) - 1

    errors = {}
    for row, column in itertools.product(range(13 - size), range(11 - size)):
        patch = itertools.product(range(row, row + size), range(column, column + size))
        errors[row, column] = abs(min(map(signed, patch)) - gap)
    best = {where for where, error in errors.items() if error < min(errors.values()) + 1e-6}
    found = {tuple(mask.nonzero()[0].tolist()) for mask in done.examples.decoy_mask}
    assert found <= best
    assert len(found) == len(best) or len(best) > 30


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("plain", "777 777"), ("striped", "000 777"), ("chequered", "070 707")],
)
def test_patterns_by_hand(pattern: decoys.Pattern, expected: str) -> None:
    """Black pixels depend on the position in the image: odd rows, or odd sums of row and column."""
    images, colour = np.full((1, 1, 3, 3), 9, np.uint8), np.array([[7]], np.uint8)
    done, _ = decoys.put_patch(images, colour, np.array([[1, 0]]), 2, pattern=pattern)
    assert ["".join(map(str, row)) for row in done[0, 0, 1:]] == [
        row[:2] + "9" for row in expected.split()
    ]
    assert (images == 9).all()


def test_palettes_distinguish_the_classes() -> None:
    assert decoys.grey_palette(11)[:, 0].tolist() == [255 - 25 * label for label in range(11)]
    for classes in (2, 10, 64):
        palette = decoys.colour_palette(classes)
        assert palette.shape == (classes, 3)
        assert len(np.unique(palette, axis=0)) == classes


def test_another_class_is_never_the_same_and_uniform_over_the_others() -> None:
    codes = np.repeat(np.arange(4), 300)
    other = decoys.other_class(codes, 4, np.random.default_rng(0))
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (codes, other), 1)
    assert (counts.diagonal() == 0).all()
    assert (abs(counts[~np.eye(4, dtype=bool)] - 100) < 4 * math.sqrt(100 * 2 / 3)).all()
