"""Annotations of varying quality, by hand on small masks."""

from __future__ import annotations

import numpy as np
import pytest

from xblcore.study import feedback
from xblcore.study.feedback import KINDS, Marks, Mask

SIDE = 14  # of the images here, so that a hand is imprecise by 1 pixel
RANDOM = ("incomplete", "jittered", "random")
CORNER = np.s_[:4, -4:]  # where a decoy lies
ELL = (np.s_[3:9, 4], np.s_[8, 4:8])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mask(*pixels: object, count: int = 1) -> Mask:
    """``count`` images with the same pixels set."""
    one = np.zeros((SIDE, SIDE), bool)
    for pixel in pixels:
        one[pixel] = True
    return np.repeat(one[None], count, axis=0)


def mark(kind: str, object_mask: Mask, seed: int = 0) -> Marks:
    return feedback.mark(kind, object_mask, mask(CORNER, count=len(object_mask)), rng(seed))


def shifted(reach: range) -> set[bytes]:
    """All cyclic shifts of :data:`ELL` in both directions."""
    return {np.roll(mask(*ELL)[0], (r, c), (0, 1)).tobytes() for r in reach for c in reach}


@pytest.mark.parametrize(
    ("kind", "object_mask", "expected_object", "expected_decoy"),
    [
        ("correct", mask(*ELL), mask(*ELL), mask(CORNER)),
        ("object_only", mask(*ELL), mask(*ELL), mask()),
        ("decoy_only", mask(*ELL), mask(), mask(CORNER)),
        ("dilated", mask(np.s_[6, 6]), mask(np.s_[5:8, 6], np.s_[6, 5:8]),
         mask(np.s_[:4, -5:], np.s_[:5, -4:])),
        ("boxes", mask(*ELL), mask(np.s_[3:9, 4:8]), mask(CORNER)),
        ("boxes", mask(np.s_[1, 2], np.s_[10, 7]), mask(np.s_[1:11, 2:8]), mask(CORNER)),
        ("adversarial", mask(*ELL), ~mask(*ELL), mask(*ELL)),
        ("adversarial", mask(np.s_[:, :]), mask(), mask(np.s_[:, :])),
    ],
)  # fmt: skip
def test_deterministic_kinds_by_hand(
    kind: str, object_mask: Mask, expected_object: Mask, expected_decoy: Mask
) -> None:
    found = mark(kind, object_mask)
    np.testing.assert_array_equal(found.object_mask, expected_object)
    np.testing.assert_array_equal(found.decoy_mask, expected_decoy)


def test_incomplete_masks_are_a_half_cut_off_by_a_line() -> None:
    whole = mask(*ELL, count=20)
    found = mark("incomplete", whole)
    assert not (found.object_mask & ~whole).any()
    assert (found.object_mask.sum((1, 2)) == 5).all()  # of 9
    assert (found.decoy_mask.sum((1, 2)) == 8).all()
    angles = np.deg2rad(np.arange(0, 360, 0.5))
    directions = np.stack((np.sin(angles), np.cos(angles)))  # (2, angles)
    for kept, one in zip(found.object_mask, whole, strict=True):
        here, there = np.argwhere(kept) @ directions, np.argwhere(one & ~kept) @ directions
        assert (here.max(0) <= there.min(0) + 1e-2).any()
    assert len(np.unique(found.object_mask, axis=0)) > 3  # in several directions


def test_jittered_masks_are_shifted_by_at_most_the_margin() -> None:
    found = mark("jittered", mask(*ELL, count=300))
    assert {one.tobytes() for one in found.object_mask} == shifted(range(-1, 2))
    assert set(found.decoy_mask.sum((1, 2)).tolist()) == {9, 12, 16}  # cut off at the border
    assert not found.decoy_mask[:, 5:].any()


def test_random_masks_are_as_large_and_anywhere() -> None:
    found = mark("random", mask(*ELL, count=400))
    seen = {one.tobytes() for one in found.object_mask}
    assert seen <= shifted(range(SIDE))
    assert len(seen) > 150  # of 196 places
    assert (found.decoy_mask.sum((1, 2)) == 16).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_pure_and_repeatable_and_keeps_unmarked_images(kind: str) -> None:
    blank = mask()
    object_mask = np.concatenate((blank, mask(*ELL, count=30), blank))
    decoy_mask = np.concatenate((blank, mask(CORNER, count=30), blank))
    before = object_mask.copy(), decoy_mask.copy()
    one, same, other = (feedback.mark(kind, object_mask, decoy_mask, rng(s)) for s in (0, 0, 1))
    for n in range(2):
        assert (one[n] == same[n]).all()
        assert (one[n] == other[n]).all() == (kind not in RANDOM)
        left_out = kind == ("decoy_only", "object_only")[n]
        assert one[n].any((1, 2)).tolist() == [False, *[not left_out] * 30, False]
        assert one[n].dtype == np.bool_
        assert not np.shares_memory(one[n], object_mask)
    assert (object_mask == before[0]).all()
    assert (decoy_mask == before[1]).all()


def test_some_images_are_annotated_and_more_of_them_include_fewer() -> None:
    whole = Marks(mask(*ELL, count=40), mask(CORNER, count=40))
    kept = {}
    for count, seed in ((1, 0), (7, 0), (40, 0), (7, 1)):
        found = feedback.only_some(whole, count, rng(seed))
        kept[count, seed] = found.object_mask.any((1, 2))
        assert kept[count, seed].sum() == count
        assert (found.object_mask[kept[count, seed]] == whole.object_mask[0]).all()
        assert (found.decoy_mask.any((1, 2)) == kept[count, seed]).all()
    assert not (kept[1, 0] & ~kept[7, 0]).any()
    assert (kept[7, 0] != kept[7, 1]).any()
    for count in (0, 41):
        with pytest.raises(ValueError, match=rf"annotated must be in \[1, 40\], .*, got {count}"):
            feedback.only_some(whole, count, rng())


@pytest.mark.parametrize(
    ("kind", "object_mask", "decoy_mask", "message"),
    [
        ("wrong", mask(), mask(), "kind must be one of correct, .*, adversarial, got 'wrong'"),
        ("correct", mask()[0], mask()[0], r"object_mask must be bool \(N, H, W\), .* \(14, 14\)"),
        ("boxes", mask(), mask(count=2), r"decoy_mask must be .* \(2, 14, 14\)"),
    ],
)
def test_bad_input(kind: str, object_mask: Mask, decoy_mask: Mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feedback.mark(kind, object_mask, decoy_mask, rng())
