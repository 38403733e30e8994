"""What people mark, by hand on small masks: how much of it is left, and where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from xblcore.experiments import feedback
from xblcore.experiments.feedback import KINDS, Marks

SIDE = 14  # of the images here
RANDOM = ("incomplete", "jittered", "random")


def rng(seed=0):
    return np.random.default_rng(seed)


def mask(*pixels, count=1, side=SIDE):
    """``count`` images with the same pixels set."""
    one = np.zeros((side, side), bool)
    for pixel in pixels:
        one[pixel] = True
    return np.repeat(one[None], count, axis=0)


SQUARE = np.s_[5:9, 5:9]  # away from the border
CORNER = np.s_[:4, -4:]  # as a decoy lies
ELL = (np.s_[3:9, 4], np.s_[8, 4:8])


def mark(kind, object_mask, decoy_mask=None, seed=0):
    decoy_mask = mask(CORNER, count=len(object_mask)) if decoy_mask is None else decoy_mask
    return feedback.mark(kind, object_mask, decoy_mask, rng(seed))


# ---------------------------------------------------------------- each kind


def test_correct_is_what_should_be_marked():
    marked = mark("correct", mask(*ELL))
    assert (marked.object_mask == mask(*ELL)).all() and (marked.decoy_mask == mask(CORNER)).all()


@pytest.mark.parametrize("pixels", [(SQUARE,), ELL, (np.s_[3, 3],)], ids=["square", "L", "dot"])
def test_incomplete_is_half_of_each_on_one_side(pixels):
    whole = mask(*pixels, count=20)
    marked = mark("incomplete", whole)
    assert not (marked.object_mask & ~whole).any(), "nothing beside the object"
    area = int(whole[0].sum())
    assert (marked.object_mask.sum((1, 2)) == (area + 1) // 2).all()
    assert (marked.decoy_mask.sum((1, 2)) == 8).all()
    angles = np.deg2rad(np.arange(0, 360, 0.5))
    directions = np.stack((np.sin(angles), np.cos(angles)))  # (2, angles)
    for kept, one in zip(marked.object_mask, whole, strict=True):
        here, there = np.argwhere(kept) @ directions, np.argwhere(one & ~kept) @ directions
        beyond = there.min(0) if len(there) else np.inf
        assert (here.max(0) <= beyond + 1e-2).any(), "a line parts what is marked from the rest"
    if area > 1:
        assert len(np.unique(marked.object_mask, axis=0)) > 3, "not always the same side"


def test_dilated_is_wider_all_around():
    marked = mark("dilated", mask(np.s_[6, 6]))
    cross = mask(np.s_[5:8, 6], np.s_[6, 5:8])
    assert (marked.object_mask == cross).all()
    assert (marked.decoy_mask == mask(np.s_[:4, -5:], np.s_[:5, -4:])).all(), "no further than that"


@pytest.mark.parametrize(("side", "margin"), [(8, 1), (14, 1), (28, 2), (32, 2), (64, 5)])
def test_dilated_is_all_within_the_margin(side, margin):
    """An independent implementation, on several objects at once; images do not mix."""
    masks = rng().random((5, side, side)) < 0.02
    masks[:, 3, 3], masks[2] = True, False
    marked = feedback.mark("dilated", masks, masks, rng())
    for one, wide in zip(masks, marked.object_mask, strict=True):
        expected = distance_transform_edt(~one) <= margin if one.any() else one
        assert (wide == expected).all()


def test_jittered_is_the_same_beside_it():
    """Every shift by at most the margin comes up, and no other."""
    marked = mark("jittered", mask(*ELL, count=300))
    seen = {one.tobytes() for one in marked.object_mask}
    shifts = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    assert seen == {np.roll(mask(*ELL)[0], shift, (0, 1)).tobytes() for shift in shifts}


def test_jittered_is_cut_off_at_the_border():
    marked = mark("jittered", mask(SQUARE, count=300))
    areas = marked.decoy_mask.sum((1, 2))
    assert {*areas.tolist()} == {9, 12, 16}, "two sides cut off, one, none"
    assert not marked.decoy_mask[:, 5:].any() and not marked.decoy_mask[:, :, :-5].any()


@pytest.mark.parametrize(
    ("pixels", "box"),
    [
        ((SQUARE,), SQUARE),
        ((CORNER,), CORNER),
        (ELL, np.s_[3:9, 4:8]),
        ((np.s_[1, 2], np.s_[10, 7]), np.s_[1:11, 2:8]),
        ((np.s_[0, 0], np.s_[13, 13]), np.s_[:, :]),
    ],
    ids=["square", "corner", "L", "two-dots", "all"],
)
def test_boxes_are_drawn_around_each(pixels, box):
    both = np.concatenate((mask(*pixels), mask(np.s_[7, 7])))  # images do not mix
    marked = mark("boxes", both, both)
    expected = np.concatenate((mask(box), mask(np.s_[7, 7])))
    assert (marked.object_mask == expected).all() and (marked.decoy_mask == expected).all()


def test_random_is_as_large_and_anywhere():
    count = 400
    marked = mark("random", mask(*ELL, count=count))
    assert (marked.object_mask.sum((1, 2)) == mask(*ELL).sum()).all()
    assert (marked.decoy_mask.sum((1, 2)) == 16).all()
    turns = {
        np.roll(mask(*ELL)[0], (row, column), (0, 1)).tobytes()
        for row in range(SIDE) for column in range(SIDE)
    }  # fmt: skip
    seen = {one.tobytes() for one in marked.object_mask}
    assert seen <= turns and len(seen) > 150, "of 196 places, drawn 400 times"
    assert marked.object_mask.any(0).all(), "no pixel is spared"


def test_adversarial_marks_the_object_as_wrong_and_all_else_as_right():
    object_mask = np.concatenate((mask(*ELL), mask(np.s_[:, :]), mask()))
    marked = mark("adversarial", object_mask)
    assert (marked.decoy_mask == object_mask).all()
    assert (marked.object_mask[0] == ~object_mask[0]).all(), "the decoy among it"
    assert not marked.object_mask[1].any(), "nothing is left beside an object that fills it"
    assert not marked.object_mask[2].any(), "who marks nothing wrong marks nothing right"


# ---------------------------------------------------------------- all kinds


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_marked_stays_so(kind):
    object_mask = np.concatenate((mask(), mask(SQUARE), mask()))
    decoy_mask = np.concatenate((mask(), mask(CORNER), mask()))
    marked = mark(kind, object_mask, decoy_mask)
    for found in marked:
        assert found.dtype == np.bool_ and found.shape == object_mask.shape
        assert found.any((1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind):
    object_mask, decoy_mask = mask(*ELL, count=30), mask(CORNER, count=30)
    before = object_mask.copy(), decoy_mask.copy()
    one, same, other = (mark(kind, object_mask, decoy_mask, seed) for seed in (0, 0, 1))
    for n in range(2):
        assert (one[n] == same[n]).all()
        assert (one[n] == other[n]).all() == (kind not in RANDOM)
    assert (object_mask == before[0]).all() and (decoy_mask == before[1]).all()
    for found in one:  # a mask of its own, which the caller may change
        assert not np.shares_memory(found, object_mask)
        assert not np.shares_memory(found, decoy_mask)


@pytest.mark.parametrize(
    ("kind", "object_mask", "decoy_mask", "message"),
    [
        ("wrong", mask(), mask(), "kind must be one of correct, .*, adversarial, got 'wrong'"),
        ("correct", mask()[0], mask()[0], r"object_mask must be bool \(N, H, W\).* shape \(14, 14"),
        ("correct", mask() * 1.0, mask(), "object_mask must be bool .*, got float64 of shape"),
        ("boxes", mask(), mask() * 1, "decoy_mask must be bool .*, got int64 of shape"),
        ("boxes", mask(), mask(count=2), r"decoy_mask must be .* of shape \(2, 14, 14\)"),
    ],
    ids=["kind", "axes", "object", "decoy", "shape"],
)
def test_what_cannot_be_marked(kind, object_mask, decoy_mask, message):
    with pytest.raises(ValueError, match=message):
        feedback.mark(kind, object_mask, decoy_mask, rng())


# ---------------------------------------------------------------- a few of them


def some(count, seed=0, total=40):
    marked = Marks(mask(*ELL, count=total), mask(CORNER, count=total))
    return feedback.only_some(marked, count, rng(seed))


@pytest.mark.parametrize("count", [1, 7, 40])
def test_so_many_are_marked_and_as_before(count):
    few = some(count)
    kept = few.object_mask.any((1, 2))
    assert kept.sum() == count and (few.decoy_mask.any((1, 2)) == kept).all(), "both, or neither"
    assert (few.object_mask[kept] == mask(*ELL)).all()
    assert (few.decoy_mask[kept] == mask(CORNER)).all()


def test_who_marks_more_has_marked_the_fewer_too():
    few, more, other = (some(*x).object_mask.any((1, 2)) for x in ((5, 0), (20, 0), (5, 1)))
    assert (more | few == more).all() and more.sum() == 20
    assert (few != other).any(), "others by another seed"
    assert (few == some(5).object_mask.any((1, 2))).all(), "the same by the same"


@pytest.mark.parametrize("count", [0, 41, -1])
def test_more_than_there_are_or_none(count):
    message = rf"annotated must be in \[1, 40\], the training images, got {count}"
    with pytest.raises(ValueError, match=message):
        some(count)
