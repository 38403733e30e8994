"""Checks of notebook 1: what a shortcut is, and how reliance and recovery are measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback

GREYS = np.arange(255, 30, -25)  # of the classes 0 to 8
CLASS_OF_PATCH = Exercise(
    name="class_of_patch",
    right=lambda grey: (255 - grey) // 25,
    cases=(
        Case((255,), 0, "the brightest patch, 255"),
        Case((205,), 2, "a patch of grey value 205"),
        Case((30,), 9, "the darkest patch, 30"),
        Case((GREYS,), np.arange(9), "all patches at once"),
    ),
    done="ten classes of garments, told apart without looking at a single garment.",
    hint="Class 0 has 255, and each class is 25 darker than the one before: how many such steps "
    "below 255 is a patch?",
    # What a function written for one number runs into: int(), if, a dict, round().
    stops={
        "array": "It works for one number; `grey` may also be an array of them. Use arithmetic "
        "alone, which takes all of an array at once; for whole numbers there is `//`."
    },
    slips=(
        Slip(
            lambda grey: 255 - 25 * np.asarray(grey),
            "this is the rule from class to grey value; the other way round is wanted.",
        ),
        Slip(
            lambda grey: np.asarray(grey) / 25,
            "this counts the steps of 25 up from black; the classes count down from 255.",
        ),
        Slip(lambda grey: 255 - np.asarray(grey), "the difference to 255 is still in grey values."),
    ),
)

_BEFORE, _AFTER = torch.tensor([3, 3, 7, 1, 0, 9, 2, 2]), torch.tensor([3, 5, 7, 1, 4, 9, 2, 8])
FLIP_RATE = Exercise(
    name="flip_rate",
    right=lambda before, after: (before != after).float().mean(),
    cases=(
        Case((_BEFORE, _AFTER), 3 / 8, "eight answers of which three change"),
        Case((_BEFORE, _BEFORE), 0.0, "answers that stay the same"),
        Case((torch.tensor([1, 2]), torch.tensor([2, 1])), 1.0, "two answers that both change"),
    ),
    done="nothing but the decoy changed, so the decoy is why these answers changed. No label and "
    "no explanation is needed for that.",
    hint="Compare the two tensors element by element; the mean of a comparison, as a float, is a "
    "share.",
    slips=(
        Slip(
            lambda before, after: (before == after).float().mean(),
            "this is the share of answers that stay; those that change are wanted.",
        ),
        Slip(
            lambda before, after: (before != after).sum(),
            "this is how many answers change; a share of all of them is wanted.",
        ),
        Slip(
            lambda before, after: (before - after).float().abs().mean(),
            "class 9 is not further from class 0 than class 1 is: ask only whether an answer "
            "changes, not by how much.",
        ),
        Slip(
            lambda before, after: (before - after).float().mean(),
            "class 9 is not further from class 0 than class 1 is: ask only whether an answer "
            "changes, not by how much.",
        ),
    ),
)

RECOVERY = Exercise(
    name="recovery",
    right=lambda method, floor, ceiling: (method - floor) / (ceiling - floor),
    cases=(
        Case((0.7, 0.4, 0.8), 0.75, "0.7, between a floor of 0.4 and a ceiling of 0.8"),
        Case((0.4, 0.4, 0.8), 0.0, "a method that is no better than the floor"),
        Case((0.9, 0.4, 0.8), 1.25, "a method above the ceiling"),
        Case((0.3, 0.4, 0.8), -0.25, "a method below the floor"),
    ),
    done="0 is no better than plain training, 1 is as good as if there had been no decoy.",
    hint="What was won, divided by what there was to win. Below 0 and above 1 are possible.",
    slips=(
        Slip(
            lambda method, floor, ceiling: method / ceiling,
            "this is relative to the ceiling alone; what plain training reaches is no merit of "
            "the method.",
        ),
        Slip(
            lambda method, floor, ceiling: method - floor,
            "this is what was won, in accuracy; relative to what there was to win it says more.",
        ),
        Slip(
            lambda method, floor, ceiling: (ceiling - method) / (ceiling - floor),
            "this is the share that is still lost; what was won back is wanted.",
        ),
        Slip(
            lambda method, floor, ceiling: min(1, max(0, (method - floor) / (ceiling - floor))),
            "keep what lies below 0 and above 1: hiding it would hide a method that does harm.",
        ),
    ),
)


def class_of_patch(function: Any) -> Feedback:
    """Check the class of a patch, by its grey value."""
    return CLASS_OF_PATCH.check(function)


def flip_rate(function: Any) -> Feedback:
    """Check the share of answers that change."""
    return FLIP_RATE.check(function)


def recovery(function: Any) -> Feedback:
    """Check the share of the lost accuracy that is won back."""
    return RECOVERY.check(function)
