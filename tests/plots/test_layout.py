"""Every figure, on the largest and the smallest inputs: legible, also in print without colours.

The title names the data, the legend explains every mark, and arrows show what exceeds an axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tests.plots import layout, test_claims
from tests.plots.synthetic import accuracies, make_history, make_weights
from tests.study.synthetic import make_runs
from xblcore.decoys import Decoy
from xblcore.methods import METHODS
from xblcore.plots import charts, experiments, images
from xblcore.study import claims, tables
from xblcore.study.config import Condition
from xblcore.study.explainers import EXPLAINERS

ALL = tuple(METHODS)
LONG = replace(METHODS["rrr"], name="long", label="A loss with a rather long name",
               marker="$L$")  # fmt: skip
STUDY = ("erm", "oracle", "xbl_d", "xbl_d_plus", "xbl_d_plus_first", "xbl_d_released",
         "xbl_overlap", "activation", "shuffled_masks", "centre_prior", "uniform", "rrr",
         "rrr_g", "long")  # fmt: skip
ONE = ("xbl_d_plus",)
COCO = ("decoy_coco", "stand-in")
TINY = ("decoy_cifar10", "tiny")
ABOUT = {"task": "decoy_cifar10", "data": "tiny"}
DEFAULT = (Condition(),)


def runs_of(
    methods: tuple[str, ...], *tasks: tuple[str, str], conditions: Sequence[Condition] = DEFAULT
) -> pd.DataFrame:
    """Runs on the tasks, each with its kind of data."""
    data = dict(tasks or [TINY])
    return make_runs(accuracies(methods), tasks=list(data), data=data, conditions=conditions)


def summary(methods: tuple[str, ...], *tasks: tuple[str, str]) -> Figure:
    runs = runs_of(methods, *tasks)
    return charts.summary(plt.figure(), runs, tables.summarise(runs))


def explainers(methods: tuple[str, ...]) -> Figure:
    columns = [*EXPLAINERS, "decoy_flip_rate"]
    values = np.random.default_rng(0).uniform(-1, 1, (len(methods), len(columns)))
    return charts.explainers(plt.figure(), pd.DataFrame(values, list(methods), columns), **ABOUT)


def metrics(methods: tuple[str, ...]) -> Figure:
    points = claims.run_table(runs_of(methods))
    return charts.metrics_against_accuracy(plt.figure(), points, explainer="grad_cam", data="tiny")


def forest(methods: tuple[str, ...]) -> Figure:
    fig, ax = plt.subplots(figsize=(7.5, 5))
    charts.forest(ax, claims.informativeness(runs_of(methods)), data="tiny")
    return fig


def gradients(*methods: str) -> Figure:
    blocks = [f"backbone.features.{n}.body.{part}.weight" for n in range(5) for part in range(4)]
    names = ["features.0.weight", *blocks, "head.2.weight", "head.2.bias"]
    norms = {
        method: {name: (10.0**-n, 0.0 if method == "xbl_d_released" else 10.0 ** (n % 4))
                 for n, name in enumerate(names[:8] if method == "rrr" else names)}
        for method in methods
    }  # fmt: skip
    return charts.gradient_norms(plt.figure(), norms, **ABOUT)


def condition(by: str, *values: object, methods: tuple[str, ...] = STUDY) -> Figure:
    runs = runs_of(methods, conditions=[*DEFAULT, *(Condition(**{by: v}) for v in values)])
    return experiments.by_condition(plt.figure(), tables.summarise(runs, by=(by,)), by=by)


RNG = np.random.default_rng(0)
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "a class with a long name", "Sandal",
           "train", "zebra")  # fmt: skip
DECOY = np.zeros((8, 12, 12), bool)
DECOY[:, -3:, -3:] = True
PICTURES = RNG.random((8, 3, 12, 12))


def examples(count: int) -> Figure:
    distance = RNG.random((count, 6, 6)) * 0.7
    marked = np.roll(DECOY, (-4, -4), (1, 2))[:count]
    return images.examples(plt.figure(), PICTURES[:count], marked, DECOY[:count], distance,
                           labels=range(count), classes=CLASSES, **ABOUT)  # fmt: skip


def gallery(methods: tuple[str, ...], count: int) -> Figure:
    cams = {name: RNG.random((count, 6, 6)) for name in methods}
    return images.cam_gallery(
        plt.figure(), PICTURES[:count], cams, decoy_mask=DECOY[:count], labels=range(count),
        classes=CLASSES, predictions={name: [4] * count for name in methods},
        accuracies=dict.fromkeys(methods, 0.5), explainer="hires_cam", **ABOUT,
    )  # fmt: skip


def over_training(epochs: int) -> Figure:
    return images.cams_over_training(
        plt.figure(), PICTURES[:4], RNG.random((epochs, 4, 6, 6)), decoy_mask=DECOY[:4],
        method="xbl_d_released", explainer="hires_cam_log_prob", **ABOUT,
    )  # fmt: skip


def before_after(count: int) -> Figure:
    names, marks = [CLASSES[4]] * count, DECOY[:count]
    return images.before_after(
        plt.figure(), PICTURES[:count], *RNG.random((2, count, 6, 6)), decoy_mask=marks,
        object_mask=np.roll(marks, 4, 1), truth=names, predictions=(["zebra"] * count, names),
    )  # fmt: skip


def far(lowest: float, highest: float) -> Figure:
    """A summary whose intervals and seeds lie far beyond the axes, and one undefined method."""
    runs = runs_of(STUDY)
    table = tables.summarise(runs)
    table = table.assign(ci_low=table["ci_low"] + lowest, ci_high=table["ci_high"] + highest,
                         nan_share=0.5)  # fmt: skip
    table.loc[table["method"] == "rrr", ["mean", "ci_low", "ci_high"]] = np.nan
    return charts.summary(plt.figure(), runs, table)


FIGURES: dict[str, Callable[[], Figure]] = {
    "summary": lambda: summary(STUDY, ("decoy_fashion_mnist", "original"), TINY, COCO),
    "summary, one task": lambda: summary(ALL, TINY),
    "summary, one method": lambda: summary(ONE, TINY),
    "summary, wide intervals": lambda: far(-3.0, 3.0),
    "weights": lambda: charts.weight_selection(
        plt.figure(), make_weights(ALL, steps=8), data="tiny"
    ),
    "weights, one method": lambda: charts.weight_selection(
        plt.figure(), make_weights(ONE), data="tiny"
    ),
    "curves": lambda: charts.learning_curves(plt.figure(), make_history(STUDY), **ABOUT),
    "curves, erm": lambda: charts.learning_curves(
        plt.figure(), make_history(("erm",), epochs=1, seeds=1), **ABOUT
    ),
    "explainers": lambda: explainers(STUDY),
    "explainers, one method": lambda: explainers(ONE),
    "metrics": lambda: metrics(STUDY),
    "metrics, few methods": lambda: metrics(("erm", "oracle", "rrr")),
    "forest": lambda: forest(STUDY),
    "gradients": lambda: gradients("xbl_d_plus", "xbl_d_released", "rrr"),
    "gradients, one method": lambda: gradients("xbl_d_released"),
    "feedback": lambda: condition("feedback", "incomplete", "dilated", "jittered", "boxes",
                                  "random", "adversarial"),
    "annotated": lambda: condition("annotated", 25, 100, 400, 1600),
    "decoys": lambda: condition("decoy", Decoy(size=8, place="top_left", predictive=0.9), Decoy()),
    "switch_on, undefined": lambda: condition("switch_on", 1, 3, methods=("erm", "oracle", *ONE)),
    "examples": lambda: examples(8),
    "examples, two": lambda: examples(2),
    "gallery": lambda: gallery(STUDY, 8),
    "gallery, one method": lambda: gallery(ONE, 2),
    "over training": lambda: over_training(20),
    "over training, one epoch": lambda: over_training(1),
    "before and after": lambda: before_after(8),
    "before and after, one image": lambda: before_after(1),
    **test_claims.FIGURES,
}  # fmt: skip


@pytest.fixture(autouse=True)
def long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, LONG.name, LONG)
    monkeypatch.setitem(tables.LABELS, LONG.name, LONG.label)


@pytest.mark.filterwarnings("error:constrained_layout")
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_read(name: str) -> None:
    fig = FIGURES[name]()
    boxes = layout.texts(fig)
    assert layout.overlapping(boxes) == []
    assert layout.cut_off(fig, boxes) == []
    title = fig.get_suptitle()
    data = ("tiny data", "tiny and stand-in data", "partly", "annotated images")
    assert any(kind in title for kind in data)
    assert layout.legend_labels(fig)
    assert layout.alike_without_colour(fig) == []
    assert layout.beyond_without_arrow(fig) == []


@pytest.mark.parametrize("name", ["weights", "curves", "metrics", "gradients", "feedback"])
def test_the_legend_explains_every_colour(name: str) -> None:
    assert layout.unexplained(FIGURES[name]()) == set()
