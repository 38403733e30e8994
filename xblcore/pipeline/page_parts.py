"""What the page is made of, and what it says of the figures that ``task.ipynb`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A figure as the page shows it, ``width`` CSS pixels wide; ``uri`` holds the picture."""

    anchor: str
    title: str
    claims: str
    alt: str
    caption: str
    notebook: str
    file: str
    uri: str
    width: int


@dataclass(frozen=True)
class Table:
    """A table of strings; its first column names the row, the first ``words`` hold words."""

    anchor: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notebook: str = ""
    file: str = ""
    words: int = 1
    claims: str = ""


@dataclass(frozen=True)
class Task:
    """What the page shows of a task."""

    anchor: str
    title: str
    data: str
    figures: Sequence[Figure]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Context:
    """All that the page says; ``overview`` are the figures over all tasks."""

    profile: str
    seeds: int
    claims: Sequence[Mapping[str, Any]]
    tasks: Sequence[Task]
    overview: Sequence[Figure]
    summary: Table
    run_times: Table
    environment: Table


@dataclass(frozen=True)
class Entry:
    """A figure that every task has, or one over all tasks.

    Attributes:
        name: of its files, without a suffix.
        title: heading, below that of the task.
        claims: that it bears on.
        alt: what it shows, for those who cannot see it.
        caption: what to make of it.
    """

    name: str
    title: str
    claims: str
    alt: str
    caption: str


SUMMARY = Entry(
    name="summary",
    title="All methods on all tasks",
    claims="C4",
    alt="Dot plots, one column a task and one method a row: above, the recovery of clean accuracy "
    "between the floor (ERM) and the ceiling (oracle); below, the decoy flip rate.",
    caption="Above, the share won back of the accuracy that the shortcut costs; below, the share "
    "of predictions that still change when only the decoy does. Mean over seeds with its 95% "
    "interval, and each seed below it.",
)
POOLED = Entry(
    name="informativeness_pooled",
    title="What each metric tells about accuracy, all tasks",
    claims="C3",
    alt="Forest plot: for each metric and explainer the rank correlation with clean accuracy and "
    "its interval, over the runs of all tasks.",
    caption="Spearman's correlation over the runs of all tasks, each ranked within its task, with "
    "95% intervals by a bootstrap that draws whole methods.",
)
_CAMS = (
    "Table of pictures: one test image a row; in the columns the image with its decoy, its "
    "distance map and the class activation map of each method, with the predicted class below."
)
FIGURES = (
    Entry(
        name="data",
        title="The data",
        claims="",
        alt="One test image of each class, below it the same image with object and decoy outlined, "
        "and its distance map, which is zero on the object and grows away from it.",
        caption="The decoy's value tells the class in training; on these test images it is random. "
        "The distance map is what XBL-D weighs attributions with.",
    ),
    Entry(
        name="cams_grad_cam",
        title="Where each method looks, Grad-CAM",
        claims="C1",
        alt=_CAMS,
        caption="First seed, predicted class, each map scaled to its own maximum. Attribution "
        "inside the orange outline is attribution to the decoy.",
    ),
    Entry(
        name="cams_hires_cam",
        title="Where each method looks, HiResCAM",
        claims="C1",
        alt=_CAMS,
        caption="The same images by HiResCAM, the exact contribution of each cell.",
    ),
    Entry(
        name="accuracy",
        title="Accuracy",
        claims="C1, C2",
        alt="Two dot plots, one method a row: accuracy on clean test images and on test images "
        "with a random decoy, with intervals, between the floor (ERM) and the ceiling (oracle).",
        caption="Mean over seeds with its 95% interval, and each seed below it.",
    ),
    Entry(
        name="decoy_flip_rate",
        title="Reliance on the decoy",
        claims="C2",
        alt="Dot plot, one method a row: the share of predictions that change when only the decoy "
        "does, with intervals.",
        caption="The causal ground truth of reliance: the same images, only the decoy's value "
        "exchanged.",
    ),
    Entry(
        name="weight_sweep",
        title="Weight of the explanation loss",
        claims="",
        alt="Line plots, one method a panel: accuracy against the weight on a logarithmic axis, "
        "for validation images with the decoy swapped and for clean test images; the chosen "
        "weight is marked.",
        caption="The weight is chosen by accuracy on validation images whose decoy was swapped. "
        "Test accuracy is shown beside it and was not used.",
    ),
    Entry(
        name="explainers",
        title="Explainers compared",
        claims="C1",
        alt="Dot plots, one explainer a panel and one method a row: the mean distance of the "
        "attribution to the object.",
        caption="Whether a gain carries over to explainers that a method was not trained against, "
        "or was only taught to one map.",
    ),
    Entry(
        name="carry_over",
        title="What carries over",
        claims="C1, C2",
        alt="Table of coloured numbers, one method a row: the share of ERM's attribution distance "
        "that is cured, one explainer a column, and set apart the share of ERM's excess decoy "
        "flips that is cured. Outlined cells show the kind of map that a method is trained on.",
        caption="0 is as ERM; 1 is all of the attribution on the object or, for flips, level with "
        "the oracle. High in the outlined cells and low elsewhere: the map was taught, the "
        "reliance stays. XBL-D and XBL-overlap are trained on the HiResCAM of a random projection "
        "of the logits, RRR on input gradients; the released loss names Grad-CAM but has no "
        "gradient.",
    ),
    Entry(
        name="metrics",
        title="Each metric against clean accuracy",
        claims="C3",
        alt="Scatter plots, one metric a panel and one dot a run: accuracy on clean test images "
        "against the metric, with the rank correlation above each.",
        caption="Every run of the task: method, weight and seed. Better is to the right.",
    ),
    Entry(
        name="informativeness",
        title="What each metric tells about accuracy",
        claims="C3",
        alt="Forest plot: for each metric and explainer the rank correlation with clean accuracy "
        "and its interval, in groups of distance, overlap and behaviour metrics.",
        caption="Spearman's correlation over runs, with 95% intervals by a bootstrap that draws "
        "whole methods.",
    ),
    Entry(
        name="gradients",
        title="The released loss has no gradient",
        claims="",
        alt="Two plots of gradient norms by parameter of the network: what the released distance "
        "loss adds is exactly zero for every parameter, what XBL-D adds is not.",
        caption="On a network that has learnt the shortcut: norm of the gradient of the "
        "cross-entropy, and of what the explanation loss adds to it.",
    ),
)
