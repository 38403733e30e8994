"""A question with named situations and one word of answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xblcore.workshop.feedback import Feedback, blank

HINT = "Read the situation once more: what is known, and what would a mistake look like there?"


def choose(
    choices: Any, right: Mapping[str, tuple[str, str]], words: Sequence[str], *, done: str
) -> Feedback:
    """Check a learner's choices.

    Args:
        choices: name of a situation to one of ``words``.
        right: name of a situation to the word that fits and why.
        words: that there are.
        done: what being right shows.

    >>> choose({"a": "no"}, {"a": ("yes", "it is so.")}, ["yes", "no"], done="all is well")
    ✗ Not yet: `a`: we would not choose "no" there.
      Hint: Think again: it is so.
    """
    if not isinstance(choices, Mapping) or set(choices) != set(right):
        text = f"`choices` should have the situations {', '.join(right)}, each once."
        return Feedback(False, text, HINT)
    blanks = [name for name, choice in choices.items() if choice is ... or choice is None]
    if blanks:
        return blank(f"there is still a blank at `{blanks[0]}`.")
    for name, choice in choices.items():
        if choice not in words:
            text = f"`{name}` should be one of {', '.join(words)}, got {choice!r}."
            return Feedback(False, text, HINT)
        word, why = right[name]
        if choice != word:
            text = f'`{name}`: we would not choose "{choice}" there.'
            return Feedback(False, text, f"Think again: {why}")
    return Feedback(True, done)
