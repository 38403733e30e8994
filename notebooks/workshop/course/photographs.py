"""Notebook 5: masks for another network, and a control that uses no explanation."""

from __future__ import annotations

from functools import partial

import torch

from course import overlap
from course.exercise import Case, Exercise

_FEATURES = torch.tensor([[1.0, -2, 0, 2, 1, 1], [3, 0, -1, 0, 1, 2]]).view(2, 2, 1, 3)
_PENALTY = torch.tensor([[[0.0, 0.5, 1.0]], [[1.0, 0.25, 0.0]]])

margin = partial(overlap.margin, expected=5)  # of a network with a third convolution

activation = Exercise(
    "activation",
    solution=lambda features, penalty: (features.abs().sum(1) * penalty).sum((1, 2)).mean(),
    gradient_to=0,
    cases=(
        Case("two images of 1x3 cells", (_FEATURES, _PENALTY)),
        Case("one image of 3x1 cells", (_FEATURES[:1].mT, _PENALTY[:1].mT)),
    ),
    success="no gradient of a score, and so no explanation; the rest is that of XBL-D+.",
    hint="As the last two lines of XBL-D+, with the features in place of gradient * features.",
    mistakes=(
        ("a sum in which both signs cancel", lambda f, d: (f.sum(1) * d).sum((1, 2)).mean(),
         "Use .abs() before you add up the feature maps."),
        ("absolute values after the sum over the feature maps",
         lambda f, d: (f.sum(1).abs() * d).sum((1, 2)).mean(),
         "Here each feature map counts by itself: .abs() first, then .sum(1)."),
    ),
)  # fmt: skip
