"""Guesses before a run: sliders that a learner may leave alone."""

from __future__ import annotations

import ipywidgets as widgets

WIDE = widgets.Layout(width="36em")


class Guess:
    """A slider for a share from 0 to 1; untouched it is no guess.

    Args:
        question: what is guessed.

    >>> guess = Guess("Accuracy without the decoy")
    >>> print(guess.value)
    None
    >>> guess.slider.value = 0.8
    >>> guess.value
    0.8
    """

    def __init__(self, question: str) -> None:
        self.value: float | None = None
        self.slider = widgets.FloatSlider(
            value=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            description=question,
            layout=WIDE,
            style={"description_width": "18em"},
        )
        self.slider.observe(self._moved, names="value")

    def _moved(self, change: dict[str, float]) -> None:
        self.value = change["new"]

    def _repr_mimebundle_(self, **options: object) -> object:
        """The slider, where the cell's value is shown."""
        return self.slider._repr_mimebundle_(**options)
