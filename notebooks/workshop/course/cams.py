"""Notebook 2: Grad-CAM and HiResCAM from features and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from course.exercise import Case, Exercise

# Two feature maps of 2x2 cells, and the derivatives of the score with respect to them.
FEATURES = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 3.0], [1.0, 1.0]]])
GRADIENTS = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
_MORE_FEATURES = torch.tensor(
    [[[1.0, 2, 0], [3, 0, 1]], [[0, 1, 4], [2, 2, 0]], [[5, 0, 1], [0, 1, 2]]]
)
_MORE_GRADIENTS = torch.tensor(
    [[[1.0, -2, 0], [4, 3, 0]], [[2, 0.5, 1], [0, 1, 1.5]], [[-1, 0, -2], [0, -3, 0]]]
)
_CASES = (
    Case("the example of this notebook", (FEATURES, GRADIENTS)),
    Case("three feature maps of 2x3 cells", (_MORE_FEATURES, _MORE_GRADIENTS)),
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
        ("Grad-CAM with positive gradients only",
         lambda f, g: _weighted(f, g.relu().mean((1, 2))),
         "Negative gradients count too: a feature map can be evidence against the class."),
        ("Grad-CAM with absolute gradients", lambda f, g: _weighted(f, g.abs().mean((1, 2))),
         "Keep the sign: a feature map can be evidence against the class."),
        ("the mean of the weighted maps", lambda f, g: _grad_cam(f, g) / len(f), "Add them up."),
        ("the gradients weighted by mean features",
         lambda f, g: _weighted(g, f.mean((1, 2))), "Swap the two."),
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
        ("one sum over everything", lambda f, g: (f * g).sum(), "Keep the cells apart."),
        ("sums over the cells", lambda f, g: (f * g).sum((1, 2)),
         "Add up the feature maps instead and keep the cells."),
        ("HiResCAM after a ReLU", lambda f, g: _hires_cam(f, g).relu(),
         "Keep the sign: a cell can be evidence against the class."),
        ("the sum of the gradients", lambda f, g: g.sum(0),
         "A gradient alone is no contribution; multiply it by the feature."),
    ),
)  # fmt: skip
