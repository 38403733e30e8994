"""Checks of notebook 2: Grad-CAM and HiResCAM from features and gradients, by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback

# The example of the notebook: two feature maps of 2x2 cells, and how the score changes with each.
FEATURES = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 3.0], [1.0, 1.0]]])
GRADIENTS = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
# Another one, of other numbers and another shape, so that no answer is right by accident.
_FEATURES = torch.tensor([[[1.0, 2.0, 0.0], [3.0, 0.0, 1.0]], [[0.0, 1.0, 4.0], [2.0, 2.0, 0.0]],
                          [[5.0, 0.0, 1.0], [0.0, 1.0, 2.0]]])  # fmt: skip
_GRADIENTS = torch.tensor([[[1.0, -2.0, 0.0], [4.0, 3.0, 0.0]], [[2.0, 0.5, 1.0], [0.0, 1.0, 1.5]],
                           [[-1.0, 0.0, -2.0], [0.0, -3.0, 0.0]]])  # fmt: skip
_PAIRS = (
    (FEATURES, GRADIENTS, "the example of this notebook"),
    (_FEATURES, _GRADIENTS, "three feature maps of 2x3 cells"),
)


def right_weights(gradients: Tensor) -> Tensor:
    """``(K,)``, the mean gradient of each feature map."""
    return gradients.mean((1, 2))


def right_grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """``(h, w)``, signed."""
    return (right_weights(gradients)[:, None, None] * features).sum(0)


def right_hires_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """``(h, w)``, signed."""
    return (gradients * features).sum(0)


NEURON_WEIGHTS = Exercise(
    name="neuron_weights",
    right=right_weights,
    cases=[Case((g,), right_weights(g), f"the gradients of {about}") for _, g, about in _PAIRS],
    done="one number a feature map. Where in the map the gradient was is forgotten from here on.",
    hint="gradients has shape (K, h, w). Average over the two axes of space and keep K.",
    slips=(
        Slip(
            lambda g: g.sum((1, 2)),
            "this is the sum over the cells; Grad-CAM takes their mean, here a quarter of it.",
        ),
        Slip(
            lambda g: g.mean(0),
            "this averages over the feature maps and keeps space; it is the other way round.",
        ),
        Slip(lambda g: g.mean(), "this averages over everything; each feature map has its own."),
        Slip(
            lambda g: g.abs().mean((1, 2)),
            "the sign is lost: a feature map may well speak against the class.",
        ),
        Slip(
            lambda g: g.relu().mean((1, 2)),
            "negative gradients belong to the mean as well; the ReLU comes at the end, on the map.",
        ),
        Slip(lambda g: g.amax((1, 2)), "this is the largest gradient; the mean is wanted."),
    ),
)

GRAD_CAM = Exercise(
    name="grad_cam",
    right=right_grad_cam,
    cases=[Case((f, g), right_grad_cam(f, g), about) for f, g, about in _PAIRS],
    done="a weighted sum of the feature maps, with one weight a map.",
    hint="Each feature map times its own weight, then added up over the maps. What shape must the "
    "K weights have to be multiplied with maps of shape (K, h, w)?",
    slips=(
        Slip(
            right_hires_cam,
            "you multiply cell by cell, before averaging: a good idea, but it is HiResCAM.",
        ),
        Slip(
            lambda f, g: right_grad_cam(f, g).relu(),
            "negative values are cut off already; keep the sign here, the ReLU comes later.",
        ),
        Slip(
            lambda f, g: (g.sum((1, 2))[:, None, None] * f).sum(0),
            "the weights are sums of the gradients; Grad-CAM takes means.",
        ),
        Slip(
            lambda f, g: (right_weights(g)[:, None, None] * f).mean(0),
            "the weighted feature maps are averaged; Grad-CAM adds them up.",
        ),
        Slip(
            lambda f, g: (f.mean((1, 2))[:, None, None] * g).sum(0),
            "features and gradients have changed places: the gradients are averaged.",
        ),
    ),
)

HIRES_CAM = Exercise(
    name="hires_cam",
    right=right_hires_cam,
    cases=[Case((f, g), right_hires_cam(f, g), about) for f, g, about in _PAIRS],
    done="each cell has what it contributed, and in a linear head the cells add up to the score.",
    hint="Multiply features and gradients element by element, then add up over the feature maps "
    "alone.",
    slips=(
        Slip(right_grad_cam, "this is Grad-CAM: the gradients must not be averaged here."),
        Slip(lambda f, g: (f * g).sum(), "this adds up everything; keep the cells apart."),
        Slip(
            lambda f, g: (f * g).sum((1, 2)),
            "this adds up over the cells and keeps the feature maps; it is the other way round.",
        ),
        Slip(
            lambda f, g: right_hires_cam(f, g).relu(),
            "negative values are cut off: a cell may well speak against the class.",
        ),
        Slip(lambda f, g: g.sum(0), "the features are missing: a gradient alone is no evidence."),
    ),
)

_CAMS = torch.tensor([[[3.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 5.0]]])
_MASKS = torch.tensor([[[True, False], [False, False]], [[False, False], [True, True]]])
SHARE_ON = Exercise(
    name="share_on",
    right=lambda cam, mask: (cam * mask).sum((1, 2)) / cam.sum((1, 2)),
    cases=(
        Case((_CAMS, _MASKS), torch.tensor([0.75, 0.75]), "two maps with 3 of 4 and 6 of 8 in it"),
        Case(
            (torch.tensor([[[2.0, 2.0, 4.0]]]), torch.tensor([[[True, False, False]]])),
            torch.tensor([0.25]),
            "a map of 1x3 cells",
        ),
    ),
    done="one number an image, the same whether a map is bright or dim.",
    hint="For each image: the sum of the map inside the mask, divided by the sum of the whole map. "
    "Both sums go over the axes (1, 2).",
    slips=(
        Slip(
            lambda cam, mask: (cam * mask).sum((1, 2)),
            "this is the sum inside the mask; a share of the whole map is wanted.",
        ),
        Slip(
            lambda cam, mask: (cam * mask).sum((1, 2)) / cam.sum(),
            "the sum of all maps together is below the line; each image has its own.",
        ),
        Slip(
            lambda cam, mask: (cam * mask).sum() / cam.sum(),
            "this is one number for all images; one for each is wanted.",
        ),
        Slip(
            lambda cam, mask: (cam * mask).mean((1, 2)),
            "this is the mean over the cells; a share of the map's own sum is wanted.",
        ),
    ),
)


def neuron_weights(function: Any) -> Feedback:
    """Check the weights of Grad-CAM."""
    return NEURON_WEIGHTS.check(function)


def grad_cam(function: Any) -> Feedback:
    """Check Grad-CAM before its ReLU."""
    return GRAD_CAM.check(function)


def hires_cam(function: Any) -> Feedback:
    """Check HiResCAM before its ReLU."""
    return HIRES_CAM.check(function)


def share_on(function: Any) -> Feedback:
    """Check the share of the attribution inside a mask."""
    return SHARE_ON.check(function)
