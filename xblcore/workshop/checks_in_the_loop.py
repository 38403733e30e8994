"""Checks of notebook 6: what was painted, what it leaves for the object, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from xblcore.widgets.marked import complement
from xblcore.widgets.store import AnnotationStore
from xblcore.workshop import annotating
from xblcore.workshop.course import Data
from xblcore.workshop.exercise import Case, Exercise, Feedback, Slip

LEAST_COVERED = 0.25  # of a decoy, for it to count as marked; a quick hand misses half of some
MOST_BESIDE = 3.0  # pixels marked off the decoy, as a multiple of its size
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
    done = f"{len(painted)} of {len(store.names)} images are marked, each on its patch."
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
    cases=[
        Case((_corner(slice(0, 2), slice(0, 2)), 1), _left(_corner(slice(0, 2), slice(0, 2))),
             "a mark of 2 x 2 cells in the upper left corner and a margin of 1"),
        Case((_corner(slice(2, 3), slice(3, 4)), 1), _left(_corner(slice(2, 3), slice(3, 4))),
             "a mark of one cell in the middle and a margin of 1"),
        Case((_corner(slice(2, 3), slice(3, 4)), 0), _left(_corner(slice(2, 3), slice(3, 4)), 0),
             "a mark of one cell and a margin of 0"),
    ],
    done="all cells but the mark and its margin, so \"not there\" becomes a distance map as well.",
    hint="max_pool2d(x[None].float(), 3, stride=1, padding=1)[0] > 0 is True at a cell if x is "
    "anywhere in the 3 x 3 cells around it. Invert what has grown with ~.",
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


_ARGUMENTS = (
    ((0.8, 0.4, 0.8), "a network level with the oracle"),
    ((0.6, 0.4, 0.8), "accuracies 0.6, 0.4 (fooled) and 0.8 (oracle)"),
    ((0.3, 0.4, 0.8), "a network worse than the fooled one"),
)

_RECOVERY = Exercise(
    name="recovery",
    cases=[
        Case(arguments, (arguments[0] - arguments[1]) / (arguments[2] - arguments[1]), about)
        for arguments, about in _ARGUMENTS
    ],
    done="0 as fooled as before, 1 as good as without the decoy; below 0 it has become worse.",
    hint="What was won back, over all that was lost: two differences, both from the fooled network "
    "up.",
    slips=[
        Slip(lambda a, fooled, oracle: a / oracle, "it is a share of the oracle's accuracy, which "
             "is above 0 before anything is cured."),
        Slip(lambda a, fooled, oracle: a - fooled, "it is the gain alone; how much was there to "
             "gain?"),
        Slip(lambda a, fooled, oracle: (oracle - a) / (oracle - fooled), "it is what is still "
             "missing; 1 minus that was asked for."),
    ],
)  # fmt: skip


def recovery(function: Any) -> Feedback:
    """Check ``(accuracy, fooled, oracle)`` to the share of the lost accuracy that is won back."""
    return _RECOVERY.check(function)


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
    hint = "Ask: do I know what is wrong, how long does each mark take, and what lies beside it?"
    if not isinstance(choices, Mapping) or set(choices) != set(_KINDS):
        text = f"`choices` should have the four situations {', '.join(_KINDS)}, each once."
        return Feedback(False, text, hint)
    blanks = [name for name, choice in choices.items() if choice is ... or choice is None]
    if blanks:
        return Feedback(False, f"there is still a blank at `{blanks[0]}`.", hint)
    for name, choice in choices.items():
        if choice not in ("wrong", "object"):
            text = f'`{name}` should be "wrong" or "object", got {choice!r}.'
            return Feedback(False, text, hint)
        right, why = _KINDS[name]
        if choice != right:
            text = f"`{name}`: we would mark the {'fault' if right == 'wrong' else 'object'} there."
            return Feedback(False, text, f"For {why}")
    done = "knowing the fault, the time a mark takes and what lies beside it decide."
    return Feedback(True, done)
