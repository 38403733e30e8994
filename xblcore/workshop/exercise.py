"""What answers a learner: a check runs the learner's function and says what is off, and a hint.

A check never raises for a wrong answer and shows no traceback of ours; it speaks of the learner's
function, its arguments and the cell that differs.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xblcore.workshop.answers import difference, unusable
from xblcore.workshop.feedback import Feedback, blank


@dataclass(frozen=True)
class Case:
    """Arguments for a learner's function, and the right answer.

    Attributes:
        arguments: tensors, arrays or numbers; the function gets copies.
        expected: tensor, array, number or list of numbers.
        about: the arguments in the learner's terms, "a CAM that is zero everywhere".
    """

    arguments: tuple[Any, ...]
    expected: Any
    about: str


@dataclass(frozen=True)
class Slip:
    """A mistake that people make, recognised by the answers that it gives.

    Attributes:
        answer: the function with the mistake in it.
        message: what is off.
        hint: None: that of the exercise.
    """

    answer: Callable[..., Any]
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Exercise:
    """A function that a learner writes, and how it is told from a wrong one.

    Attributes:
        name: of the function.
        cases: tried in this order.
        done: what being right shows.
        hint: if nothing more special is known; what to think of next, not the code.
        slips: mistakes to recognise.
        gradient_to: position of an argument that the result must be differentiable in.
        right: the solution, for the cells after an exercise.
        call: function and arguments of a case to the function's answer, where it is not called
            with the arguments as they are.
        no_gradient: message and hint for an answer of the right value that cannot train.
        stops: hints for errors that people run into, by a pattern in the error's text.
    """

    name: str
    cases: Sequence[Case]
    done: str
    hint: str
    slips: Sequence[Slip] = field(default=())
    gradient_to: int | None = None
    right: Callable[..., Any] | None = None
    call: Callable[..., Any] = lambda function, *arguments: function(*arguments)
    no_gradient: tuple[str, str] = (
        "the value is right, but no gradient flows through it, so training would not see it at "
        "all.",
        "Stay with torch from the argument to the result: no .item(), .detach(), float() or NumPy "
        "in between.",
    )
    stops: Mapping[str, str] = field(default_factory=dict)

    def check(self, function: Any) -> Feedback:
        """What is off in the learner's ``function``, or that it is right."""
        if function is None or function is Ellipsis or not callable(function):
            if function is Ellipsis:
                return blank(f"`{self.name}` is not a function but a blank.")
            return self._not_yet(f"`{self.name}` is not a function but {function!r}.")
        for case in self.cases:
            feedback = self._check_case(function, case)
            if feedback is not None:
                return feedback
        return Feedback(True, self.done)

    def trusted(self, function: Any) -> Callable[..., Any]:
        """The learner's function if it is right, else the solution, saying so.

        Raises:
            ValueError: the exercise has no solution of its own.
        """
        if self.right is None:
            raise ValueError(f"right must be given for {self.name} to be trusted, got None")
        if self.check(function).passed:
            print(f"Going on with your {self.name}.")
            chosen: Callable[..., Any] = function
            return chosen
        print(f"Going on with xblcore's, since your {self.name} is not right yet.")
        return self.right

    def _check_case(self, function: Callable[..., Any], case: Case) -> Feedback | None:
        arguments = _copies(case.arguments, self.gradient_to)
        try:
            got = self.call(function, *arguments)
        except Exception as error:  # whatever a learner's code does is theirs to be told of
            return self._stopped(function, error)
        if got is Ellipsis:
            return _unfilled(self.name)
        problem = unusable(got, self.name)
        if problem:
            return self._not_yet(problem)
        problem = difference(got, case.expected)
        if problem is None:
            return self._check_side_effects(arguments, got, case)
        for slip in self.slips:
            if self._agrees(function, slip):
                return self._not_yet(slip.message, slip.hint)
        return self._not_yet(f"for {case.about}, {problem}")

    def _check_side_effects(
        self, arguments: tuple[Any, ...], got: Any, case: Case
    ) -> Feedback | None:
        if self.gradient_to is not None:
            argument = arguments[self.gradient_to]
            slope = None
            if isinstance(got, Tensor) and got.requires_grad:
                (slope,) = torch.autograd.grad(got.sum(), argument, allow_unused=True)
            if slope is None:
                return self._not_yet(*self.no_gradient)
            if not slope.isfinite().all():
                return self._not_yet(f"for {case.about}, the gradient is not a finite number.")
        for given, kept in zip(arguments, case.arguments, strict=True):
            if isinstance(kept, Tensor | np.ndarray) and difference(given, kept):
                return self._not_yet(
                    "the result is right, but your function changes its argument, which others "
                    "still need.",
                    "Make a new tensor instead of changing one in place (+=, [...] =, *_()).",
                )
        return None

    def _agrees(self, function: Callable[..., Any], slip: Slip) -> bool:
        """Whether the function answers as the mistake would, on every case that tells it."""
        told = False
        for case in self.cases:
            mistaken = self.call(slip.answer, *_copies(case.arguments, self.gradient_to))
            try:
                got = self.call(function, *_copies(case.arguments, self.gradient_to))
                if difference(got, mistaken):
                    return False
            except Exception:  # another kind of mistake, which is told of elsewhere
                return False
            told = told or difference(mistaken, case.expected) is not None
        return told

    def _stopped(self, function: Callable[..., Any], error: Exception) -> Feedback:
        """An error in the learner's code, by its own line, with the hint that fits it."""
        text = (str(error).splitlines() or [""])[0]
        if "ellipsis" in text.lower():
            return blank(f"there is still a blank: fill in every `...` of `{self.name}`.")
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        own = [at for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
        where = f" in the line `{own[-1].line}`" if own and own[-1].line else ""
        hint = next((hint for sign, hint in self.stops.items() if re.search(sign, text)), None)
        message = f"`{self.name}` stopped{where} with {type(error).__name__}: {text}"
        return self._not_yet(message, hint)

    def _not_yet(self, message: str, hint: str | None = None) -> Feedback:
        return Feedback(False, message, hint or self.hint)


def check_value(got: Any, expected: Any, *, name: str, done: str, hint: str) -> Feedback:
    """Check a number, or an array of them, that a learner worked out by hand.

    Args:
        got: the learner's.
        expected: the right one.
        name: of the learner's variable.
        done: what being right shows.
        hint: where to look.
    """
    if got is Ellipsis:
        return _unfilled(name)
    problem = unusable(got, name) or difference(got, expected)
    return Feedback(False, problem, hint) if problem else Feedback(True, done)


def _copies(arguments: tuple[Any, ...], gradient_to: int | None) -> tuple[Any, ...]:
    copies: list[Any] = []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Tensor):
            fresh = argument.detach().clone()
            # Not a leaf, so that changing the argument in place is no error of torch's.
            copies.append(fresh.requires_grad_() * 1 if position == gradient_to else fresh)
        else:
            copies.append(argument.copy() if isinstance(argument, np.ndarray) else argument)
    return tuple(copies)


def _unfilled(name: str) -> Feedback:
    return blank(f"there is still a blank: `{name}` is `...`, fill it in.")
