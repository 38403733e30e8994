"""Notebook 1: reliance on a shortcut, and recovery from it."""

from __future__ import annotations

import numpy as np
import torch

from course.exercise import Case, Exercise

GREYS = np.arange(255, 29, -25)  # of the classes 0 to 9

class_of_patch = Exercise(
    "class_of_patch",
    solution=lambda grey: (255 - grey) // 25,
    cases=(
        Case("the brightest patch, 255", (255,)),
        Case("a patch of grey value 205", (205,)),
        Case("the patches of all classes at once", (GREYS,)),
    ),
    success="this classifies ten kinds of garments without looking at a single garment.",
    hint="Class 0 has the value 255, and each class is 25 darker than the one before. How many "
    "steps of 25 below 255 is a patch?",
    errors={  # int(), if, a dictionary or round() on an array
        "array": "`grey` may also be an array. Use arithmetic only, which works on all of its "
        "elements at once; `//` divides and rounds down."
    },
    mistakes=(
        ("the grey value of a class", lambda grey: 255 - 25 * np.asarray(grey),
         "The rule is needed the other way round: from the grey value to the class."),
        ("steps of 25 up from black", lambda grey: np.asarray(grey) / 25,
         "The classes count down from 255."),
    ),
)  # fmt: skip

_BEFORE, _AFTER = torch.tensor([3, 3, 7, 1, 0, 9, 2, 2]), torch.tensor([3, 5, 7, 1, 4, 9, 2, 8])
_ORDER = "Class 9 is not further from class 0 than class 1 is. Ask only whether it changes."

flip_rate = Exercise(
    "flip_rate",
    solution=lambda before, after: (before != after).float().mean(),
    cases=(
        Case("eight predictions of which three change", (_BEFORE, _AFTER)),
        Case("predictions that stay the same", (_BEFORE, _BEFORE)),
        Case("two predictions that both change", (torch.tensor([1, 2]), torch.tensor([2, 1]))),
    ),
    success="only the decoy changed, so the decoy is why these predictions changed.",
    hint="Compare the two tensors element by element. The mean of a comparison is a share.",
    mistakes=(
        ("the share of predictions that stay", lambda a, b: (a == b).float().mean(),
         "The share of those that change is needed."),
        ("the number of predictions that change", lambda a, b: (a != b).sum(),
         "Divide it by the number of predictions."),
        ("the mean difference of class numbers", lambda a, b: (a - b).float().abs().mean(), _ORDER),
        ("the mean difference of class numbers, with signs",
         lambda a, b: (a - b).float().mean(), _ORDER),
    ),
)  # fmt: skip

recovery = Exercise(
    "recovery",
    solution=lambda method, floor, ceiling: (method - floor) / (ceiling - floor),
    cases=(
        Case("0.7 between a floor of 0.4 and a ceiling of 0.8", (0.7, 0.4, 0.8)),
        Case("a method that is no better than the floor", (0.4, 0.4, 0.8)),
        Case("a method above the ceiling", (0.9, 0.4, 0.8)),
        Case("a method below the floor", (0.3, 0.4, 0.8)),
    ),
    success="0 is no better than plain training; 1 is as good as if there had been no decoy.",
    hint="Divide the gain by the largest gain possible. Below 0 and above 1 can happen.",
    mistakes=(
        ("the accuracy relative to the ceiling", lambda m, floor, ceiling: m / ceiling,
         "Plain training already reaches the floor, so subtract it from both."),
        ("the gain in accuracy", lambda m, floor, ceiling: m - floor,
         "Relative to the largest gain possible it says more."),
        ("the share that is still lost", lambda m, low, high: (high - m) / (high - low),
         "The share that was recovered is needed."),
        ("a recovery cut off at 0 and 1",
         lambda m, floor, ceiling: min(1, max(0, (m - floor) / (ceiling - floor))),
         "Keep values below 0: they show a method that does harm."),
    ),
)  # fmt: skip
