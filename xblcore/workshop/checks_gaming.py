"""Checks of notebook 7: flips counted, a Grad-CAM made blind, a detector of deceived maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xblcore.cam import grad_cam, hires_cam
from xblcore.workshop.answers import as_array
from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback, blank
from xblcore.workshop.gaming import Evidence

LEAST_LOGIT = 5.0
DOUBT = 0.2  # of flips or of the decoy activated: between the honest networks and the fooled
ROUNDING = 1e-6  # a Grad-CAM below it counts as zero

# The 2x2 example: one channel, lit by the decoy alone, in the upper left cell.
FEATURES = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
WEIGHTS = torch.tensor([[3.0, -1.0], [-1.0, -1.0]])  # of the head: Grad-CAM is blind to them

Predict = Callable[[torch.Tensor], torch.Tensor]


def _scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Three images with a bright decoy, each in another corner, and a grey middle."""
    decoy = torch.zeros(3, 4, 4, dtype=torch.bool)
    decoy[0, 0, 0] = decoy[1, 0, 3] = decoy[2, 3, 3] = True
    images = torch.full((3, 1, 4, 4), 0.4)
    images[decoy[:, None]] = 0.9
    return images, decoy


def _by_brightest(images: torch.Tensor) -> torch.Tensor:
    return (images.amax((1, 2, 3)) > 0.8).long()


def _by_middle(images: torch.Tensor) -> torch.Tensor:
    return (images[:, 0, 1:3, 1:3].mean((1, 2)) > 0.3).long()


def _by_first_corner(images: torch.Tensor) -> torch.Tensor:
    return (images[:, 0, 0, 0] > 0.8).long()


def _flips(
    predict: Predict, images: torch.Tensor, decoy: torch.Tensor, grey: float
) -> torch.Tensor:
    changed = torch.where(decoy[:, None], grey, images)
    return (predict(changed) != predict(images)).float().mean()


def _flips_all_over(
    predict: Predict, images: torch.Tensor, decoy: torch.Tensor, grey: float
) -> torch.Tensor:
    return (predict(torch.full_like(images, grey)) != predict(images)).float().mean()


def _flips_of_the_rest(
    predict: Predict, images: torch.Tensor, decoy: torch.Tensor, grey: float
) -> torch.Tensor:
    changed = torch.where(decoy[:, None], images, grey)
    return (predict(changed) != predict(images)).float().mean()


_IMAGES, _DECOY = _scene()
_FLIPS = Exercise(
    name="decoy_flip_rate",
    right=_flips,
    cases=[
        Case((predict, _IMAGES, _DECOY, 0.1), _flips(predict, _IMAGES, _DECOY, 0.1), about)
        for predict, about in (
            (_by_middle, "a model that looks at the middle alone"),
            (_by_brightest, "a model that looks at the brightest pixel"),
            (_by_first_corner, "a model that looks at one corner alone"),
        )
    ],
    done="a change to the decoy and to nothing else, and the share of the answers that it moves.",
    hint="Two steps: the same images with grey where the decoy is; then the share of the answers "
    "that differ from those of the images as they were.",
    slips=[
        Slip(_flips_all_over, "more than the decoy is changed: the whole picture is painted, so "
             "that an honest model changes its answer as well.",
             "Paint only where `decoy` is True."),
        Slip(_flips_of_the_rest, "all but the decoy is changed.",
             "`torch.where(condition, if_true, if_false)`: the grey belongs where it is True."),
        Slip(lambda *given: 1 - _flips(*given), "it is the share of the answers that stay; those "
             "that change were asked for.", "Use != instead of ==."),
        Slip(lambda *given: _flips(*given) * len(given[1]), "it is a count; a share was asked "
             "for."),
    ],
)  # fmt: skip


def decoy_flip_rate(function: Any) -> Feedback:
    """Check ``(predict, images, decoy, grey)`` to the share of the answers that change."""
    return _FLIPS.check(function)


