"""Other decoys on the same images: how large, how predictive, one or two, and what changes them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xblcore import decoys
from xblcore.datasets.drawing import Drawn
from xblcore.experiments import variants

SIDE, SIZE, CLASSES, COUNT = 12, 3, 4, 2000
PALETTE = decoys.grey_palette(CLASSES)
RNG = np.random.default_rng


def drawn(*, told=True, colour=False, count=COUNT):
    """Images without structure; a decoy that tells the label, or any class. Arrays: read-only."""
    rng = RNG(5)
    palette = decoys.colour_palette(CLASSES) if colour else PALETTE
    labels = rng.integers(0, CLASSES, count)
    codes = labels if told else rng.integers(0, CLASSES, count)
    found = Drawn(
        images=rng.integers(1, 20, (count, SIDE, SIDE, palette.shape[1])).astype(np.uint8),
        labels=labels,
        object_mask=rng.random((count, SIDE, SIDE)) < 0.4,
        source=np.arange(count),
        corners=decoys.random_corners(count, rng).astype(np.uint8),
        values=palette[codes],
        swapped=palette[decoys.other_class(codes, CLASSES, rng)],
        decoy_size=SIZE,
    )
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return found


def scenes(split=None, **options):
    plain = {"size": None, "predictive": 1.0, "count": 1, "told": True, "palette": PALETTE}
    split = drawn(told=options.get("told", True)) if split is None else split
    return variants.scenes(split, **plain | {"generator": RNG(0)} | options)


def codes(values):
    return variants.codes_of(values, PALETTE)


def changed(one, other):
    """Pixels ``(N, H, W)`` that differ in any channel."""
    return (one != other).any(1)


# ---------------------------------------------------------------- as built


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("view", ["decoy", "clean", "swapped"])
def test_left_as_drawn_it_is_the_built_split(view, colour):
    split = drawn(colour=colour)
    found, built = scenes(split), split.render(view)
    images = found.images(view)
    assert images.dtype == np.float32 and images.flags.c_contiguous
    assert (images == built.images).all()
    covered = view != "clean"
    assert (found.object_mask(covered=covered) == built.object_mask).all()
    (there,) = found.masks()
    assert (there & covered == built.decoy_mask).all()


def test_of_one_decoy_the_first_is_all_that_can_be_swapped():
    found = scenes()
    assert (found.images("first_swapped") == found.images("swapped")).all()
    assert (found.images("second_swapped") == found.images("decoy")).all()


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("size", [1, 2, 6, 12])
def test_a_decoy_of_another_size_lies_in_the_same_corner(size):
    split = drawn(count=40)
    found = scenes(split, size=size)
    (there,) = found.masks()
    assert (there.sum((1, 2)) == size**2).all()
    for one, corner in zip(there, split.corners, strict=True):
        row, column = (0, 0, -1, -1)[corner], (0, -1, 0, -1)[corner]
        assert one[row, column]
    images, clean = found.images("decoy"), found.images("clean")
    assert not changed(images, clean)[~there].any(), "nothing but the patch"
    values = images[:, 0].max((1, 2), where=there, initial=0)
    assert (np.round(values * 255) == split.values[:, 0]).all()
    assert (found.object_mask(covered=True) == (split.object_mask & ~there)).all()
    assert (found.object_mask(covered=False) == split.object_mask).all()


@pytest.mark.parametrize(
    ("count", "size", "message"),
    [
        (1, 13, "1 decoys of 13 pixels must fit a side of 12 pixels"),
        (2, 7, "2 decoys of 7 pixels must fit a side of 12 pixels"),
    ],
)
def test_decoys_that_do_not_fit(count, size, message):
    with pytest.raises(ValueError, match=message):
        scenes(size=size, count=count)


# ---------------------------------------------------------------- how predictive


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 0.8, 1.0])
def test_so_many_decoys_tell_the_label_and_the_others_another(share):
    split = drawn()
    (patch,) = scenes(split, predictive=share).patches
    as_drawn = (patch.values == split.values).all(1)
    assert as_drawn.mean() == pytest.approx(share, abs=0.03)
    assert (as_drawn == (codes(patch.values) == split.labels)).all()
    assert (patch.values[~as_drawn] == split.swapped[~as_drawn]).all()
    partners = np.where(as_drawn[:, None], split.swapped, split.values)
    assert (patch.swapped == partners).all(), "swapped, those others tell the label"
    assert (patch.corners == split.corners).all()


def test_the_fewer_that_tell_it_are_among_the_more():
    split = drawn()
    told = {
        share: (scenes(split, predictive=share).patches[0].values == split.values).all(1)
        for share in (0.6, 0.8)
    }
    assert told[0.8][told[0.6]].all()


def test_decoys_that_tell_nothing_stay_as_they_are():
    split = drawn(told=False)
    (patch,) = scenes(split, predictive=0.5, told=False).patches
    assert (patch.values == split.values).all() and (patch.swapped == split.swapped).all()


# ---------------------------------------------------------------- two


@pytest.fixture(scope="module")
def two():
    return {told: scenes(drawn(told=told), count=2, told=told) for told in (True, False)}


@pytest.mark.parametrize("told", [True, False])
def test_the_second_lies_in_the_opposite_corner(two, told):
    first, second = two[told].masks()
    assert (second == first[:, ::-1, ::-1]).all()
    assert not (first & second).any()
    assert (first.sum((1, 2)) == SIZE**2).all()


def test_in_training_each_tells_the_label_in_a_code_of_its_own(two):
    labels = two[True].drawn.labels
    first, second = (codes(patch.values) for patch in two[True].patches)
    assert (first == labels).all() and (second == CLASSES - 1 - labels).all()
    for patch in two[True].patches:
        assert decoys.mutual_information(patch.values, labels) > 1.99, "bits, of 2"


def test_the_second_can_be_told_from_the_first_by_its_look(two):
    """Every other pixel of it is black, as on a chessboard: no pair of values is ambiguous."""
    found = two[True]
    images = np.round(found.images("decoy")[:, 0] * 255)
    first, second = found.masks()
    chessboard = np.indices((SIDE, SIDE)).sum(0) % 2 == 1
    assert (images[second & chessboard] == 0).all()
    values = found.patches[1].values[:, 0]
    for image, there, value in zip(images, second, values, strict=True):
        assert (image[there & ~chessboard] == value).all()
    assert (images[first] > 0).all()


def test_on_test_neither_does_nor_one_the_other(two):
    labels = two[False].drawn.labels
    first, second = two[False].patches
    assert (first.values == two[False].drawn.values).all(), "the first stays as drawn"
    assert set(codes(second.values)) == set(range(CLASSES))
    for one, other in (
        (first.values, labels),
        (second.values, labels),
        (first.values, codes(second.values)),
    ):
        chance = decoys.chance_information(one, other)
        assert decoys.mutual_information(one, other) < 3 * chance


@pytest.mark.parametrize("told", [True, False])
def test_what_is_swapped_is_another_class_everywhere(two, told):
    for patch in two[told].patches:
        assert (patch.values != patch.swapped).any(1).all()
        assert set(codes(patch.swapped)) == set(range(CLASSES))


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("view", "which"),
    [("swapped", (0, 1)), ("first_swapped", (0,)), ("second_swapped", (1,)), ("decoy", ())],
)
def test_a_view_changes_its_decoys_and_no_other_pixel(two, told, view, which):
    found = two[told]
    moved = changed(found.images(view), found.images("decoy"))
    seen = (
        True,
        np.indices((SIDE, SIDE)).sum(0) % 2 == 0,
    )  # of the second, every other pixel is black
    expected = np.zeros_like(moved)
    for n in which:
        expected |= found.masks()[n] & seen[n]
    assert (moved == expected).all()


def test_both_cover_the_object_and_neither_is_on_clean_images(two):
    found = two[True]
    first, second = found.masks()
    assert not found.object_mask(covered=True)[first | second].any()
    clean = found.drawn.render("clean").images
    assert (found.images("clean") == clean).all()
    assert (changed(found.images("decoy"), clean) == (first | second)).all()


def test_two_may_be_less_predictive():
    """Each of them by itself."""
    split = drawn()
    first, second = scenes(split, count=2, predictive=0.7).patches
    assert (codes(first.values) == split.labels).mean() == pytest.approx(0.7, abs=0.03)
    reversed_labels = CLASSES - 1 - split.labels
    assert (codes(second.values) == reversed_labels).mean() == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("options", [{"predictive": 0.5}, {"count": 2}], ids=["share", "two"])
def test_the_generator_alone_decides(options):
    split = drawn(count=200)
    one, same, other = (scenes(split, **options, generator=RNG(seed)) for seed in (0, 0, 1))
    assert (one.images("swapped") == same.images("swapped")).all()
    assert (one.images("swapped") != other.images("swapped")).any()


# ---------------------------------------------------------------- codes


def test_the_palette_is_read_off_the_training_images():
    assert (variants.palette_of(drawn()) == PALETTE).all()
    colours = variants.palette_of(drawn(colour=True))
    assert (colours == decoys.colour_palette(CLASSES)).all()


def test_the_classes_are_read_off_the_values():
    assert codes(PALETTE[[2, 0, 3]]).tolist() == [2, 0, 3]
    colours = decoys.colour_palette(CLASSES)
    assert variants.codes_of(colours[[1, 3]], colours).tolist() == [1, 3]


def test_decoys_without_a_code():
    message = "the decoy must have one value a class, got 4 for class 0; experiments on the decoy"
    with pytest.raises(ValueError, match=message):
        variants.palette_of(drawn(told=False))
    with pytest.raises(ValueError, match="values must be in the palette of the training images"):
        variants.codes_of(np.array([[7]], np.uint8), PALETTE)
