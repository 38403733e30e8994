"""Notebook 1: reliance on a shortcut, and recovery from it."""

from __future__ import annotations

import torch

from course.exercise import Case, Exercise

_BEFORE, _AFTER = torch.tensor([3, 3, 7, 1, 0, 9, 2, 2]), torch.tensor([3, 5, 7, 1, 4, 9, 2, 8])

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
        ("the mean difference of class numbers", lambda a, b: (a - b).float().abs().mean(),
         "Class 9 is not further from class 0 than class 1 is. Ask only whether it changes."),
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
    ),
)  # fmt: skip
