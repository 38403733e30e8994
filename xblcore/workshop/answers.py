"""An answer beside the right one: where they differ, in words for the learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOLERANCE = 1e-4  # relative to the largest expected value; float32 rounding is far below it


def unusable(got: Any, name: str) -> str | None:
    """What keeps an answer from being compared at all, or None."""
    if got is None:
        return f"`{name}` is None. Does the function end with `return`?"
    if callable(got):
        return f"`{name}` is a function; are the brackets of a call missing?"
    try:
        values = as_array(got)
    except (TypeError, ValueError, RuntimeError):
        return f"`{name}` should be made of numbers, got {type(got).__name__}."
    if np.isnan(values).any():
        cell = _cell(np.isnan(values))
        return f"there is NaN (not a number){cell}, such as 0 / 0 gives."
    return None


def difference(got: Any, expected: Any) -> str | None:
    """What is off in ``got``, in words; None where it agrees with ``expected``.

    >>> difference([1.0, 5.0], [1.0, 2.0])
    'at [1] it should be 2 and is 5.'
    >>> difference([-1.0, -2.0], [1.0, 2.0])
    'the sign is the wrong way round.'
    >>> difference([2.0, 4.0], [1.0, 2.0])
    'everything is 2 times what it should be: is something not normalised?'
    """
    right, values = as_array(expected), as_array(got)
    if values.shape != right.shape:
        if values.shape == right.shape[::-1] and right.ndim > 1 and _close(values.T, right):
            return "rows and columns have changed places."
        if not right.ndim:
            return f"it should be a single number and has the shape {values.shape}."
        return f"the shape should be {right.shape} and is {_shape(values)}."
    if _close(values, right):
        return None
    if np.isfinite(values).all():
        if _close(-values, right):
            return "the sign is the wrong way round."
        if right.ndim > 1 and right.shape == right.T.shape and _close(values.T, right):
            return "rows and columns have changed places."
        factor = _factor(values, right)
        if factor is not None and right.size > 1:
            return (
                f"everything is {factor:.4g} times what it should be: is something not normalised?"
            )
    wrong = ~np.isclose(values, right, rtol=0, atol=_slack(right), equal_nan=True)
    truths = _is_bool(got) and _is_bool(expected)
    said = [
        str(bool(first)) if truths else f"{first:.4g}"
        for first in (right[wrong].flat[0], values[wrong].flat[0])
    ]
    return f"{_place(wrong)} should be {said[0]} and is {said[1]}."


def as_array(value: Any) -> NDArray[np.float64]:
    """Numbers of any kind as float64; a tensor may have a graph.

    Raises:
        TypeError, ValueError, RuntimeError: not made of numbers.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    elif isinstance(value, list | tuple):
        value = [as_array(part) for part in value]
    if isinstance(value, str):
        raise TypeError("text is no number")
    return np.asarray(value, dtype=np.float64)


def _slack(expected: NDArray[np.float64]) -> float:
    finite = np.abs(expected[np.isfinite(expected)])
    return TOLERANCE * max(float(finite.max(initial=0)), 1e-3)


def _close(values: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    return values.shape == expected.shape and bool(
        np.allclose(values, expected, rtol=0, atol=_slack(expected), equal_nan=True)
    )


def _factor(values: NDArray[np.float64], expected: NDArray[np.float64]) -> float | None:
    """The one factor between the two, if there is one."""
    norm = float((expected**2).sum())
    factor = float((values * expected).sum()) / norm if norm else 0.0
    return factor if factor and _close(values / factor, expected) else None


def _shape(values: NDArray[np.float64]) -> str:
    return str(values.shape) if values.ndim else "a single number"


def _cell(wrong: NDArray[np.bool_]) -> str:
    return f" at {[int(i) for i in np.argwhere(wrong)[0]]}" if wrong.ndim else ""


def _place(wrong: NDArray[np.bool_]) -> str:
    return f"at {[int(i) for i in np.argwhere(wrong)[0]]} it" if wrong.ndim else "it"


def _is_bool(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype == torch.bool
    return isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
