"""Checks of notebook 5: metrics of explanations, undefined values, metrics that disagree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xblcore import metrics
from xblcore.workshop import hand_maps
from xblcore.workshop.answers import as_array
from xblcore.workshop.choosing import choose
from xblcore.workshop.exercise import Case, Exercise, Slip, check_value
from xblcore.workshop.feedback import Feedback, blank

LEAST_GAP = 1e-3  # below it two values of a metric count as equal


def _focus(cam: Tensor, distance: Tensor) -> Tensor:
    return metrics.distance_focus(cam[None], distance[None])[0]


_D = hand_maps.DISTANCE
_LAST = torch.tensor([[0.0, 0, 0, 1]] * 4)
_FOCUS = Exercise(
    name="distance_focus",
    right=_focus,
    cases=[
        Case((cam, _D), _focus(cam, _D), about)
        for cam, about in (
            (hand_maps.NEAR, "the map `NEAR`"),
            (hand_maps.FAR, "the map `FAR`"),
            (torch.ones(4, 4) * hand_maps.OBJECT, "a map that lies on the object alone"),
            (_LAST, "a map that lies in the last column alone"),
        )
    ]
    + [Case((hand_maps.NEAR, _D / 8), _focus(hand_maps.NEAR, _D), "distances in another unit")],
    done="1 on the object, 0 as far away as can be, whatever the unit of the distance, and NaN "
    "where there is no map.",
    hint="Three steps: the shares of the map, their mean distance, and 1 minus that over the "
    "largest distance.",
    slips=[
        Slip(
            lambda cam, distance: 1 - (cam * distance).sum() / distance.max(),
            "the map is not turned into shares, so a strong map counts as a far one.",
            "Divide by `cam.sum()` first.",
        ),
        Slip(
            lambda cam, distance: (cam * distance).sum() / cam.sum() / distance.max(),
            "it is the other way round: 0 on the object and 1 far away.",
            "It is called focus: higher should be better, so take 1 minus it.",
        ),
        Slip(
            lambda cam, distance: 1 - (cam * distance).sum() / cam.sum(),
            "the mean distance is taken from 1 in cells, so it may fall below 0.",
            "Divide the mean distance by `distance.max()`, the largest there is in this image.",
        ),
        Slip(
            lambda cam, distance: 1 - (cam / cam.max() * distance).sum() / distance.max(),
            "the map is scaled by its maximum, so the values are no shares: they do not sum to 1.",
            "Divide by `cam.sum()`, not by `cam.max()`.",
        ),
        Slip(
            lambda cam, distance: 1 - (cam * distance).mean() / cam.mean() / distance.mean(),
            "it is divided by the mean distance instead of the largest.",
            "0 should mean: as far away as this image allows. Divide by `distance.max()`.",
        ),
    ],
)


def distance_focus(function: Any) -> Feedback:
    """Check ``(cam, distance)`` of one image to its distance focus, NaN for a dead CAM."""
    feedback = _FOCUS.check(function)
    if not feedback.passed:
        return feedback
    return _undefined(function, (hand_maps.DEAD, _D), "a dead CAM, zero everywhere") or feedback


def _undefined(
    function: Callable[..., Any], arguments: tuple[Any, ...], about: str
) -> Feedback | None:
    """What is off in a function that should give NaN, or None."""
    hint = "0 / 0 is NaN in torch all by itself: leave it be, and do not fill it in."
    try:
        got = float(function(*arguments))
    except Exception as error:  # whatever a learner's code does is theirs to be told of
        text = f"for {about}, your function stopped with {type(error).__name__}: {error}"
        return Feedback(False, text, "Return `float('nan')` there.")
    if not math.isnan(got):
        text = (
            f"for {about}, it should be NaN and is {got:.4g}. No map is neither a good map nor "
            "a bad one."
        )
        return Feedback(False, text, hint)
    return None


_NAN = math.nan
_VALUES = (
    ([0.9, _NAN, 0.3], "one of three undefined"),
    ([0.5, 1.0], "none undefined"),
    ([_NAN, 0.0, 0.0, _NAN], "zeros, which are defined, and NaN"),
)


def _summary(values: Tensor) -> list[float]:
    return [values.nanmean().item(), values.isnan().float().mean().item()]


_SUMMARY = Exercise(
    name="mean_and_undefined",
    right=_summary,
    cases=[
        Case((torch.tensor(values),), _summary(torch.tensor(values)), f"values with {about}")
        for values, about in _VALUES
    ],
    done="the mean of what is defined, with the share of what is not beside it.",
    hint="First find which values are undefined. The mean is that of the others, the share is of "
    "all.",
    slips=[
        Slip(
            lambda values: [values.nan_to_num(0).mean(), values.isnan().float().mean()],
            "undefined values count as 0, as if a dead map were the worst of maps.",
        ),
        Slip(
            lambda values: [values.nan_to_num(1).mean(), values.isnan().float().mean()],
            "undefined values count as 1, as if a dead map were a perfect one.",
        ),
        Slip(
            lambda values: [values.nanmean(), 1 - values.isnan().float().mean()],
            "the second number is the share that is defined; what is undefined was asked for.",
        ),
        Slip(
            lambda values: [values.nanmean(), values.isnan().float().sum()],
            "the second number is a count; a share says the same of 10 images and of 10,000.",
        ),
    ],
)


def mean_and_undefined(function: Any) -> Feedback:
    """Check ``values (N,)`` to the mean of the defined ones and the share of the others."""
    return _SUMMARY.check(function)


def metrics_by_hand(energy: Any, iou: Any, attribution_distance: Any) -> Feedback:
    """Check what a learner worked out for the map with the rest in the third column."""
    cam, inside = hand_maps.with_rest_at(2)[None], hand_maps.OBJECT[None]
    right = {
        "energy": metrics.energy_pointing_game(cam, inside),
        "iou": metrics.iou(cam, inside),
        "attribution_distance": metrics.attribution_distance(cam, hand_maps.DISTANCE[None]),
    }
    hints = {
        "energy": "What lies on the object, over what lies on the whole map.",
        "iou": "How many cells are above half of the maximum, 4? How many has the object?",
        "attribution_distance": "Share times distance, cell by cell; on the object it is 0.",
    }
    answers = {"energy": energy, "iou": iou, "attribution_distance": attribution_distance}
    for name, got in answers.items():
        value = right[name].item()
        feedback = check_value(got, value, name=name, done="", hint=hints[name])
        if not feedback.passed:
            said = feedback.message
            text = said if f"`{name}`" in said else f"`{name}`: {said}"
            return Feedback(False, text, feedback.hint)
    done = "moving the rest by a column changes the distance and none of the overlap metrics."
    return Feedback(True, done)


def opposed(first: Any, second: Any) -> Feedback:
    """Check two 4x4 maps: energy must prefer the first, distance focus the second."""
    maps = []
    for name, given in (("first", first), ("second", second)):
        if given is None or given is Ellipsis:
            return blank(f"there is still a blank: `{name}` is `...`.")
        cam, problem = _map(given, name)
        if cam is None:
            return Feedback(False, problem, "Fill in 4 rows of 4 numbers that are at least 0.")
        maps.append(cam)
    energies = [metrics.energy_pointing_game(m[None], hand_maps.OBJECT[None]).item() for m in maps]
    focuses = [_focus(cam, hand_maps.DISTANCE).item() for cam in maps]
    said = (
        f"energy says {energies[0]:.3f} and {energies[1]:.3f}, "
        f"distance focus {focuses[0]:.3f} and {focuses[1]:.3f}"
    )
    if energies[0] < energies[1] + LEAST_GAP:
        hint = "Put a larger share of the first map on the object, the first column."
        return Feedback(False, f"{said}: energy does not prefer the first map.", hint)
    if focuses[1] < focuses[0] + LEAST_GAP:
        hint = (
            "Let what the first map has off the object lie in the last column, and what the second "
            "has off it right beside it."
        )
        return Feedback(False, f"{said}: distance focus does not prefer the second map.", hint)
    return Feedback(True, f"{said}. Each prefers another map.")


def _map(given: Any, name: str) -> tuple[Tensor | None, str]:
    """A learner's map, or what is wrong with it."""
    try:
        values = as_array(given)
    except (TypeError, ValueError, RuntimeError):
        return None, f"`{name}` should be 4 rows of 4 numbers; there may be a blank left in it."
    if values.shape != (4, 4):
        return None, f"`{name}` should have the shape (4, 4) and has {values.shape}."
    if not np.isfinite(values).all() or (values < 0).any():
        return None, f"`{name}` should have numbers of at least 0 only: a CAM's negatives are cut."
    if not values.any():
        return None, f"`{name}` is zero everywhere: a dead CAM, on which no metric is defined."
    return torch.from_numpy(values).float(), ""


_METRICS = ("energy", "iou", "distance focus", "flip rate")
_SITUATIONS = {
    "blurred": ("distance focus", "an overlap metric counts the blur at the edge as wrong as much "
                "as the logo; how far off it is tells them apart."),
    "touching": ("energy", "distance forgives what lies beside the object, and that is just where "
                 "the wire is. Energy does not forgive, and asks for no shape."),
    "shape": ("iou", "of these, only intersection over union falls both when the map misses a "
              "piece of the object and when it reaches beyond it."),
    "swappable": ("flip rate", "where you can intervene, ask the answers and no map."),
}  # fmt: skip


def which_metric(choices: Any) -> Feedback:
    """Check which metric fits which situation, by name of the situation."""
    return choose(choices, _SITUATIONS, _METRICS, done=(
        "know what a metric forgives, and what your explainer does, before you choose."
    ))  # fmt: skip
