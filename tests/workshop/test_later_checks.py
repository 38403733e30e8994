"""Checks of notebooks 5 to 7 that are no table of cases: each wrong answer is told of by name."""

from __future__ import annotations

import math

import pytest
import torch

from xblcore.workshop import checks_gaming, checks_in_the_loop, checks_measuring, hand_maps

FIVE_LEFT = [[6, 0, 0, 4], [0] * 4, [0] * 4, [0] * 4]
BESIDE = [[5, 5, 0, 0], [0] * 4, [0] * 4, [0] * 4]
CHOICES = {"stamp": "wrong", "unknown": "object", "outline": "wrong", "touching": "object"}
METRICS = {
    "blurred": "distance focus", "touching": "energy", "shape": "iou", "swappable": "flip rate",
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda cam, distance: 1.0 if not cam.any() else FOCUS(cam, distance), "should be NaN"),
        (lambda cam, distance: FOCUS(cam, distance).nan_to_num(0), "should be NaN and is 0"),
        (lambda cam, distance: 1 / (cam.sum() > 0) * FOCUS(cam, distance), None),
        (lambda cam, distance: FOCUS(cam, distance) if cam.any() else None, "TypeError"),
        (lambda cam, distance: FOCUS(cam, distance) if cam.any() else [][1], "IndexError"),
    ],
    ids=["one", "zero", "nan by division", "none", "index"],
)
def test_a_dead_map_has_no_focus(function, message):
    feedback = checks_measuring.distance_focus(function)
    assert feedback.passed is (message is None)
    assert (message or "NaN") in str(feedback)


FOCUS = checks_measuring._FOCUS.right


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ((0.8, 0.25, 0.4), None),
        ((..., 0.25, 0.4), "blank"),
        ((0.8, 0.6, 0.4), "`iou`: it should be 0.25 and is 0.6"),
        ((0.8, 0.25, 0.2), "`attribution_distance`"),
        ((8, 0.25, 0.4), "`energy`"),
        (("much", 0.25, 0.4), "✗ Not yet: `energy` should be made of numbers"),
    ],
)
def test_numbers_by_hand(answers, message):
    feedback = checks_measuring.metrics_by_hand(*answers)
    assert feedback.passed is (message is None)
    assert (message or "by a column") in str(feedback)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (FIVE_LEFT, BESIDE, None),
        (torch.tensor(FIVE_LEFT), torch.tensor(BESIDE), None),
        (..., BESIDE, "blank"),
        ([[6, ...]], BESIDE, "blank"),
        (BESIDE, FIVE_LEFT, "energy does not prefer"),
        (hand_maps.NEAR, hand_maps.FAR, "energy does not prefer"),  # a tie is no preference
        (hand_maps.NEAR, hand_maps.MOSTLY_OBJECT, "distance focus does not prefer"),
        (hand_maps.DEAD, BESIDE, "dead CAM"),
        ([[1, 2]], BESIDE, r"shape (4, 4) and has (1, 2)"),
        ([[-1, 0, 0, 0]] * 4, BESIDE, "at least 0"),
        ([[math.nan, 0, 0, 0]] * 4, BESIDE, "at least 0"),
    ],
)
def test_maps_on_which_two_metrics_quarrel(first, second, message):
    feedback = checks_measuring.opposed(first, second)
    assert feedback.passed is (message is None)
    assert (message or "Each prefers another map") in str(feedback)


@pytest.mark.parametrize(
    ("check", "right"),
    [(checks_in_the_loop.which_mark, CHOICES), (checks_measuring.which_metric, METRICS)],
    ids=["mark", "metric"],
)
def test_choices_are_told_why(check, right):
    assert check(right).passed
    assert "blank at" in str(check(dict.fromkeys(right, ...)))
    for name in right:
        others = set(right.values()) - {right[name]}
        for other in others:
            feedback = check(right | {name: other})
            assert not feedback.passed and f"`{name}`" in feedback.message
            assert len(feedback.hint) > 40
        assert "each once" in str(check({k: v for k, v in right.items() if k != name}))
    for nonsense in (None, ..., 3, [], right | {"more": "wrong"}, dict.fromkeys(right, "both")):
        assert not check(nonsense).passed


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[3, -2], [-1, 0]], None),
        ([[3, -1], [-1, -1]], "the weights above"),
        ([[6, -2], [-2, -2]], "or a multiple"),
        (torch.tensor([[2.5, 0.0], [0.0, -2.5]]), None),
        ([[2, -2], [0, 0]], "the logit is 4"),
        ([[3, 0], [0, 0]], "the mean of your weights is 0.75"),
        (..., "blank"),
        ([[..., -1], [-1, -1]], "blank"),
        ([[3, -1, -1, -1]], "2 x 2"),
        ([[math.inf, -1], [-1, -1]], "2 x 2"),
        ("text", "2 rows"),
    ],
)
def test_a_grad_cam_is_blind_or_is_not(weights, message):
    feedback = checks_gaming.blind(weights)
    assert feedback.passed is (message is None)
    assert (message or "Grad-CAM nothing") in str(feedback)


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (lambda e: ..., "blank"),
        (lambda e: None, "blank"),
        (lambda e: torch.tensor([True, False]), "returned a Tensor, not one answer"),
        (lambda e: [][1], "IndexError"),
        (lambda e: True, "a cured model is guilty"),
        (lambda e: e.grad_cam_wrong > 0.2, "Grad-CAM alone is clean"),
        (lambda e: e.flip_rate > 0.2, "TypeError"),
        (lambda e: (e.flip_rate or 0) > 0.2, "nobody measured the flips"),
        (
            lambda e: (e.flip_rate or 0) > 0.2 or e.held_out_wrong > 0.2,
            "none of whose answers flip",
        ),
        (
            lambda e: e.flip_rate > 0.2 if e.flip_rate else e.held_out_wrong > 0.2,
            "none of whose answers flip",
        ),
        (lambda e: e.held_out_wrong > 0.2, "all of whose maps are clean"),
        (lambda e: e.held_out_wrong > 0.1 or (e.flip_rate or 0) > 0.2, "an honest model"),
        (lambda e: e.dead > 0.5 if e.flip_rate is None else e.flip_rate > 0.2, "nobody measured"),
        (..., "blank"),
    ],
)
def test_a_detector_is_told_of_the_model_it_misjudges(detector, message):
    feedback = checks_gaming.relies_on_decoy(detector)
    assert not feedback.passed and feedback.hint
    assert message in str(feedback)
    assert checks_gaming.trusted(detector) is checks_gaming._judge


def test_the_detector_of_the_workshop_passes_its_own_check():
    assert checks_gaming.relies_on_decoy(checks_gaming._judge).passed
    assert checks_gaming.trusted(checks_gaming._judge) is checks_gaming._judge
