"""Answers that are not functions: numbers, words, maps and marks."""

from __future__ import annotations

import math

import pytest
import torch
from course import marking, measuring, overlap, photographs, task

from xblcore import project
from xblcore.cam import receptive_field
from xblcore.data.folder import mask_path, write_mask

REST = [[0] * 4] * 3
FAR, BESIDE = [[6, 0, 0, 4], *REST], [[5, 5, 0, 0], *REST]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (FAR, BESIDE, None),
        (torch.tensor(FAR), torch.tensor(BESIDE), None),
        (..., BESIDE, "blank"),
        (FAR, [[5, ...]], "blank"),
        (BESIDE, FAR, "Energy does not"),
        (measuring.NEAR, measuring.FAR, "Energy does not"),  # equal
        (measuring.NEAR, measuring.MOSTLY_OBJECT, "Distance focus does not"),
        (measuring.ALL_ZERO, BESIDE, "not all zero"),
        ([[-1, 0, 0, 0]] * 4, BESIDE, "not negative"),
        ([[math.nan, 0, 0, 0]] * 4, BESIDE, "4 rows"),
        (FAR, "text", "4 rows"),
    ],
)
def test_two_metrics_disagree(first, second, message):
    feedback = measuring.disagree(first, second)
    assert feedback.passed is (message is None)
    assert (message or "They disagree") in repr(feedback)


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        ((0.8, 0.25, 0.4), None),
        ((..., 0.25, 0.4), "energy"),
        ((8, 0.25, 0.4), "energy"),
        ((0.8, 0.6, 0.4), "iou"),
        ((0.8, 0.25, "much"), "attribution_distance"),
    ],
)
def test_metrics_by_hand(answers, wrong):
    names = ("energy", "iou", "attribution_distance")
    feedback = measuring.by_hand(**dict(zip(names, answers, strict=True)))
    assert feedback.passed is (wrong is None)
    assert wrong is None or f"`{wrong}`" in feedback.message


@pytest.mark.parametrize(
    ("check", "network", "channels", "size"),
    [(overlap.margin, "small_cnn", 1, 28), (photographs.margin, "three_conv_cnn", 3, 32)],
)
def test_the_margin_is_that_of_the_library(check, network, channels, size):
    model = task.new_model(network, channels=channels, size=size)
    assert check(receptive_field(model, "features", (channels, size, size)).margin).passed
    assert not check(2).passed
    assert not check(...).passed


@pytest.mark.parametrize(
    ("check", "correct"),
    [
        (marking.which_mark,
         {"stamp": "wrong", "unknown": "object", "outline": "wrong", "touching": "object"}),
        (measuring.which_metric,
         {"blurred": "distance focus", "touching": "energy", "shape": "iou",
          "swappable": "flip rate"}),
    ],
)  # fmt: skip
def test_choices(check, correct):
    assert check(correct).passed
    assert not check(dict.fromkeys(correct, ...)).passed
    for name in correct:
        for other in {*correct.values(), "both", 3} - {correct[name]}:
            feedback = check(correct | {name: other})
            assert not feedback.passed
            assert f"`{name}`" in feedback.message
    for nonsense in (None, ..., 3, [], {"more": "wrong"}):
        assert not check(nonsense).passed


def test_painted_masks_come_back(examples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    data = {"train": examples}
    images, annotations = marking.folders(data)
    helped = marking.marks(data, "mine")  # nothing is marked yet
    assert torch.equal(helped.decoy_mask, marking.marks(data, "simulated").decoy_mask)
    assert "not marked anything" in capsys.readouterr().out
    mask = examples.decoy_mask[3].numpy()
    write_mask(mask_path(annotations, "03.png", "wrong"), mask)
    marked = marking.marks(data, "mine")
    assert torch.equal(marked.images, examples.images[: marking.COUNT])
    assert torch.equal(marked.labels, examples.labels[: marking.COUNT])
    assert marked.decoy_mask.flatten(1).any(1).nonzero()[:, 0].tolist() == [3]


def test_marks_count_where_they_are_asked_for(examples):
    data = {"train": examples}
    marked = marking.marks(data, "simulated")
    some = marking.at_hand(data, marked, "wrong", only=[2, 5])
    assert some.decoy_mask.flatten(1).any(1).nonzero()[:, 0].tolist() == [2, 5]
    assert not some.object_mask.any()
    assert marking.at_hand(data, marked, "object", only=[0]).object_mask[0].any()
