"""Notebook 6: metrics of explanations, undefined values, and metrics that disagree.

On the 4x4 maps the object is the first column, so the distance of a cell is its column's number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from course import task
from course.exercise import Case, Exercise, Feedback, as_array, blank, check_answers
from xblcore import metrics
from xblcore.decoys import Decoy, add_decoys, grey_palette
from xblcore.distance import distance_map
from xblcore.examples import Examples

OBJECT = torch.tensor([[True, False, False, False]] * 4)  # (4, 4)
DISTANCE = torch.from_numpy(distance_map(OBJECT[None].numpy(), normalise=False))[0]  # (4, 4)
# 8 of 10 on the object, the rest next to it or as far away as possible.
NEAR, FAR = torch.tensor([[[4.0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]] * 2)
NEAR[0, 1] = FAR[0, 3] = 2
ALL_ZERO = torch.zeros(4, 4)
# All of it on a decoy that touches the object, and a map that is mostly correct.
ON_DECOY = torch.tensor([[0.0, 0, 0, 0], [0, 5, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0]])
MOSTLY_OBJECT = torch.tensor([[0.0, 0, 0, 4], [2, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]])


def _focus(cam: Tensor, distance: Tensor) -> Tensor:
    return metrics.distance_focus(cam[None], distance[None])[0]


distance_focus = Exercise(
    "distance_focus",
    solution=_focus,
    cases=(
        Case("the map `NEAR`", (NEAR, DISTANCE)),
        Case("the map `FAR`", (FAR, DISTANCE)),
        Case("a map on the object only", (OBJECT.float(), DISTANCE)),
        Case("distances in another unit", (NEAR, DISTANCE / 8)),
        Case("an all-zero map", (ALL_ZERO, DISTANCE),
             "No map is neither a good map nor a bad one. In torch, 0 / 0 is NaN by itself."),
    ),
    success="1 on the object, 0 as far away as possible, in any unit; NaN where there is no map.",
    hint="Three steps: scale the map to sum 1; compute its mean distance; divide that by the "
    "largest distance and subtract it from 1.",
    mistakes=(
        ("the focus of the unscaled map", lambda cam, d: 1 - (cam * d).sum() / d.max(),
         "A strong map counts as a far one. Divide by `cam.sum()` first."),
        ("1 minus the focus", lambda cam, d: (cam * d).sum() / cam.sum() / d.max(),
         "It is called focus, so higher must be better."),
    ),
)  # fmt: skip


def by_hand(*, energy: Any, iou: Any, attribution_distance: Any) -> Feedback:
    """Check the metrics of the map with the rest in the third column."""
    expected = {
        "energy": (0.8, "The attribution on the object divided by that of the whole map."),
        "iou": (0.25, "How many cells are above half of the maximum? How many has the object?"),
        "attribution_distance": (0.4, "Share times distance; on the object it is 0."),
    }
    given = {"energy": energy, "iou": iou, "attribution_distance": attribution_distance}
    success = "moving the rest changes the distance, and none of the overlap metrics."
    return check_answers(given, expected, success)


def disagree(first: Any, second: Any) -> Feedback:
    """Check two 4x4 maps: energy must prefer the first, distance focus the second."""
    values = []
    for name, cam in (("first", as_array(first)), ("second", as_array(second))):
        if cam is None or cam.shape != (4, 4) or not (cam >= 0).all() or not cam.any():
            if "Ellipsis" in repr((first, second)):
                return blank(name)
            message = f"`{name}` must be 4 rows of 4 numbers, not negative and not all zero."
            return Feedback(False, message, "Replace numbers in a copy of `NEAR`.")
        given = torch.from_numpy(cam).float()
        energy = metrics.energy_pointing_game(given[None], OBJECT[None]).item()
        values.append((energy, _focus(given, DISTANCE).item()))
    (energy1, focus1), (energy2, focus2) = values
    said = f"energy {energy1:.3f} and {energy2:.3f}, distance focus {focus1:.3f} and {focus2:.3f}"
    if energy1 < energy2 + 1e-3:
        hint = "Put a larger share of the first map on the object, the first column."
        return Feedback(False, f"{said}. Energy does not prefer the first map.", hint)
    if focus2 < focus1 + 1e-3:
        hint = "Where should the rest of each map be, far away or next to the object?"
        return Feedback(False, f"{said}. Distance focus does not prefer the second map.", hint)
    return Feedback(True, f"{said}. They disagree.")


def which_metric(choices: Any) -> Feedback:
    """Check which metric fits which situation."""
    expected = {
        "blurred": ("distance focus", "Overlap counts the blur at the edge as wrong as the logo."),
        "touching": ("energy", "Distance forgives what is next to the object: here, the wire."),
        "shape": ("iou", "Which one falls both if a piece is missing and if the map is too large?"),
        "swappable": ("flip rate", "If you can intervene, you need no map."),
    }
    success = "know what a metric forgives, and what your explainer does, before you choose."
    return check_answers(choices, expected, success)


def half_size(
    examples: Examples, *, gap: int | None, predictive: bool
) -> tuple[Examples, Examples]:
    """Garments of half the size in the upper left quarter, and the same with another decoy.

    Full-size garments fill the image, so that no decoy is far from them. ``gap`` is in pixels
    between garment and decoy; None for no decoy.
    """
    small = pad(avg_pool2d(examples.images.float(), 2), (0, 14, 0, 14)).to(torch.uint8)
    clean = replace(examples, images=small, object_mask=small[:, 0] > 0)
    if gap is None:
        return clean, clean
    decoy, palette = Decoy(size=task.PATCH, place="object", gap=gap), grey_palette(10)
    done = add_decoys(clean, decoy, palette, predictive=predictive, seed=[0])
    return done.examples, done.swapped
