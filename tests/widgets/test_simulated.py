"""Simulated strokes: near the truth, never the truth itself, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from xblcore.widgets.simulated import masks_of, simulate, strokes_over
from xblcore.widgets.strokes import draw


def scene() -> dict[str, np.ndarray]:
    masks = {name: np.zeros((32, 32), bool) for name in ("square", "bar", "corner", "two")}
    masks["square"][8:16, 12:20] = True
    masks["bar"][10:14, 4:28] = True
    masks["corner"][:4, 28:] = True
    masks["two"][2:8, 2:8] = masks["two"][20:30, 20:30] = True
    return masks


def iou(one: np.ndarray, two: np.ndarray) -> float:
    return float((one & two).sum() / (one | two).sum())


def drawn(mask: np.ndarray, seed: int, jitter: float) -> np.ndarray:
    found = np.zeros_like(mask)
    for stroke in strokes_over(mask, "wrong", generator=np.random.default_rng(seed), jitter=jitter):
        draw(found, stroke)
    return found


@pytest.mark.parametrize("name", scene())
def test_a_steady_hand_covers_most_of_a_region_and_little_else(name):
    assert iou(drawn(scene()[name], 0, 0.0), scene()[name]) > 0.7


@pytest.mark.parametrize("name", scene())
def test_a_jittery_hand_is_worse_but_not_lost(name):
    steady = iou(drawn(scene()[name], 0, 0.0), scene()[name])
    jittery = [iou(drawn(scene()[name], seed, 0.2), scene()[name]) for seed in range(20)]
    assert 0.45 < np.mean(jittery) < steady
    assert len(set(jittery)) > 10


def test_a_bar_is_one_stroke_along_its_length():
    (stroke,) = strokes_over(
        scene()["bar"], "object", generator=np.random.default_rng(0), jitter=0.0
    )
    assert stroke.radius == 2.0 and stroke.layer == "object"
    assert {y for _, y in stroke.points} == {12.0}
    ends = sorted((stroke.points[0][0], stroke.points[-1][0]))
    assert ends[0] < 8 and ends[1] > 24


def test_specks_are_not_noticed_unless_there_is_nothing_else():
    mask = scene()["square"]
    mask[0, 0] = True
    assert len(strokes_over(mask, "wrong", generator=np.random.default_rng(0))) == 1
    speck = np.zeros((8, 8), bool)
    speck[3, 3] = True
    assert len(strokes_over(speck, "wrong", generator=np.random.default_rng(0))) == 1
    assert strokes_over(speck & False, "wrong", generator=np.random.default_rng(0)) == ()


def test_as_many_images_as_asked_for_of_those_with_a_mask():
    masks = np.zeros((50, 16, 16), bool)
    masks[::2, 4:9, 4:9] = True
    strokes = simulate(masks, "wrong", generator=np.random.default_rng(1), count=10)
    assert len(strokes) == 10 and all(n % 2 == 0 for n in strokes)
    assert strokes == simulate(masks, "wrong", generator=np.random.default_rng(1), count=10)
    assert strokes != simulate(masks, "wrong", generator=np.random.default_rng(2), count=10)
    assert len(simulate(masks, "wrong", generator=np.random.default_rng(1), count=99)) == 25
    found = masks_of(strokes, masks.shape, "wrong")
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == set(strokes)
    assert not masks_of(strokes, masks.shape, "object").any()


def test_what_simulate_refuses():
    masks = np.zeros((1, 4, 4), bool)
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="masks must be boolean"):
        simulate(masks[0], "wrong", generator=generator)
    with pytest.raises(ValueError, match="count and jitter must be at least 0"):
        simulate(masks, "wrong", generator=generator, jitter=-1.0)
    with pytest.raises(ValueError, match="layer must be one of"):
        simulate(masks, "sky", generator=generator)
