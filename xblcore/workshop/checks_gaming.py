"""Checks of notebook 7: flips counted, a Grad-CAM made blind, a detector of deceived maps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from xblcore import metrics
from xblcore.cam import grad_cam, hires_cam
from xblcore.workshop.answers import as_array
from xblcore.workshop.exercise import Case, Exercise, Feedback, Slip
from xblcore.workshop.gaming import Evidence

LEAST_LOGIT = 5.0
ROUNDING = 1e-6  # a Grad-CAM below it counts as zero

# The 2x2 example: one channel, lit by the decoy alone, in the upper left cell.
FEATURES = torch.tensor([[2.0, 0.0], [0.0, 0.0]])

_LOGITS = torch.tensor([[1.0, 3.0, 0.0], [1.0, 3.0, 0.0], [4.0, 0.0, 1.0], [0.0, 0.5, 2.0]])
_SWAPPED = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [3.5, 0.0, 1.0], [9.0, 0.5, 2.0]])

_FLIPS = Exercise(
    name="decoy_flip_rate",
    cases=[
        Case((logits, swapped), metrics.decoy_flip_rate(logits, swapped).mean(), about)
        for logits, swapped, about in (
            (_LOGITS, _SWAPPED, "four images of which two change their answer"),
            (_LOGITS, _LOGITS + 1, "four images whose logits change and answers do not"),
            (_LOGITS[:1], _SWAPPED[:1], "one image that changes its answer"),
        )
    ],
    done="the share of the images whose answer changes, without a look at any map or label.",
    hint="The answer is the class with the largest logit, `argmax(1)`; compare those of the two, "
    "and average.",
    slips=[
        Slip(lambda a, b: (a.argmax(1) == b.argmax(1)).float().mean(), "it is the share of "
             "the answers that stay; those that change were asked for.", "Use != instead of ==."),
        Slip(lambda a, b: (a != b).any(1).float().mean(), "it counts logits that change. Reliance "
             "shows where the answer changes."),
        Slip(lambda a, b: (a.max(1).values != b.max(1).values).float().mean(), "it compares the "
             "largest logits; compare where they are: argmax instead of max."),
        Slip(lambda a, b: (a.argmax(0) != b.argmax(0)).float().mean(), "argmax goes along the "
             "images; a class is along axis 1."),
        Slip(lambda a, b: (a.argmax(1) != b.argmax(1)).float().sum(), "it is a count; the share of "
             "the images was asked for."),
    ],
)  # fmt: skip


def decoy_flip_rate(function: Any) -> Feedback:
    """Check ``(logits, swapped_logits)``, both ``(N, classes)``, to the share of flips."""
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
        return Feedback(False, "there is still a blank: `weights` is `...`.", hint)
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
    (Evidence(math.nan, 1.0, 0.45, None), True,
     "a model whose Grad-CAM is dead on every image, its flips not measured",
     "`grad_cam_wrong` is NaN there, and NaN > 0.2 is False: a dead map clears nobody."),
)  # fmt: skip


def relies_on_decoy(function: Any) -> Feedback:
    """Check a detector: :class:`Evidence` to whether the model still relies on the decoy."""
    hint = "Where the flip rate is known, let it decide; else doubt a dead or a held-out map."
    if not callable(function):
        return Feedback(False, "`relies_on_decoy` is a blank, not a function.", hint)
    right = 0
    first: tuple[str, str] | None = None
    for evidence, truth, about, look in _MODELS:
        try:
            got = function(evidence)
        except Exception as error:  # whatever a learner's code does is theirs to be told of
            text = f"for {about}, your function stopped with {type(error).__name__}: {error}"
            return Feedback(False, text, look)
        if got is Ellipsis or got is None:
            text = f"for {about}, there is still a blank: your function returned {got}."
            return Feedback(False, text, "Return True or False on every path.")
        if bool(got) == truth:
            right += 1
        elif first is None:
            verdict = "guilty, and is not" if got else "cleared, and is guilty"
            first = f"{about} is {verdict}", look
    if first is None:
        return Feedback(True, f"all {right} models are judged rightly, the evasive ones as well.")
    return Feedback(
        False, f"{right} of {len(_MODELS)} models judged rightly; {first[0]}.", first[1]
    )