def two_maps(weights: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Logit, Grad-CAM and HiResCAM ``(2, 2)``, signed, of a head on :data:`FEATURES`.

    Args:
        weights: ``(2, 2)``, of the head, one a cell.

    >>> logit, coarse, exact = two_maps(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    >>> logit, coarse.tolist()
    (2.0, [[2.0, 0.0], [0.0, 0.0]])
    """
    features = FEATURES.clone()[None, None].requires_grad_()
    maps = [cam(features, (features * weights).sum((1, 2, 3)))[0] for cam in (grad_cam, hires_cam)]
    return float((FEATURES * weights).sum()), maps[0], maps[1]


def blind(weights: Any) -> Feedback:
    """Check weights of a 2x2 head: a logit of at least 5 from the decoy, a Grad-CAM of zero."""
    hint = (
        "Grad-CAM knows the mean of the four weights only. Which four numbers have the mean 0 and "
        "a large one in the upper left?"
    )
    if weights is None or weights is Ellipsis:
        return blank("there is still a blank: `weights` is `...`.")
    try:
        values = as_array(weights)
    except (TypeError, ValueError, RuntimeError):
        text = "`weights` should be 2 rows of 2 numbers; there may be a blank left in it."
        return Feedback(False, text, hint)
    if values.shape != (2, 2) or not np.isfinite(values).all():
        return Feedback(False, f"`weights` should be 2 x 2 numbers, got {values.shape}.", hint)
    logit, coarse, exact = two_maps(torch.from_numpy(values).float())
    if logit < LEAST_LOGIT:
        text = f"the logit is {logit:.4g}; it should be at least {LEAST_LOGIT:.0f}."
        return Feedback(False, text, "The logit is 2 times the weight in the upper left.")
    left = coarse.abs().max().item()
    if left > ROUNDING:
        mean = values.mean()
        text = (
            f"Grad-CAM still shows {left:.4g} at the decoy: the mean of your weights is {mean:.4g}."
        )
        return Feedback(False, text, hint)
    if np.allclose(values / values[0, 0], WEIGHTS.numpy() / WEIGHTS[0, 0].item()):
        text = "these are the weights above, or a multiple of them. They work; find others."
        return Feedback(False, text, "The three others only have to sum up to minus the first.")
    done = (
        f"the logit is {logit:.4g}, all of it from the decoy. HiResCAM shows {exact[0, 0]:.4g} "
        "there, Grad-CAM nothing."
    )
    return Feedback(True, done)


_FOOLED = Evidence(grad_cam_wrong=0.35, dead=0.0, held_out_wrong=0.50, flip_rate=0.58)
_CURED = Evidence(grad_cam_wrong=0.03, dead=0.05, held_out_wrong=0.02, flip_rate=0.02)

# Evidence, whether the model relies on the decoy, what it is, and what its reader should look at.
_MODELS = (
    (_FOOLED, True, "a fooled model that hides nothing", "Every number of it is large."),
    (_CURED, False, "a cured model", "Every number of it is small."),
    (replace(_FOOLED, grad_cam_wrong=0.02), True,
     "a model whose Grad-CAM alone is clean and whose answers flip",
     "The flip rate needs no map: where it is measured, it decides."),
    (replace(_CURED, grad_cam_wrong=0.28, held_out_wrong=0.16), False,
     "an honest model whose Grad-CAM touches the corner and whose answers stay",
     "A map can be wrong in both directions. Its answers do not flip."),
    (replace(_FOOLED, grad_cam_wrong=0.02, held_out_wrong=0.05), True,
     "a model all of whose maps are clean and whose answers flip",
     "More maps may be gamed than the one. Its answers flip."),
    (replace(_FOOLED, grad_cam_wrong=0.02, flip_rate=None), True,
     "a model with a clean Grad-CAM, of which nobody measured the flips",
     "`flip_rate` is None there; the explainer that it was not trained against is left."),
    (replace(_CURED, flip_rate=None), False,
     "a cured model of which nobody measured the flips",
     "`flip_rate` is None there; nothing that was measured speaks against it."),
    (replace(_CURED, held_out_wrong=0.30, flip_rate=0.0), False,
     "an honest model whose held-out map lights the corner and none of whose answers flip",
     "Its flip rate was measured and is 0.0; not measured is None. Python takes both for false."),
    (Evidence(math.nan, 1.0, 0.45, None), True,
     "a model whose Grad-CAM is dead on every image, its flips not measured",
     "`grad_cam_wrong` is NaN there, and NaN > 0.2 is False: a dead map clears nobody."),
)  # fmt: skip


def relies_on_decoy(function: Any) -> Feedback:
    """Check a detector: :class:`Evidence` to whether the model still relies on the decoy."""
    if not callable(function):
        return blank("`relies_on_decoy` is a blank, not a function.")
    right = 0
    first: tuple[str, str] | None = None
    for evidence, truth, about, look in _MODELS:
        try:
            got = function(evidence)
        except Exception as error:  # whatever a learner's code does is theirs to be told of
            text = f"for {about}, your function stopped with {type(error).__name__}: {error}"
            return Feedback(False, text, look)
        if got is Ellipsis:
            return blank("there is still a blank: your function returned `...`.")
        if got is None:
            text = f"for {about}, there is still a blank: your function returned None."
            return Feedback(False, text, "Return True or False on every path.")
        try:
            guilty = bool(got)
        except Exception:  # an array of many say; it may be of any kind
            text = f"for {about}, your function returned a {type(got).__name__}, not one answer."
            return Feedback(False, text, "Return True or False on every path.")
        if guilty == truth:
            right += 1
        elif first is None:
            verdict = "guilty, and is not" if guilty else "cleared, and is guilty"
            first = f"{about} is {verdict}", look
    if first is None:
        return Feedback(True, f"all {right} models are judged rightly, the evasive ones as well.")
    return Feedback(
        False, f"{right} of {len(_MODELS)} models judged rightly; {first[0]}.", first[1]
    )


def _judge(evidence: Evidence) -> bool:
    """A detector that passes: behaviour where it is known, else the explainer held out."""
    if evidence.flip_rate is not None:
        return evidence.flip_rate > DOUBT
    return evidence.held_out_wrong > DOUBT


def trusted(function: Any) -> Callable[[Evidence], bool]:
    """The learner's detector if it is right, else one of xblcore's, saying so."""
    if relies_on_decoy(function).passed:
        print("Going on with your relies_on_decoy.")
        chosen: Callable[[Evidence], bool] = function
        return chosen
    print("Going on with xblcore's detector, since your relies_on_decoy is not right yet.")
    return _judge
