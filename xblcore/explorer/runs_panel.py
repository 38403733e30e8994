"""The lower part of the explorer: all runs of a task as dots, and the facts of the chosen one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from xblcore.explorer import tables
from xblcore.explorer.dots import Dot, RunKey, Runs
from xblcore.explorer.scatter import Scatter, plot_of
from xblcore.plots.style import label, title

HEADING = "Every run: does the metric tell how good a model is?"
FIRST_METRIC, FIRST_EXPLAINER = "distance_focus", "hires_cam"


class RunsPanel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Metric against clean accuracy, to be clicked.

    Args:
        picked: is called with the run that a person chose; returns whether the pictures are of
            its method and seed now.
        root: of the project; None: found from the current folder.
    """

    def __init__(self, picked: Callable[[RunKey], bool], *, root: Path | None = None) -> None:
        self._picked, self._root = picked, root
        self._runs: Runs | None = None
        self._dots: list[Dot] = []
        self._run: RunKey | None = None
        self._seen = False  # whether the pictures are of its method and seed
        self._quiet = False
        self.metric = widgets.Dropdown(description="Metric")
        self.explainer = widgets.Dropdown(description="Measured by")
        for box in (self.metric, self.explainer):
            box.layout.width = "auto"
            box.observe(self._redraw, "value")
        self.scatter = Scatter()
        self.scatter.observe(self._clicked, "chosen")
        self.facts = widgets.HTML()
        self.message = widgets.HTML()
        bar = widgets.Box([self.metric, self.explainer])
        bar.add_class("xbl-controls")
        both = widgets.HBox([self.scatter, self.facts])
        both.add_class("xbl-halves")
        self._body: tuple[widgets.Widget, ...] = (bar, both)
        self._heading = widgets.HTML(f'<h3 class="xbl-title">{HEADING}</h3>')
        super().__init__([self._heading, self.message, *self._body])

    def open_task(self, task: str) -> None:
        """Show the runs of a task, or why there are none."""
        self._run = None
        try:
            self._runs = Runs(task, root=self._root)
        except (FileNotFoundError, ValueError) as error:
            self._runs = None
            self.message.value = tables.note(str(error), kind="problem")
            self.children = (self._heading, self.message)
            return
        self.message.value = ""
        self.children = (self._heading, self.message, *self._body)
        self._set(self.explainer, self._runs.explainers, FIRST_EXPLAINER)
        self._redraw()

    @property
    def data(self) -> str:
        """Kind of data of the runs; ``original`` as long as there are none."""
        return self._runs.data if self._runs else "original"

    def show_run(self, run: RunKey | None) -> None:
        """Mark the run that the pictures show and tell its facts."""
        self._seen = True
        self._mark(run)

    def _mark(self, run: RunKey | None) -> None:
        self._run = run
        numbers = [n for n, dot in enumerate(self._dots) if dot.run == run]
        self._quiet = True
        self.scatter.chosen = numbers[0] if numbers else -1
        self._quiet = False
        self._tell()

    def run_of(self, method: str, seed: int) -> RunKey | None:
        """The run of the network with the chosen weight."""
        keys = self._runs.keys if self._runs else []
        found = [k for k in keys if (k.method, k.seed, k.chosen) == (method, seed, True)]
        return found[0] if found else None

    def _set(self, box: widgets.Dropdown, names: list[str], first: str) -> None:
        self._quiet = True
        kept = box.value if box.value in names else first
        box.options = [(label(name), name) for name in names]
        box.value = kept if kept in names else names[0]
        self._quiet = False

    def _redraw(self, _change: Any = None) -> None:
        if self._quiet or self._runs is None:
            return
        runs, by = self._runs, self.explainer.value
        self._set(self.metric, runs.metrics(by), FIRST_METRIC)
        metric = self.metric.value
        self._dots = runs.dots(metric, by)
        self._quiet = True
        with self.scatter.hold_sync():
            self.scatter.plot = plot_of(
                self._dots,
                metric=metric,
                explainer=by,
                title=title(f"{label(metric)}, one dot a run", task=runs.task, data=runs.data),
                told=runs.told(metric, by),
            )
            self.scatter.chosen = -1
        self._quiet = False
        self._mark(self._run)

    def _clicked(self, _change: Any) -> None:
        if not self._quiet and 0 <= self.scatter.chosen < len(self._dots):
            self._run = self._dots[self.scatter.chosen].run
            self._seen = self._picked(self._run)
            self._tell()

    def _tell(self) -> None:
        if self._run is None or self._runs is None:
            self.facts.value = tables.note("No run is chosen.")
            return
        by = self.explainer.value
        text = f"{self._run.name}. Explanations by {label(by)}."
        more = "The pictures above show this run." if self._seen else (
            "There is no picture of this run: the source above has no network of its method and "
            "seed."
        )  # fmt: skip
        if not self._run.chosen:
            more = "This weight was tried and not chosen. Its network was not kept" + (
                ", so the pictures above stay with the chosen weight of this method."
                if self._seen else "."
            )  # fmt: skip
        self.facts.value = tables.facts(text, self._runs.facts(self._run, by)) + tables.note(more)
