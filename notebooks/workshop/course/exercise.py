"""Exercises: run a learner's answer, recognise typical mistakes and reply with a hint.

A check never raises for a wrong answer and shows no traceback of its own.
"""

from __future__ import annotations

import html
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOLERANCE = 1e-4  # relative to the largest expected value; float32 rounding is far below it

# What the learner computed instead, a function that computes just that, and a hint.
Mistake = tuple[str, Callable[..., Any], str]


class Case(NamedTuple):
    """Arguments of a learner's function, in words as well ("an all-zero map")."""

    about: str
    arguments: tuple[Any, ...]
    hint: str = ""  # for this case; the exercise's if empty


@dataclass(frozen=True, repr=False)
class Feedback:
    """Reply of a check, readable without colour.

    >>> Feedback(False, "`f` returned None.", "End with return.")
    ✗ Not yet: `f` returned None.
      Hint: End with return.
    """

    passed: bool
    message: str
    hint: str = ""

    def __repr__(self) -> str:
        head = "✓ Correct" if self.passed else "✗ Not yet"
        return f"{head}: {self.message}" + (f"\n  Hint: {self.hint}" if self.hint else "")

    def _repr_html_(self) -> str:
        colour = "#0072b2" if self.passed else "#d55e00"
        text = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(repr(self)))
        style = f"border-left: 6px solid {colour}; padding: 0.4em 0.9em; white-space: pre-line"
        return f'<div role="status" style="{style}">{text}</div>'


def blank(name: str) -> Feedback:
    """Reply to a learner who has not filled in the blanks, without a hint at the solution."""
    hint = "Replace each `...` in the cell. Hints are folded above it."
    return Feedback(False, f"`{name}` still has a blank.", hint)


