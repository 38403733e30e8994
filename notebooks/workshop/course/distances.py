"""Notebook 4: distance maps, and XBL-D+ from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from course.exercise import Case, Exercise
from xblcore.methods import Step

Cells = NDArray[Any]

# 3x4 cells with the object in one of them; and 4x5 cells with an object in two places.
OBJECT = np.zeros((3, 4), bool)
OBJECT[1, 1] = True
_TWO_PLACES = np.zeros((4, 5), bool)
_TWO_PLACES[2:, 3:] = _TWO_PLACES[3, 0] = True


def _offsets(mask: Cells) -> Cells:
    """Rows and columns from each cell to each object cell, ``(2, h, w, object cells)``."""
    return np.indices(mask.shape)[..., None] - np.array(np.nonzero(mask))[:, None, None]


def _distances(mask: Cells) -> Cells:
    nearest: Cells = np.hypot(*_offsets(mask)).min(-1)
    return nearest


distances = Exercise(
    "distances",
    solution=_distances,
    cases=(
        Case("the example of this notebook", (OBJECT,)),
        Case("an object of five cells in two places", (_TWO_PLACES,)),
    ),
    success="0 on the object, and everywhere else the distance to its nearest cell.",
    hint="First the Euclidean distance to every object cell. Which of these distances, along the "
    "last axis, is the one you need?",
    mistakes=(
        ("steps along the grid", lambda mask: np.abs(_offsets(mask)).sum(0).min(-1),
         "A diagonal neighbour is closer than 2."),
    ),
)  # fmt: skip

# Three maps of 4x4 cells: all on the decoy, all next to it, all next to the object.
WHERE = ("on the decoy", "next to the decoy", "next to the object")
CAMS = torch.zeros(3, 4, 4)
CAMS[(0, 1, 2), (0, 1, 2), (0, 1, 1)] = 3.0
DECOY = torch.zeros(3, 4, 4, dtype=torch.bool)
DECOY[:, 0, 0] = True
BOTTOM_RIGHT = np.pad(np.ones((2, 2), bool), ((2, 0), (2, 0)))  # the object
DISTANCE = torch.from_numpy(_distances(BOTTOM_RIGHT)).float().expand(3, 4, 4)
_D, _WRONG = torch.tensor([[0.0, 0.0, 0.2, 0.6]]), torch.tensor([[True, False, True, True]])

combined = Exercise(
    "combined",
    solution=lambda distance, wrong, c: torch.maximum(distance, c * wrong),
    cases=(
        Case("an object cell that sees the decoy, and others", (_D, _WRONG, 0.3)),
        Case("c = 0", (_D, _WRONG, 0.0)),
    ),
    success="an object cell that sees the decoy costs something; no cell costs less than before.",
    hint="Every cell keeps its distance, but a wrong cell costs at least c.",
    mistakes=(
        ("the sum", lambda distance, wrong, c: distance + c * wrong,
         "A cell that is far away costs enough already: at least c, not c more."),
        ("c in all wrong cells", lambda distance, wrong, c: torch.where(wrong, c, distance),
         "A wrong cell that is far from the object keeps its larger distance."),
    ),
)  # fmt: skip

# Two images of two feature maps of 1x3 cells, and a linear head of three classes on them. The signs
# leave contributions of both signs, between the cells and within one of them.
_FEATURES = torch.tensor([[1.0, 2, 0, 2, 1, 1], [3, 0, 1, 0, 1, 2]]).view(2, 2, 1, 3)
_HEAD = torch.tensor([[1.0, 0, 2, 0, 1, 0], [0, -1, 1, 3, 0, 1], [-2, 1, 0, 1, 0, -1]])
_HEAD = _HEAD.view(3, 2, 1, 3)
_SIGNS = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]])
_PENALTY = torch.tensor([[[0.0, 0.5, 1.0]], [[1.0, 0.25, 0.0]]])


def _with_head(
    function: Callable[..., Any], features: Tensor, head: Tensor, penalty: Tensor, signs: Tensor
) -> Any:
    """Call a loss on a linear head, which it can train only by a second derivative."""
    features = features.requires_grad_()
    return function(features, torch.einsum("nkuv,ckuv->nc", features, head), penalty, signs)


def _loss(weigh: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """XBL-D+ with the last steps as a function of gradient, features and penalty."""

    def loss(features: Tensor, logits: Tensor, penalty: Tensor, signs: Tensor) -> Tensor:
        score = (signs * (logits - logits.mean(1, keepdim=True))).sum()
        (gradient,) = torch.autograd.grad(score, features, create_graph=True)
        return weigh(gradient, features, penalty)

    return loss


xbl_d_plus = Exercise(
    "xbl_d_plus",
    solution=_loss(lambda g, f, d: ((g * f).sum(1).abs() * d).sum((1, 2)).mean()),
    call=_with_head,
    gradient_to=1,
    cases=(
        Case("two images of 1x3 cells", (_FEATURES, _HEAD, _PENALTY, _SIGNS)),
        Case("one image of 3x1 cells",
             (_FEATURES[:1].mT, _HEAD.mT, _PENALTY[:1].mT, _SIGNS[:1])),
    ),
    success="a loss of the map, with a gradient that reaches the weights that made the map.",
    hint="Four steps: the gradient of the score, the only element of a tuple, recorded so that it "
    "can be differentiated again; the contribution of each cell, summed over the feature maps, "
    "without its sign; the sum over the cells, weighted by the penalty; the mean over the images.",
    no_gradient=(
        "it does not train the head: for autograd, the gradient inside the map is a constant.",
        "To differentiate the gradient again, autograd must record how it was computed: "
        "create_graph=True, and no .detach() or .item().",
    ),
    mistakes=(
        ("a sum in which both signs cancel",
         _loss(lambda g, f, d: ((g * f).sum(1) * d).sum((1, 2)).mean()),
         "Both signs are evidence here: use .abs() before the penalty."),
        ("the loss of the positive part",
         _loss(lambda g, f, d: ((g * f).sum(1).relu() * d).sum((1, 2)).mean()),
         "With random signs, negative contributions are evidence too: .abs(), not .relu()."),
        ("the loss of Grad-CAM",
         _loss(lambda g, f, d:
             ((g.mean((2, 3), keepdim=True) * f).sum(1).abs() * d).sum((1, 2)).mean()),
         "Its mean hides where the head reads (notebook 2). Multiply cell by cell."),
    ),
)  # fmt: skip


def as_penalty(loss: Callable[..., Tensor]) -> Callable[[Step], Tensor]:
    """Use a learner's loss for training, with ``D+`` and with new random signs in every step."""

    def penalty(step: Step) -> Tensor:
        bits = torch.randint(0, 2, step.logits.shape, generator=step.generator)
        return loss(step.features, step.logits, step.distance_plus(), bits * 2.0 - 1)

    return penalty
