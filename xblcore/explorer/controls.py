"""The explorer's widgets for choosing, kept in step with what a source has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from xblcore.explorer.filters import FILTERS, orders
from xblcore.explorer.sources import NAMES
from xblcore.explorer.views import PREDICTED, Ask, Source
from xblcore.plots.style import label

PROJECTION = "projection"  # the score that is no class's
SCORES = {"logit": "logit", "log_prob": "log probability", PROJECTION: "random projection"}
TITLES = {
    "task": "Task", "origin": "Source", "split": "Split", "seed": "Seed",
    "method": "Method", "other": "Compare with", "kind": "CAM", "score": "Score",
    "target": "Target class", "layer": "Layer", "show": "Show", "order": "Order", "image": "Image",
}  # fmt: skip
SPLITS = {
    "test_decoy": "test, random decoy",
    "test_clean": "test, no decoy",
    "test_decoy_swapped": "test, decoy swapped",
    "val": "validation, telling decoy",
    "val_swapped": "validation, decoy swapped",
}
# Stands for views.PREDICTED among the target classes; a dropdown whose value is None looks empty.
OWN_ANSWER = -1
FIRST_PAIR = ("erm", "xbl_d")  # the floor and this study's own, where both are there


class Controls:
    """Choices of task, source, networks, explanation, filter and image.

    Args:
        tasks: names of the tasks.
        changed: is called with the name of the choice that a person changed.
    """

    def __init__(self, tasks: Sequence[str], changed: Callable[[str], None]) -> None:
        self._quiet = False
        self._changed = changed
        self._by_name: dict[str, widgets.Dropdown] = {}
        for name, title in TITLES.items():
            self._by_name[name] = self._dropdown(name, title)
        self.previous = self._step("Previous image", "arrow-left", -1)
        self.next = self._step("Next image", "arrow-right", 1)
        with self.quietly():
            self.set_options("task", [(label(task), task) for task in tasks])
            self.set_options("show", [(text, name) for name, text in FILTERS.items()])
            self.set_options("order", orders())

    def __getitem__(self, name: str) -> widgets.Dropdown:
        return self._by_name[name]

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Changes inside the block are the program's own and are not reported."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def fit(self, source: Source) -> None:
        """Offer what the source has; what was chosen stays where the source has it too."""
        with self.quietly():
            splits = [(SPLITS.get(name, label(name)), name) for name in source.splits]
            self.set_options("split", splits)
            self.set_options("seed", [(str(seed), seed) for seed in source.seeds])
            methods = [(label(name), name) for name in source.methods]
            for name, first in zip(("method", "other"), FIRST_PAIR[::-1], strict=True):
                self.set_options(name, methods, first=first)
            kinds = [(label(name), name) for name in source.scores]
            self.set_options("kind", kinds, first="hires_cam")
            self.set_options("layer", [(name, name) for name in source.layers])
            targets = [("the predicted class", OWN_ANSWER)]
            if source.free_target:
                targets += [(name, number) for number, name in enumerate(source.classes)]
            self.set_options("target", targets)
            self.fit_scores(source)

    def fit_scores(self, source: Source) -> None:
        """Offer the scores that the chosen CAM kind has in the source."""
        scores = source.scores[self["kind"].value]
        self.set_options("score", [(SCORES[name], name) for name in scores])

    def set_options(
        self, name: str, options: Sequence[tuple[str, Any]], *, first: Any = None
    ) -> None:
        """New options; the value stays if it is among them, else it is ``first`` or the first."""
        box, values = self._by_name[name], [value for _, value in options]
        with self.quietly():
            kept = box.value if box.options and box.value in values else first
            if tuple(box.options) != tuple(options):
                box.options = tuple(options)
            if values:
                box.value = kept if kept in values else values[0]
            box.disabled = len(values) < 2

    def offer_origins(self, names: Sequence[str]) -> None:
        """Offer these sources."""
        self.set_options("origin", [(NAMES[name], name) for name in names])

    def asks(self) -> tuple[Ask, Ask]:
        """What is asked of the method, and of the one that it is compared with."""
        common = {name: self[name].value for name in ("seed", "split", "kind", "score", "layer")}
        target = self["target"].value
        common["target"] = PREDICTED if target == OWN_ANSWER else target
        return (
            Ask(method=self["method"].value, **common),
            Ask(method=self["other"].value, **common),
        )

    def box(self, names: Sequence[str] = tuple(TITLES)) -> widgets.Box:
        """The choices of these names in a grid, the buttons behind that of the image."""
        boxes: list[widgets.Widget] = [self[name] for name in names]
        if "image" in names:
            boxes += [self.previous, self.next]
        grid = widgets.Box(boxes)
        grid.add_class("xbl-controls")
        return grid

    def _dropdown(self, name: str, title: str) -> widgets.Dropdown:
        box = widgets.Dropdown(description=title, layout={"width": "auto"})
        box.add_class(f"xbl-choose-{name}")

        def report(change: Any) -> None:
            if not self._quiet:
                self._changed(name)

        box.observe(report, "value")
        return box

    def _step(self, title: str, icon: str, by: int) -> widgets.Button:
        button = widgets.Button(description=title, icon=icon, layout={"width": "auto"})

        def step(_button: object) -> None:
            values = [value for _, value in self["image"].options]
            if values:
                place = (values.index(self["image"].value) + by) % len(values)
                self["image"].value = values[place]

        button.on_click(step)
        return button