@dataclass(frozen=True)
class Exercise:
    """A function for learners to write; call the exercise with it to check it.

    Attributes:
        name: of the function.
        solution: a correct function.
        cases: tried in this order.
        success: what the correct function shows.
        hint: used if no typical mistake is recognised; it guides without giving code.
        mistakes: typical mistakes, recognised by their results on all cases.
        gradient_to: position of the argument that the result must be differentiable in.
        no_gradient: what is wrong if it is not, and a hint.
        call: applies a function to the arguments of a case.
    """

    name: str
    solution: Callable[..., Any]
    cases: Sequence[Case]
    success: str
    hint: str
    mistakes: Sequence[Mistake] = ()
    gradient_to: int | None = None
    no_gradient: tuple[str, str] = (
        "it has no gradient, so it could not train.",
        "Use torch from the argument to the result: no .item(), float() or NumPy.",
    )
    call: Callable[..., Any] = lambda function, *arguments: function(*arguments)

    def __call__(self, function: Any) -> Feedback:
        """Check a learner's function."""
        if function is Ellipsis:
            return blank(self.name)
        if not callable(function):
            return Feedback(False, f"`{self.name}` is {function!r}, not a function.", self.hint)
        replies = (self._check(function, case) for case in self.cases)
        return next((reply for reply in replies if reply), Feedback(True, self.success))

    def or_solution(self, function: Any) -> Callable[..., Any]:
        """Return the learner's function if it is correct, else the solution, and say which."""
        passed = self(function).passed
        print(f"Using {'your' if passed else 'the prepared'} `{self.name}`.")
        chosen: Callable[..., Any] = function if passed else self.solution
        return chosen

    def _check(self, function: Callable[..., Any], case: Case) -> Feedback | None:
        arguments = self._copies(case)
        try:
            got = self.call(function, *arguments)
        except Exception as error:  # anything can happen in a learner's code
            return self._stopped(function, error)
        if got is Ellipsis:
            return blank(self.name)
        problem = difference(got, self.call(self.solution, *self._copies(case)))
        if problem is None:
            return self._no_gradient(got, arguments)
        for what, mistaken, hint in self.mistakes:
            if self._computes(function, mistaken):
                return Feedback(False, f"you computed {what}.", hint)
        return Feedback(False, f"for {case.about}, {problem}", case.hint or self.hint)

    def _computes(self, function: Callable[..., Any], mistaken: Callable[..., Any]) -> bool:
        """Whether a function has the results of a mistake on every case."""
        try:
            return not any(
                difference(*(self.call(one, *self._copies(case)) for one in (function, mistaken)))
                for case in self.cases
            )
        except Exception:  # on a later case
            return False

    def _no_gradient(self, got: Any, arguments: tuple[Any, ...]) -> Feedback | None:
        if self.gradient_to is None:
            return None
        if isinstance(got, Tensor) and got.requires_grad:
            argument = arguments[self.gradient_to]
            if torch.autograd.grad(got.sum(), argument, allow_unused=True)[0] is not None:
                return None
        problem, hint = self.no_gradient
        return Feedback(False, f"the value is correct, but {problem}", hint)

    def _stopped(self, function: Callable[..., Any], error: Exception) -> Feedback:
        text = (str(error).splitlines() or [""])[0]
        if "ellipsis" in text.lower():
            return blank(self.name)
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        lines = [at.line for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
        where = f" in the line `{lines[-1]}`" if lines and lines[-1] else ""
        message = f"`{self.name}` stopped{where} with {type(error).__name__}: {text}"
        return Feedback(False, message, self.hint)

    def _copies(self, case: Case) -> tuple[Any, ...]:
        def copy(position: int, argument: Any) -> Any:
            if isinstance(argument, Tensor):
                fresh = argument.detach().clone()
                # Not a leaf: changing it in place is then no error of PyTorch.
                return fresh.requires_grad_() * 1 if position == self.gradient_to else fresh
            return argument.copy() if isinstance(argument, np.ndarray) else argument

        return tuple(copy(n, argument) for n, argument in enumerate(case.arguments))


def check_answers(given: Any, expected: Mapping[str, tuple[Any, str]], success: str) -> Feedback:
    """Check numbers or words; ``expected`` has the correct answer and a hint for each name."""
    if not isinstance(given, Mapping) or set(given) != set(expected):
        return Feedback(False, f"answers are needed for {', '.join(expected)}.", "One for each.")
    for name, got in given.items():
        value, hint = expected[name]
        if got is Ellipsis:
            return blank(name)
        if isinstance(value, str):
            problem = None if got == value else f"{got!r} is not what we would choose."
        else:
            problem = difference(got, value)
        if problem:
            return Feedback(False, f"`{name}`: {problem}", hint)
    return Feedback(True, success)


def difference(got: Any, expected: Any) -> str | None:
    """Describe how an answer differs from the expected one; None if it does not.

    >>> difference([1.0, 5.0], [1.0, 2.0])
    'the value at [1] must be 2, got 5.'
    """
    if got is None:
        return "the result is None; does the function end with `return`?"
    values, right = as_array(got), as_array(expected)
    if values is None or right is None:
        return f"numbers are needed, got {type(got).__name__}."
    slack = TOLERANCE * max(float(np.abs(right[np.isfinite(right)]).max(initial=0)), 1e-3)

    def close(one: NDArray[np.float64]) -> bool:
        return one.shape == right.shape and np.allclose(one, right, 0, slack, equal_nan=True)

    if close(values):
        return None
    if values.shape != right.shape:
        return f"the shape must be {right.shape}, got {values.shape}; () is a single number."
    norm = float((right**2).sum())
    factor = float((values * right).sum()) / norm if norm else 0.0
    if right.size > 1 and factor and close(values / factor):
        return f"everything is {factor:.4g} times the expected value; is something not normalised?"
    wrong = ~np.isclose(values, right, 0, slack, equal_nan=True)
    place = f" at {[int(i) for i in np.argwhere(wrong)[0]]}" if right.ndim else ""
    must_be, found = (f"{one[wrong].flat[0]:.4g}" for one in (right, values))
    if isinstance(expected, bool):
        must_be, found = str(expected), str(bool(values))
    note = "; NaN is the result of 0 / 0" if found == "nan" else ""
    return f"the value{place} must be {must_be}, got {found}{note}."


def as_array(value: Any) -> NDArray[np.float64] | None:
    """Convert numbers of any kind to float64; None if they are no numbers."""
    if value is None or isinstance(value, str):
        return None
    try:
        return np.asarray(value.detach() if isinstance(value, Tensor) else value, np.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
