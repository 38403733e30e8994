"""The explorer: choose, look, compare, click a run. In a notebook, or as a page by Voila."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from xblcore import config
from xblcore.explorer import figure, filters, sources, tables
from xblcore.explorer.controls import PROJECTION, SCORES, Controls
from xblcore.explorer.dots import RunKey
from xblcore.explorer.figure import Side
from xblcore.explorer.runs_panel import RunsPanel
from xblcore.explorer.views import Ask, Source
from xblcore.plots.style import label, task_label


class Explorer(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """One image through the eyes of two networks, and every run of the task.

    It opens on the committed gallery, without torch. Where networks were trained here, ``Source``
    changes to them, and every choice is computed as it is made.

    Args:
        task: to open with; None: the first of ``params.yaml``. An unknown one is told, and the
            first opens.
        root: of the project; None: found from the current folder.

    Attributes:
        source: what is shown, None where there is nothing to show.
    """

    def __init__(self, task: str | None = None, *, root: Path | None = None) -> None:
        self._root = root
        tasks = config.load(root).tasks
        self.source: Source | None = None
        self._kept = ""
        self.controls = Controls(tasks, self._changed)
        self.runs = RunsPanel(self._picked, root=root)
        self._title, self._about = widgets.HTML(), widgets.HTML()
        self._wrong_task = ""
        self._status, self._picture = widgets.HTML(), widgets.HTML()
        self._answers, self._metrics = widgets.HTML(), widgets.HTML()
        numbers = widgets.HBox([self._answers, self._metrics])
        numbers.add_class("xbl-halves")
        self._whole = (self.controls.box(), self._status, self._picture, numbers)
        self._upper = widgets.VBox()
        super().__init__([self._title, self._about, self._upper, self.runs])
        self.add_class("xbl-explorer")
        if task is not None and task not in tasks:
            self._wrong_task = f"task must be one of {', '.join(tasks)}, got {task!r}"
        elif task is not None:
            with self.controls.quietly():
                self.controls["task"].value = task
        self._open_task()

    def _changed(self, name: str) -> None:
        """React to a choice that a person made."""
        if name == "task":
            self._wrong_task = ""
            self._open_task()
        elif name == "origin":
            self._open_source()
        elif name == "image":
            self._try(self._show)
        else:
            if name == "kind" and self.source:
                self.controls.fit_scores(self.source)
            self._try(self._list)
        if name in ("method", "seed"):
            self._mark_run()

    def _open_task(self) -> None:
        task = self.controls["task"].value
        self.controls.offer_origins(sources.origins(task, root=self._root))
        self.runs.open_task(task)
        self._open_source()

    def _open_source(self) -> None:
        """Open what was chosen, or say why it cannot be shown and what to do."""
        task, origin = self.controls["task"].value, self.controls["origin"].value
        self.source, problem = None, ""
        try:
            self.source = sources.open_source(origin or sources.COMMITTED, task, root=self._root)
        except (ValueError, FileNotFoundError) as error:
            problem = str(error)
        data = self.source.data if self.source else self.runs.data
        self._title.value = f'<h2 class="xbl-title">{task_label(task, data=data)}</h2>'
        missing = sources.why_not_live(task, root=self._root)
        about = self.source.about if self.source else ""
        if missing:
            about += f" Not computed live: {missing}."
        notes = [tables.note(text, kind="problem") for text in (self._wrong_task, problem) if text]
        self._about.value = "".join(notes) + tables.note(about.strip())
        if self.source is None:
            choice = len(self.controls["origin"].options) > 1
            self._upper.children = (self.controls.box(("task", "origin") if choice else ("task",)),)
            self.runs.show_run(None)
            return
        self.controls.fit(self.source)
        self._upper.children = self._whole
        self._try(self._list)
        self._mark_run()

    def _try(self, view: Callable[[], None]) -> None:
        """Show a view; where what it reads is gone or damaged, say so instead of the old one."""
        try:
            view()
        except (ValueError, FileNotFoundError) as error:
            self._tell(str(error), kind="problem")

    def _tell(self, text: str, *, kind: str) -> None:
        """A sentence in place of a picture."""
        self._status.value = tables.note(text, kind=kind)
        self._picture.value = self._answers.value = self._metrics.value = ""

    def _list(self) -> None:
        """List the images that the filter keeps, and show one of them."""
        if self.source is None:
            return
        ask, _ = self.controls.asks()
        show, order = self.controls["show"], self.controls["order"]
        answers = self.source.answers(ask)
        if show.value == "flipped":
            answers["flipped"] = self.source.flipped(ask)
        values = self.source.values(ask, order.value) if order.value else None
        found = filters.chosen(answers, show=show.value, worst_by=order.value, values=values)
        options = filters.named(found, answers, self.source.classes)
        self.controls.set_options("image", options)
        self._kept = f"{len(found)} of {len(answers)}"
        self._show()

    def _show(self) -> None:
        """Draw the chosen image, and write what the two networks make of it."""
        source, number = self.source, self.controls["image"].value
        if source is None:
            return
        if number is None:
            text = "No image is left by this filter; choose another one under Show."
            self._tell(text, kind="status")
            return
        asks = self.controls.asks()
        picture = source.picture(asks[0], number)
        sides = [self._side(source, ask, number, picture.label) for ask in asks]
        classes = source.classes
        by = f"{label(asks[0].kind)}, {SCORES[asks[0].score]}"
        told = "; ".join(f"{side.name} answers {side.answer}" for side in sides)
        of_class = asks[0].score != PROJECTION  # which is of all classes at once
        self._picture.value = figure.row(picture, sides, classes=classes, by=by, of_class=of_class)
        shown = f"{self._kept} images, by {label(asks[0].method)}. {told}."
        self._status.value = tables.note(shown, kind="status")
        self._answers.value = tables.answers(sides, picture.label, classes)
        self._metrics.value = tables.metrics(sides)

    def _side(self, source: Source, ask: Ask, number: int, true: int) -> Side:
        look = source.look(ask, number)
        answer = tables.answer_text(look.answers[ask.view], true, source.classes)
        return Side(label(ask.method), look, answer)

    def _mark_run(self) -> None:
        ask, _ = self.controls.asks()
        self.runs.show_run(self.runs.run_of(ask.method, ask.seed))

    def _picked(self, run: RunKey) -> bool:
        """Look at the network of a run that was clicked; whether there is one."""
        if self.source is None or run.method not in self.source.methods:
            return False
        with self.controls.quietly():
            self.controls["method"].value = run.method
            if run.seed in self.source.seeds:
                self.controls["seed"].value = run.seed
        self._try(self._list)
        return run.seed in self.source.seeds
