"""The explorer: compare two networks of the study on one image."""

from __future__ import annotations

import io
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from xblcore import data, project
from xblcore.cam import explain
from xblcore.examples import Examples
from xblcore.lab.refine import spoken
from xblcore.metrics import METRICS
from xblcore.plots.images import DECOY, OBJECT, outline, show, show_cam
from xblcore.plots.style import number
from xblcore.study import config, runs, tables
from xblcore.study.evaluate import explanation_metrics, predict
from xblcore.study.models import SplitNet
from xblcore.study.tables import about, label

COMMAND = "make reproduce"
SHOWN = 100  # images of test_decoy
FIRST = ("erm", "xbl_d_plus")
VIEWS = ("with the decoy", "decoy of another class", "without decoy")


def finished_runs(settings: config.Config, task: str) -> dict[str, runs.Result]:
    """Return the finished run of the median seed of each method, with the chosen weight."""
    weights = tables.read_csv(project.root() / settings.results / task / "weights.csv")
    found: list[runs.Result] = []
    if weights is not None:
        for row in weights.query("chosen").itertuples():
            for seed in settings.seeds:
                run = runs.Run(task, str(row.method), row.weight, seed)
                if result := runs.cached(run, settings.task(task)):
                    found.append(result)
    if not found:
        raise FileNotFoundError(
            f"No finished runs of {label(task)} on this machine. In a terminal, run: {COMMAND}"
        )
    methods = dict.fromkeys(result.run.method for result in found)
    return {method: runs.median_result(found, method) for method in methods}


class Explorer(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Compare two networks on one test image: where they look, and what they predict.

    The networks are those of finished runs in the run cache. Five controls choose the task, the
    two methods, the kind of CAM and the image.
    """

    def __init__(self) -> None:
        self._settings = config.load()
        self.table = pd.DataFrame()  # predictions and metrics of both networks
        layout = {"max_width": "100%", "min_width": "640px"}  # a phone scrolls
        self._picture = widgets.Image(format="png", layout=layout)
        self._numbers = widgets.HTML()
        tasks = [(label(name), name) for name in self._settings.tasks]
        self.task = widgets.Dropdown(description="Task", options=tasks)
        self.left = widgets.Dropdown(description="Method A")
        self.right = widgets.Dropdown(description="Method B")
        cams = [(label(name), name) for name in ("hires_cam", "grad_cam")]
        self.cam = widgets.Dropdown(description="CAM", options=cams)
        self.image = widgets.IntSlider(description="Image", max=SHOWN - 1, continuous_update=False)
        controls = (self.task, self.left, self.right, self.cam, self.image)
        row = widgets.HBox(controls, layout={"flex_flow": "row wrap"})
        picture = widgets.Box([self._picture], layout={"overflow": "auto"})
        super().__init__([picture, row, self._numbers])
        self.add_class("xbl-explorer")
        self.task.observe(self._open, "value")
        for control in controls[1:]:
            control.observe(self._show, "value")
        self._open()

    def results(self) -> pd.DataFrame:
        """Return the means over seeds of both methods, from ``results/metrics.csv``."""
        table = tables.read_csv(project.root() / self._settings.results / "metrics.csv")
        if table is None:
            return pd.DataFrame({"missing": [f"metrics.csv; run: {COMMAND}"]})
        methods = [self.left.value or FIRST[0], self.right.value or FIRST[1]]
        rows = table[(table["task"] == self.task.value) & table["method"].isin(methods)]
        keys = ["split", "explainer", "metric"]
        return rows.pivot_table("value", keys, "method", dropna=False).round(3)

    def _open(self, _change: Any = None) -> None:
        """Offer the finished runs of the task."""
        self._finished: dict[str, runs.Result] = {}  # draw nothing while the options change
        found = self._finished
        try:
            found = finished_runs(self._settings, self.task.value)
        except FileNotFoundError as error:  # also if the data are not built
            self._picture.layout.display, self._numbers.value = "none", f"<p>{error}</p>"
        for box, first in zip((self.left, self.right), FIRST, strict=True):
            kept = box.value
            box.options = [(label(name), name) for name in found]
            for name in (first, kept):
                if name in found:
                    box.value = name
        self._finished = found
        self._show()

    def _show(self, _change: Any = None) -> None:
        names = (self.left.value, self.right.value)
        if not {*names} <= {*self._finished}:  # nothing is finished, or the options are changing
            return
        task, pair = self.task.value, [self._finished[name] for name in names]
        models = [runs.trained_model(r, self._settings.task(task)).cpu() for r in pair]
        views = self._views(pair[0].run)
        images, layer = views[0].inputs(), SplitNet.cam_layer
        cams = [explain(m, images, layer=layer, method=self.cam.value) for m in models]  # (1, h, w)
        self._draw(views, cams, [label(name) for name in names])
        classes = data.info(task)["classes"]
        rows = {"label": [classes[int(views[0].labels)]] * 2}
        for title, view in zip(VIEWS, views, strict=True):
            found = (predict(model, view.images).softmax(1) for model in models)
            truth = classes[int(view.labels)]
            rows[f"prediction {title}"] = [spoken(one, classes, truth) for one in found]
        cells = views[0].on_grid((cams[0].shape[1], cams[0].shape[2])).cells
        assert cells is not None
        metrics = [explanation_metrics(cam, cells) for cam in cams]
        for name in metrics[0]:
            better = "higher" if METRICS[name].higher_is_better else "lower"
            values = [number(float(found[name]), 3) for found in metrics]
            rows[f"{label(name)} ({better} is better)"] = values
        heads = [f"{label(r.run.method)}, weight {r.run.weight:g}, seed {r.run.seed}" for r in pair]
        self.table = pd.DataFrame(rows.values(), index=list(rows), columns=heads)
        self._numbers.value = self.table.to_html(border=0)

    def _draw(self, views: list[Examples], cams: list[Tensor], names: list[str]) -> None:
        fig = Figure(figsize=(12, 2.8), layout="constrained")
        axes = fig.subplots(1, 5)
        for ax, view, title in zip(axes[:3], views, VIEWS, strict=True):
            show(ax, view.inputs()[0].numpy()).set_title(title)
        for ax, cam, name in zip(axes[3:], cams, names, strict=True):
            show_cam(ax, cam[0].numpy()).set_title(f"{label(self.cam.value)}, {name}")
        for ax in (axes[0], *axes[3:]):
            outline(ax, views[0].object_mask[0].numpy(), colour=OBJECT)
            outline(ax, views[0].decoy_mask[0].numpy(), colour=DECOY)
        context = about(self.task.value, data.info(self.task.value)["data"])
        fig.suptitle(f"{context}: object blue, decoy orange")
        content = io.BytesIO()
        fig.savefig(content, format="png", dpi=100)
        self._picture.layout.display, self._picture.value = "block", content.getvalue()

    def _views(self, run: runs.Run) -> list[Examples]:
        """Return the chosen image in each of :data:`VIEWS`."""
        settings = self._settings.task(run.task)
        ends = ("", "_swapped", "_clean")
        splits = [runs.load_split(run, settings, f"test_decoy{end}") for end in ends]
        index = min(self.image.value, len(splits[0]) - 1)
        return [split.take(slice(index, index + 1)) for split in splits]
