"""The explorer: one image, and what two networks of the study make of it."""

from __future__ import annotations

import io
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor, nn

from xblcore import data, project
from xblcore.cam import explain
from xblcore.data import store
from xblcore.examples import Examples
from xblcore.metrics import METRICS
from xblcore.plots.images import DECOY, OBJECT, outline, show, show_cam
from xblcore.plots.style import about, label, number
from xblcore.study import config, runs
from xblcore.study.evaluate import explanation_metrics, predict
from xblcore.study.models import SplitNet

COMMAND = "make reproduce"
SHOWN = 100  # images of test_decoy
FIRST = ("erm", "xbl_d_plus")
VIEWS = {"decoy": "with the decoy", "swapped": "decoy of another class", "clean": "without decoy"}


def finished_runs(settings: config.Config, task: str) -> dict[str, runs.Result]:
    """Return the finished run of the median seed of each method, with the chosen weight.

    Raises:
        FileNotFoundError: no run is finished; the message names the command that runs them.
    """
    path = project.root() / settings.results / task / "weights.csv"
    found: list[runs.Result] = []
    if path.is_file():
        table = pd.read_csv(path)
        for row in table[table["chosen"]].itertuples():
            every = (runs.Run(task, str(row.method), row.weight, seed) for seed in settings.seeds)
            cached = (runs.cached(run, settings.task(task)) for run in every)
            found += [result for result in cached if result is not None]
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

    Attributes:
        table: what is shown below the controls: predictions and metrics of both networks.
    """

    def __init__(self) -> None:
        self._settings = config.load()
        self._finished: dict[str, runs.Result] = {}
        self.table = pd.DataFrame()
        self._picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self._numbers = widgets.HTML()
        tasks = [(label(name), name) for name in self._settings.tasks]
        self.task = widgets.Dropdown(description="Task", options=tasks)
        self.left = widgets.Dropdown(description="Method")
        self.right = widgets.Dropdown(description="Compared with")
        cams = [(label(name), name) for name in ("hires_cam", "grad_cam")]
        self.cam = widgets.Dropdown(description="CAM", options=cams)
        self.image = widgets.IntSlider(description="Image", max=SHOWN - 1, continuous_update=False)
        controls = (self.task, self.left, self.right, self.cam, self.image)
        super().__init__(
            [
                self._picture,
                widgets.HBox(controls, layout={"flex_flow": "row wrap"}),
                self._numbers,
            ]
        )
        self.add_class("xbl-explorer")
        self.task.observe(self._open, "value")
        for control in controls[1:]:
            control.observe(self._show, "value")
        self._open()

    def results(self) -> pd.DataFrame:
        """Return the means over seeds of both methods, from ``results/metrics.csv``."""
        path = project.root() / self._settings.results / "metrics.csv"
        if not path.is_file():
            return pd.DataFrame({"missing": [f"{path.name}; run: {COMMAND}"]})
        table = pd.read_csv(path, comment="#")
        methods = [self.left.value, self.right.value]
        rows = table[(table["task"] == self.task.value) & table["method"].isin(methods)]
        keys = ["split", "explainer", "metric"]
        return rows.pivot_table("value", keys, "method", dropna=False).round(3)

    def _open(self, _change: Any = None) -> None:
        """Offer the finished runs of the task."""
        try:
            self._finished = finished_runs(self._settings, self.task.value)
        except FileNotFoundError as error:  # also if the data are not built
            self._finished = {}
            self._picture.layout.display, self._numbers.value = "none", f"<p>{error}</p>"
        for box, first in ((self.left, FIRST[0]), (self.right, FIRST[1])):
            kept = box.value
            box.options = [(label(name), name) for name in self._finished]
            for name in (first, kept):
                if name in self._finished:
                    box.value = name
        self._show()

    def _show(self, _change: Any = None) -> None:
        names = (self.left.value, self.right.value)
        if not {*names} <= {*self._finished}:  # nothing is finished, or the options are changing
            return
        pair = [self._finished[name] for name in names]
        models = [runs.trained_model(r, self._settings.task(r.run.task)).cpu() for r in pair]
        views = self._views(pair[0].run)
        one, layer = views["decoy"], SplitNet.cam_layer
        cams = [
            explain(model, one.inputs(), layer=layer, method=self.cam.value) for model in models
        ]  # (1, h, w) each
        one = one.on_grid((cams[0].shape[1], cams[0].shape[2]))
        assert (cells := one.cells) is not None
        self._draw(views, cams, [label(name) for name in names])
        classes = data.info(pair[0].run.task)["classes"]
        rows = {"label": [classes[int(one.labels)]] * 2}
        for view, text in VIEWS.items():
            rows[f"prediction {text}"] = [_prediction(m, views[view], classes) for m in models]
        metrics = [explanation_metrics(cam, cells) for cam in cams]
        for name in metrics[0]:
            better = "higher" if METRICS[name].higher_is_better else "lower"
            values = [number(float(found[name]), 3) for found in metrics]
            rows[f"{label(name)} ({better} is better)"] = values
        heads = [f"{label(r.run.method)}, weight {r.run.weight:g}, seed {r.run.seed}" for r in pair]
        self.table = pd.DataFrame(rows.values(), index=list(rows), columns=heads)
        self._numbers.value = self.table.to_html(border=0)

    def _draw(self, views: dict[str, Examples], cams: list[Tensor], names: list[str]) -> None:
        fig = Figure(figsize=(12, 2.8), layout="constrained")
        axes = fig.subplots(1, 5)
        for ax, (view, text) in zip(axes, VIEWS.items(), strict=False):
            show(ax, views[view].inputs()[0].numpy()).set_title(text)
        for ax, cam, name in zip(axes[3:], cams, names, strict=True):
            show_cam(ax, cam[0].numpy()).set_title(f"{label(self.cam.value)}, {name}")
        marked = views["decoy"]
        for ax in (axes[0], *axes[3:]):
            outline(ax, marked.object_mask[0].numpy(), colour=OBJECT)
            outline(ax, marked.decoy_mask[0].numpy(), colour=DECOY)
        kind = data.info(self.task.value)["data"]
        fig.suptitle(f"{about(self.task.value, kind)}: object blue, decoy orange")
        content = io.BytesIO()
        fig.savefig(content, format="png", dpi=100)
        self._picture.layout.display, self._picture.value = "block", content.getvalue()

    def _views(self, run: runs.Run) -> dict[str, Examples]:
        """Return the image with its decoy, with that of another class, and without one."""
        settings = self._settings.task(run.task)
        splits = {
            "decoy": runs.load_split(run, settings, "test_decoy"),
            "swapped": runs.load_split(run, settings, "test_decoy_swapped"),
            # The images of test_decoy before they get their decoy; no split of the study has them.
            "clean": store._clean(run.task, "test_decoy", None),
        }
        index = min(self.image.value, len(splits["decoy"]) - 1)
        return {view: split.take(slice(index, index + 1)) for view, split in splits.items()}


def _prediction(model: nn.Module, one: Examples, classes: list[str]) -> str:
    probability, predicted = predict(model, one.images).softmax(1).max(1)
    name = classes[int(predicted)]
    mark = "✓" if int(predicted) == int(one.labels) else "✗"
    return f"{mark} {name} ({float(probability):.0%})"
