"""Notebook 7: misleading maps, and the evidence that exposes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from course import task
from course.exercise import Case, Exercise, Feedback, Rule, check_rules
from xblcore import metrics
from xblcore.cam import grad_cam, hires_cam
from xblcore.examples import Cells, Examples
from xblcore.study import explainers
from xblcore.study.evaluate import attributions
from xblcore.study.models import SplitNet

Predict = Callable[[Tensor], Tensor]

# Three images with a bright decoy in different corners, and a grey centre.
_DECOY = torch.zeros(3, 4, 4, dtype=torch.bool)
_DECOY[0, 0, 0] = _DECOY[1, 0, 3] = _DECOY[2, 3, 3] = True
_IMAGES = torch.where(_DECOY[:, None], 0.9, 0.4)


def _flips(predict: Predict, images: Tensor, decoy: Tensor, grey: float) -> Tensor:
    changed = torch.where(decoy[:, None], grey, images)
    return (predict(changed) != predict(images)).float().mean()


decoy_flip_rate = Exercise(
    "decoy_flip_rate",
    solution=_flips,
    cases=tuple(
        Case(f"a model that looks at {where} only", (predict, _IMAGES, _DECOY, 0.1))
        for where, predict in (
            ("the centre", lambda images: images[:, 0, 1:3, 1:3].mean((1, 2)) > 0.3),
            ("the brightest pixel", lambda images: images.amax((1, 2, 3)) > 0.8),
            ("one corner", lambda images: images[:, 0, 0, 0] > 0.8),
        )
    ),
    success="the decoy is changed and nothing else, and the changed predictions are counted.",
    hint="Two steps: the same images with grey in place of the decoy; then the share of the "
    "predictions that differ from those of the original images.",
    mistakes=(
        ("the flips if the whole image is grey",
         lambda predict, images, decoy, grey:
             _flips(predict, images, torch.ones_like(decoy), grey),
         "Paint only where `decoy` is True, or an honest model changes its mind too."),
        ("the flips if everything but the decoy is grey",
         lambda predict, images, decoy, grey: _flips(predict, images, ~decoy, grey),
         "Swap the last two arguments of `torch.where`."),
        ("the share of predictions that stay", lambda *given: 1 - _flips(*given),
         "The share of those that change is needed."),
        ("the number of flips", lambda *given: _flips(*given) * len(given[1]),
         "Divide by the number of images."),
    ),
)  # fmt: skip

# One channel of 2x2 cells, active on the decoy only, and a head with one weight per cell.
FEATURES = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
WEIGHTS = torch.tensor([[3.0, -1.0], [-1.0, -1.0]])


def two_maps(weights: Tensor) -> tuple[float, Tensor, Tensor]:
    """Logit, signed Grad-CAM and signed HiResCAM ``(2, 2)`` of a head on :data:`FEATURES`.

    >>> logit, coarse, exact = two_maps(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    >>> logit, coarse.tolist()
    (2.0, [[2.0, 0.0], [0.0, 0.0]])
    """
    features = FEATURES.clone()[None, None].requires_grad_()
    maps = [cam(features, (features * weights).sum((1, 2, 3)))[0] for cam in (grad_cam, hires_cam)]
    return float((FEATURES * weights).sum()), maps[0], maps[1]


def blind(weights: Any) -> Feedback:
    """Check weights that Grad-CAM is blind to: a logit of at least 5 and a Grad-CAM of zero."""

    def rules(given: Tensor) -> Sequence[Rule]:
        logit, coarse, _ = two_maps(given)
        others = WEIGHTS * given[0, 0] / WEIGHTS[0, 0]
        return [
            (logit < 5, f"the logit is {logit:.4g}; it must be at least 5.",
             "The logit is 2 times the upper left weight."),
            (coarse.abs().max().item() > 1e-6,
             f"Grad-CAM shows {coarse.max():.4g} on the decoy; it must show 0.",
             "Grad-CAM depends on the mean of the four weights only."),
            (torch.allclose(given, others), "these are the weights above, or a multiple of them.",
             "The other three weights do not have to be equal."),
        ]  # fmt: skip

    def success(given: Tensor) -> str:
        logit, _, exact = two_maps(given)
        return f"the logit is {logit:.4g}, HiResCAM shows {exact[0, 0]:.4g}, and Grad-CAM nothing."

    return check_rules({"weights": weights}, (2, 2), rules, success)


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
        Case("maps that are all clean, but predictions that flip",
             (replace(_HIDDEN, held_out_wrong=0.05),), "Several maps may mislead. It flips."),
        Case("a clean Grad-CAM and an unknown flip rate", (replace(_HIDDEN, flip_rate=None),),
             _UNMEASURED),
        Case("an honest model with an unknown flip rate", (replace(_HONEST, flip_rate=None),),
             _UNMEASURED),
        Case("a held-out map in the corner and a flip rate of 0",
             (replace(_HONEST, held_out_wrong=0.30, flip_rate=0.0),),
             "Its flip rate was measured and is 0.0. Python treats 0.0 and None as false."),
        Case("Grad-CAMs that are all zero and an unknown flip rate",
             (Evidence(math.nan, 1.0, 0.45, None),),
             "`grad_cam_wrong` is NaN there, and NaN > 0.2 is False. No map clears nobody."),
    ),
    success="all nine models are judged correctly, including those that hide.",
    hint="Order the evidence: which of the four numbers needs no map?",
)  # fmt: skip


def attribution(model: SplitNet, examples: Examples, explainer: str) -> Tensor:
    """Attribution of the predicted classes on the CAM grid, ``(N, h, w)``.

    Args:
        model: the network.
        examples: the images.
        explainer: a name in :data:`xblcore.study.explainers.EXPLAINERS`.
    """
    fine = attributions(model, examples.images, explainers.get(explainer), layer="features")
    return adaptive_avg_pool2d(fine, task.GRID)


def mean_wrong(networks: Mapping[str, SplitNet], few: Examples, explainer: str) -> dict[str, float]:
    """Mean share of the decoy that each network's maps activate, where it is defined."""
    return {
        name: metrics.wrong_reason(attribution(network, few, explainer), _cells(few).decoy_mask)
        .nanmean()
        .item()
        for name, network in networks.items()
    }


def evidence(model: SplitNet, few: Examples, *, flip_rate: float | None) -> Evidence:
    """Collect the evidence about a network, with occlusion as the held-out explainer."""
    cam = attribution(model, few, "grad_cam")
    return Evidence(
        metrics.wrong_reason(cam, _cells(few).decoy_mask).nanmean().item(),
        metrics.all_zero(cam).mean().item(),
        mean_wrong({"": model}, few, "occlusion")[""],
        flip_rate,
    )


def whitewash(data: task.Data, fooled: SplitNet) -> task.Trained:
    """Train a copy of a network to give the same answers with a clean Grad-CAM.

    The labels are its own predictions, and the penalty is XBL-D on its Grad-CAM.
    Source: after Heo, Joo and Moon 2019, "Fooling Neural Network Interpretations via Adversarial
    Model Manipulation" (location fooling).
    """
    labels = torch.tensor(task.answers(fooled, data.train.images))
    return task.train(
        replace(data.train, labels=labels), "xbl_d", weight=30, start=fooled, epochs=4
    )


def _cells(examples: Examples) -> Cells:
    if examples.cells is None:
        raise ValueError("examples must have their annotations on the CAM grid; use on_grid")
    return examples.cells
