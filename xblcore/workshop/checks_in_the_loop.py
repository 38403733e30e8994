"""Checks of notebook 6: what was painted, what it leaves for the object, what it is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from xblcore.widgets.marked import complement
from xblcore.widgets.store import AnnotationStore
from xblcore.workshop import annotating
from xblcore.workshop.choosing import choose
from xblcore.workshop.exercise import Case, Exercise, Slip
from xblcore.workshop.feedback import Feedback
from xblcore.workshop.task import Data

LEAST_COVERED = 0.25  # of a decoy, for it to count as marked; a quick hand misses half of some
MOST_BESIDE = 3.0  # pixels marked off the decoy, as a multiple of its size
ENOUGH = 10  # images; with fewer, the curve has hardly a dot and its choices of four are the same
NAMED = 3  # images that a message names at most


def marks(store: AnnotationStore, data: Data) -> Feedback:
    """What a learner painted as wrong, beside where the decoys really are."""
    truth = annotating.truth(data, "wrong")
    painted = [n for n, name in enumerate(store.names) if store.mask(name, "wrong").any()]
    if not painted:
        hint = "Press W for the layer `wrong`, then paint over what the network should not use."
        return Feedback(False, "nothing is marked as wrong yet.", hint)
    missed, wide = [], []
    for n in painted:
        mask = store.mask(store.names[n], "wrong")
        if (mask & truth[n]).sum() < LEAST_COVERED * truth[n].sum():
            missed.append(store.names[n])
        elif (mask & ~truth[n]).sum() > MOST_BESIDE * truth[n].sum():
            wide.append(store.names[n])
    if missed:
        hint = "The patch is a small square of one grey, in one of the four corners."
        return Feedback(False, f"most of the patch is not marked on {_named(missed)}.", hint)
    if wide:
        hint = "Take a smaller brush ([), and the eraser (E) for what is too much."
        return Feedback(False, f"much more than the patch is marked on {_named(wide)}.", hint)
    done = f"{len(painted)} of {len(store.names)} images marked, each on its patch."
    if len(painted) < ENOUGH:
        done += (
            f" The statements of this notebook need {ENOUGH} or more: mark on and run this cell "
            'again, or go on with `WHOSE = "simulated"`.'
        )
    return Feedback(True, done)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _left(wrong: Tensor, margin: int = 1) -> Tensor:
    return torch.from_numpy(complement(wrong.numpy(), margin))


def _grown(wrong: Tensor, margin: int) -> Tensor:
    return max_pool2d(wrong[None].float(), 2 * margin + 1, stride=1, padding=margin)[0] > 0


def _cross(wrong: Tensor, margin: int) -> Tensor:
    """Grown up, down and sideways only, the corners forgotten."""
    cells = wrong.numpy()
    padded = np.pad(cells, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | cells
    return torch.from_numpy(~near)


def _corner(rows: slice, columns: slice) -> Tensor:
    wrong = torch.zeros(5, 6, dtype=torch.bool)
    wrong[rows, columns] = True
    return wrong


_LEFT = Exercise(
    name="left_for_the_object",
    right=_left,
    cases=[
        Case((_corner(slice(0, 2), slice(0, 2)), 1), _left(_corner(slice(0, 2), slice(0, 2))),
             "a mark of 2 x 2 cells in the upper left corner and a margin of 1"),
        Case((_corner(slice(2, 3), slice(3, 4)), 1), _left(_corner(slice(2, 3), slice(3, 4))),
             "a mark of one cell in the middle and a margin of 1"),
        Case((_corner(slice(2, 3), slice(3, 4)), 0), _left(_corner(slice(2, 3), slice(3, 4)), 0),
             "a mark of one cell and a margin of 0"),
    ],
    done="all cells but the mark and its margin, so \"not there\" becomes a distance map as well.",
    hint="First let what is wrong grow by the margin to all sides, corners included; what is left "
    "is the rest.",
    slips=[
        Slip(_grown, "it is the mark and its margin; what is left is the rest.", "Use ~."),
        Slip(lambda wrong, margin: ~wrong, "the margin is not left out.",
             "A feature beside the patch still sees it: its receptive field reaches over."),
        Slip(lambda wrong, margin: wrong, "it is the mark itself; what is left is the rest."),
        Slip(_cross, "the margin has no corners: it should be a square around the mark.",
             "Take the maximum over the 3 x 3 cells around each, not over rows and columns apart."),
    ],
)  # fmt: skip


def left_for_the_object(function: Any) -> Feedback:
    """Check ``(wrong, margin)``, bool ``(h, w)``, to the cells left for the object."""
    return _LEFT.check(function)


_ONE_EACH = Exercise(
    name="one_of_each_corner",
    right=lambda corners: [corners.tolist().index(corner) for corner in range(4)],
    cases=[
        Case((torch.tensor(corners),), expected, f"the corners {corners}")
        for corners, expected in (
            ([2, 2, 0, 1, 0, 3, 1], [2, 3, 0, 5]),
            ([3, 2, 1, 0], [3, 2, 1, 0]),
            ([0, 0, 0, 1, 2, 3], [0, 3, 4, 5]),
        )
    ],
    done="four images, and a decoy of every corner is among them.",
    hint="For each corner 0 to 3: the first position at which `corners` has it.",
    slips=[
        Slip(lambda corners: [0, 1, 2, 3], "these are the first four images, whatever corners "
             "their decoys are in."),
        Slip(lambda corners: sorted(corners.tolist().index(c) for c in range(4)), "the right "
             "images, sorted by position; the order of the corners, 0 to 3, was asked for."),
        Slip(lambda corners: [int((corners == c).nonzero()[-1]) for c in range(4)], "these are "
             "the last images of each corner; take the first."),
        Slip(lambda corners: [int((corners == c).sum()) for c in range(4)], "these are the "
             "numbers of images of each corner, not positions."),
        Slip(lambda corners: [(corners == c).nonzero()[0] for c in range(4)], "the right "
             "positions, but each is a tensor with an axis of its own; numbers were asked for.",
             "`.item()` makes a number of a tensor that holds one."),
    ],
)  # fmt: skip


def one_of_each_corner(function: Any) -> Feedback:
    """Check ``corners (N,)`` to the first position of each of the corners 0 to 3."""
    return _ONE_EACH.check(function)


_KINDS = {
    "stamp": ("wrong", "you know the fault and can point at it; one stroke an image is enough."),
    "unknown": ("object", "who does not know the shortcut cannot mark it, but can mark what "
                "should matter, and everything else is left out with it."),
    "outline": ("wrong", "outlining every branch is hours of work and pointing at the sign is "
                "not."),
    "touching": ("object", "marks of what is wrong need a margin around them, and that would take "
                 "a piece of the object; the object's own outline needs none."),
}  # fmt: skip


def which_mark(choices: Any) -> Feedback:
    """Check which kind of mark fits which situation, by name of the situation."""
    return choose(choices, _KINDS, ("wrong", "object"), done=(
        "knowing the fault, the time a mark takes and what lies beside it decide."
    ))  # fmt: skip
