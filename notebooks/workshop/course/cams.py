"""Notebook 2: Grad-CAM and HiResCAM from features and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from course.exercise import Case, Exercise

# Two feature maps of 2x2 cells, and the derivatives of the score with respect to them.
FEATURES = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 3.0], [1.0, 1.0]]])
GRADIENTS = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
_MORE = torch.arange(36.0).view(2, 3, 2, 3) * 7 % 11
_CASES = (
    Case("the example of this notebook", (FEATURES, GRADIENTS)),
    Case("three feature maps of 2x3 cells", (_MORE[0], _MORE[1] - 5)),
)


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    return (weights[:, None, None] * features).sum(0)


def _grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    return _weighted(features, gradients.mean((1, 2)))


def _hires_cam(features: Tensor, gradients: Tensor) -> Tensor:
    return (gradients * features).sum(0)


grad_cam = Exercise(
    "grad_cam",
    solution=_grad_cam,
    cases=_CASES,
    success="a weighted sum of the feature maps, with one weight per map.",
    hint="Average each gradient over its cells: K weights. Multiply each feature map by its weight "
    "and add up the maps. Which shape must the weights have for that?",
    mistakes=(
        ("HiResCAM", _hires_cam, "A good idea, but Grad-CAM averages the gradients first."),
        ("Grad-CAM after its ReLU", lambda f, g: _grad_cam(f, g).relu(), "Keep the sign here."),
        ("Grad-CAM with sums as weights", lambda f, g: _weighted(f, g.sum((1, 2))),
         "A weight is the mean of the gradient over the cells."),
    ),
)  # fmt: skip

hires_cam = Exercise(
    "hires_cam",
    solution=_hires_cam,
    cases=_CASES,
    success="each cell has its own contribution; for a linear head they add up to the score.",
    hint="Multiply features and gradients element by element, then add up the feature maps only.",
    mistakes=(
        ("Grad-CAM", _grad_cam, "Do not average the gradients here."),
        ("HiResCAM after a ReLU", lambda f, g: _hires_cam(f, g).relu(),
         "Keep the sign: a cell can be evidence against the class."),
    ),
)  # fmt: skip
