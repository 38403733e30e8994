"""Guesses before a run: sliders that a learner may leave alone."""

from __future__ import annotations

import ipywidgets as widgets

WIDE = widgets.Layout(width="36em")


NOT_YET = "no guess yet; for 0.5 move it away and back"


class Guess:
    """A slider for a share from 0 to 1; untouched it is no guess, and says so.

    Args:
        question: what is guessed.

    >>> guess = Guess("Accuracy without the decoy")
    >>> print(guess.value, guess.said.value)
    None no guess yet; for 0.5 move it away and back
    >>> guess.slider.value = 0.8
    >>> guess.value, guess.said.value
    (0.8, 'your guess: 0.80')
    """

    def __init__(self, question: str) -> None:
        self.value: float | None = None
        self.slider = widgets.FloatSlider(
            value=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            description=question,
            readout=False,  # a number there would look like a guess
            layout=WIDE,
            style={"description_width": "18em"},
        )
        self.said = widgets.Label(NOT_YET)
        self.slider.observe(self._moved, names="value")

    def _moved(self, change: dict[str, float]) -> None:
        self.value = change["new"]
        self.said.value = f"your guess: {self.value:.2f}"

    def _repr_mimebundle_(self, **options: object) -> object:
        """The slider and what it says, where the cell's value is shown."""
        return widgets.HBox([self.slider, self.said])._repr_mimebundle_(**options)
