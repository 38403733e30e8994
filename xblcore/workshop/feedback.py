"""What a check answers: right or not yet, what is off, and a hint that is not the solution."""

from __future__ import annotations

import html
from dataclasses import dataclass

from xblcore.plots.style import BLUE, VERMILLION

# To who has not tried yet; a hint of the exercise itself would take the folded ones away.
FILL_IN = "Fill in each `...` of the cell; the hints are folded above it."


@dataclass(frozen=True, repr=False)
class Feedback:
    """What a check says, readable without colour.

    Attributes:
        passed: whether the answer is right.
        message: what is off, or what was shown by being right.
        hint: what to think about next; never empty where not passed.

    >>> Feedback(False, "returned None", "End with return.")
    ✗ Not yet: returned None
      Hint: End with return.
    """

    passed: bool
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        if not self.passed and not self.hint:
            raise ValueError("hint must be there where an answer is not right, got none")

    def __str__(self) -> str:
        if self.passed:
            return f"✓ Right: {self.message}"
        return f"✗ Not yet: {self.message}\n  Hint: {self.hint}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour, head = (BLUE, "✓ Right") if self.passed else (VERMILLION, "✗ Not yet")
        text = f"<b>{head}:</b> {_marked_up(self.message)}"
        if self.hint:
            text += f"<br><b>Hint:</b> {_marked_up(self.hint)}"
        return (
            f'<div role="status" style="border-left: 6px solid {colour}; padding: 0.4em 0.9em; '
            f'margin: 0.3em 0; max-width: 60em">{text}</div>'
        )


def blank(message: str) -> Feedback:
    """What is said to a learner who has not filled in a blank.

    >>> print(blank("there is still a blank."))
    ✗ Not yet: there is still a blank.
      Hint: Fill in each `...` of the cell; the hints are folded above it.
    """
    return Feedback(False, message, FILL_IN)


def _marked_up(text: str) -> str:
    """Text for a page, with what stands between backticks as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
