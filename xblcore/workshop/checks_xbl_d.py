"""Checks of notebook 4: XBL-D from scratch, its value and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xblcore.methods import Step
from xblcore.workshop import checks_distance
from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback

# Two images of two feature maps of 1x3 cells, and a linear head of three classes on them.
_FEATURES = torch.tensor([[1.0, 2, 0, 2, 1, 1], [3, 0, 1, 0, 1, 2]]).view(2, 2, 1, 3)
_HEAD = torch.tensor(
    [[1.0, 0, 2, 0, 1, 0], [0, -1, 1, 3, 0, 1], [-2, 1, 0, 1, 0, -1]]
).view(3, 2, 1, 3)  # fmt: skip
# Signs that leave contributions of both signs, between the cells and within one of them.
_SIGNS = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]])
_AWAY = torch.tensor([[[0.0, 0.5, 1.0]], [[1.0, 0.25, 0.0]]])


def right_xbl_d(features: Tensor, logits: Tensor, distance: Tensor, signs: Tensor) -> Tensor:
    """XBL-D as mass: HiResCAM of a random projection, weighted by the distance; a number."""
    score = (signs * (logits - logits.mean(1, keepdim=True))).sum()
    (gradient,) = torch.autograd.grad(score, features, create_graph=True)
    attribution = (gradient * features).sum(1).abs()  # (N, h, w)
    return (attribution * distance).sum((1, 2)).mean()


def _with_head(
    function: Callable[..., Any], features: Tensor, head: Tensor, distance: Tensor, signs: Tensor
) -> Any:
    """The learner's loss on a linear head, whose weights it must be able to train."""
    features = features.requires_grad_()
    logits = torch.einsum("nkuv,ckuv->nc", features, head)
    return function(features, logits, distance, signs)


def _variant(
    weigh: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """XBL-D with another last step, of gradient, features and distance."""

    def loss(features: Tensor, logits: Tensor, distance: Tensor, signs: Tensor) -> Tensor:
        score = (signs * (logits - logits.mean(1, keepdim=True))).sum()
        (gradient,) = torch.autograd.grad(score, features, create_graph=True)
        return weigh(gradient, features, distance)

    return loss


def _share(attribution: Tensor, distance: Tensor) -> Tensor:
    return checks_distance.right_mean_distance(attribution, distance).mean()


_ARGUMENTS = (_FEATURES, _HEAD, _AWAY, _SIGNS)
# The first image alone, its cells on a grid of 3x1.
_UPRIGHT = (_FEATURES[:1].mT, _HEAD.mT, _AWAY[:1].mT, _SIGNS[:1])
XBL_D = Exercise(
    name="xbl_d",
    right=right_xbl_d,
    call=_with_head,
    gradient_to=1,
    cases=(
        Case(
            _ARGUMENTS,
            _with_head(right_xbl_d, _FEATURES.clone(), *_ARGUMENTS[1:]).item(),
            "two images of 1x3 cells",
        ),
        Case(
            _UPRIGHT,
            _with_head(right_xbl_d, _UPRIGHT[0].clone(), *_UPRIGHT[1:]).item(),
            "one image of 3x1 cells",
        ),
    ),
    done="a loss that sees the map, and a gradient that reaches the weights which made it.",
    hint="Four steps: the gradient of the score by the features, recorded so that it can be "
    "differentiated again; what each cell contributes, added up over the feature maps, without its "
    "sign; the sum over the cells, weighted by the distance; the mean over the images.",
    # torch.autograd.grad returns a tuple, and a tuple times a tensor is an obscure error.
    stops={
        "tuple|converted to an index": "`torch.autograd.grad` returns a tuple, here of one tensor. "
        "Take the tensor out: `(gradient,) = ...`, or `[0]` behind the call."
    },
    no_gradient=(
        "the value is right, but no gradient reaches the head: it could be printed, never trained.",
        "A map is made of a gradient. To differentiate it once more, autograd must record how it "
        "was made: create_graph=True, and no .detach() or .item().",
    ),
    slips=(
        Slip(
            _variant(lambda g, f, d: ((g * f).sum(1) * d).sum((1, 2)).mean()),
            "the map has both signs, and plus and minus cancel: the loss could be low with all "
            "of the evidence off the object.",
            "Both signs are evidence here: .abs() before weighing.",
        ),
        Slip(
            _variant(lambda g, f, d: ((g * f).sum(1).relu() * d).sum((1, 2)).mean()),
            "relu drops the cells whose contribution is negative; for a projection with random "
            "signs they are evidence as well.",
            ".abs() instead of .relu().",
        ),
        Slip(
            _variant(
                lambda g, f, d: (
                    ((g.mean((2, 3), keepdim=True) * f).sum(1).abs() * d).sum((1, 2)).mean()
                )
            ),
            "this is Grad-CAM, whose mean over space hides where the head reads (notebook 2).",
            "Multiply gradient and features cell by cell.",
        ),
        Slip(
            _variant(lambda g, f, d: ((g * f).sum(1).abs() * d).sum()),
            "this adds up the images; their mean is wanted.",
        ),
        Slip(
            _variant(lambda g, f, d: ((g * f).sum(1).abs() * d).mean()),
            "this is the mean over the cells as well; they are added up.",
        ),
        Slip(
            _variant(lambda g, f, d: ((g * f).abs().sum(1) * d).sum((1, 2)).mean()),
            "the absolute value comes too early: first add up over the feature maps, which may "
            "well cancel each other within a cell.",
        ),
        Slip(
            _variant(lambda g, f, d: _share((g * f).sum(1).abs(), d)),
            "this is the share, each map scaled to sum 1. That is a loss of its own; here the "
            "mass is wanted, without scaling.",
        ),
        Slip(
            _variant(lambda g, f, d: (g.sum(1).abs() * d).sum((1, 2)).mean()),
            "the features are missing: the gradient alone is no contribution.",
        ),
    ),
)


def xbl_d(function: Any) -> Feedback:
    """Check XBL-D, its value and its gradient."""
    return XBL_D.check(function)


def penalty(function: Callable[..., Tensor]) -> Callable[[Step], Tensor]:
    """A learner's XBL-D as the penalty of a method, with new random signs in every step."""

    def penalise(step: Step) -> Tensor:
        bits = torch.randint(0, 2, step.logits.shape, generator=step.generator)
        return function(step.features, step.logits, step.annotations.distance, bits * 2.0 - 1)

    return penalise
