"""Notebook 8: misleading maps, and the evidence that exposes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from course import task
from course.exercise import Case, Exercise
from xblcore import metrics
from xblcore.cam import grad_cam, hires_cam
from xblcore.examples import Examples
from xblcore.study import explainers
from xblcore.study.evaluate import attributions
from xblcore.study.models import SplitNet

# One channel of 2x2 cells, active on the decoy only.
FEATURES = torch.tensor([[2.0, 0.0], [0.0, 0.0]])


def two_maps(weights: Tensor) -> tuple[float, Tensor, Tensor]:
    """Logit, signed Grad-CAM and signed HiResCAM ``(2, 2)`` of a head on :data:`FEATURES`.

    >>> logit, coarse, exact = two_maps(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    >>> logit, coarse.tolist()
    (2.0, [[2.0, 0.0], [0.0, 0.0]])
    """
    features = FEATURES.clone()[None, None].requires_grad_()
    maps = [cam(features, (features * weights).sum((1, 2, 3)))[0] for cam in (grad_cam, hires_cam)]
    return float((FEATURES * weights).sum()), maps[0], maps[1]


@dataclass(frozen=True)
class Evidence:
    """What a reviewer may know about a model.

    Attributes:
        grad_cam_wrong: share of the decoy that Grad-CAM activates; NaN without a Grad-CAM.
        all_zero: share of the images whose Grad-CAM is all zero.
        held_out_wrong: as ``grad_cam_wrong``, by an explainer that was not trained on.
        flip_rate: share of the predictions that follow the decoy; None if not measured.
    """

    grad_cam_wrong: float
    all_zero: float
    held_out_wrong: float
    flip_rate: float | None


_FOOLED = Evidence(grad_cam_wrong=0.35, all_zero=0.0, held_out_wrong=0.50, flip_rate=0.55)
_HONEST = Evidence(grad_cam_wrong=0.03, all_zero=0.05, held_out_wrong=0.02, flip_rate=0.02)
_HIDDEN = replace(_FOOLED, grad_cam_wrong=0.02)
_UNMEASURED = "`flip_rate` is None there. Which evidence is left?"

relies_on_decoy = Exercise(
    "relies_on_decoy",
    solution=lambda evidence: (
        evidence.held_out_wrong if evidence.flip_rate is None else evidence.flip_rate
    ) > 0.2,
    cases=(
        Case("a fooled model that hides nothing", (_FOOLED,), "All of its numbers are large."),
        Case("a model that does not use the decoy", (_HONEST,), "All of its numbers are small."),
        Case("a clean Grad-CAM, but predictions that flip", (_HIDDEN,),
             "The flip rate needs no map. If it was measured, it decides."),
        Case("a Grad-CAM that touches the corner, but predictions that do not flip",
             (replace(_HONEST, grad_cam_wrong=0.28, held_out_wrong=0.16),),
             "Maps can be wrong in both directions. Its predictions do not flip."),
        Case("a clean Grad-CAM and an unknown flip rate", (replace(_HIDDEN, flip_rate=None),),
             _UNMEASURED),
        Case("a held-out map in the corner and a flip rate of 0",
             (replace(_HONEST, held_out_wrong=0.30, flip_rate=0.0),),
             "Its flip rate was measured and is 0.0. Python treats 0.0 and None as false."),
        Case("Grad-CAMs that are all zero and an unknown flip rate",
             (Evidence(math.nan, 1.0, 0.45, None),),
             "`grad_cam_wrong` is NaN there, and NaN > 0.2 is False. No map, no proof."),
    ),
    success="all seven models are judged correctly, including those that hide.",
    hint="Order the evidence: which of the four numbers needs no map?",
)  # fmt: skip


def attribution(model: SplitNet, images: Tensor, explainer: str) -> Tensor:
    """Attribution ``(N, h, w)`` of the predicted classes, on the CAM grid."""
    fine = attributions(model, images, explainers.get(explainer), layer="features")
    return adaptive_avg_pool2d(fine, task.grid(images))


def mean_wrong(model: SplitNet, few: Examples, explainer: str) -> float:
    """Mean share of the decoy that a network's maps activate, over the maps that are not zero."""
    cam = attribution(model, few.images, explainer)
    return metrics.wrong_reason(cam, task.cells(few).decoy_mask).nanmean().item()
