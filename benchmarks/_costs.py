"""What an image costs each task's network, and from that the time of any profile's runs.

Everything is timed at two or more numbers of images, and ``seconds = a + b * images`` is fitted, by
least squares of the relative errors. A run is then

    a + b * images * epochs     of its method
    + p * predicted images      all splits, and those with the decoy changed
    + a + b * explained images  of every explainer on every split that it explains
    + a + b * watched images    of one explainer, after every epoch
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from _inputs import Shape, marked, training_set
from _recorded import manifests
from _timing import Bench

from xblcore import config, evaluate, prepare, selection
from xblcore.config import Config, TaskConfig
from xblcore.explainers import CAMS, HELD_OUT, Explainer
from xblcore.methods import METHODS
from xblcore.study import WATCHED
from xblcore.train import TrainConfig, TrainingSet, fit

BATCH = 64
COLUMNS = ["network", "size", "what", "fixed_ms", "ms_per_image", "error"]
PREDICT = "predict"
# Channels, classes, and side of the images where params.yaml does not say it.
TASKS = {
    "decoy_fashion_mnist": (1, 10, 28),
    "decoy_cifar10": (3, 10, 32),
    "decoy_coco": (3, 2, 64),
}
LARGE = 128  # pixels a side; larger images are timed fewer at a time


@dataclass(frozen=True)
class Counts:
    """Numbers of images that something is timed at."""

    training: tuple[int, ...]
    explained: tuple[int, ...]
    held_out: tuple[int, ...]


SMALL_IMAGES = Counts((256, 512, 1024), (100, 500), (16, 50))
LARGE_IMAGES = Counts((64, 128), (32, 128), (8, 16))
TINY = Counts((64, 128), (4, 8), (2, 4))


def shape_of(settings: TaskConfig, data: str) -> Shape:
    """The network of a task and its images, where the data are the original or the stand-in."""
    channels, classes, size = TASKS[settings.task]
    size = settings.by_data.get(data, {}).get("image_size", size)
    return Shape(settings.model, channels, classes, size)


def epoch(shape: Shape, data: TrainingSet, name: str) -> Callable[[], object]:
    """One epoch of a method with its full weight, from new weights."""
    method = METHODS[name]
    run = TrainConfig(method.default_weight, 0, 1, BATCH, 0.001, 0)
    return lambda: fit(shape.model(), data, method, run)


def explaining(shape: Shape, data: TrainingSet, explainer: Explainer) -> Callable[[], object]:
    """Explanations of all images by one explainer, and their metrics."""
    model, splits = shape.model(), {"some": marked(data)}
    return lambda: evaluate.explanations(
        model, splits, [explainer], layer=model.cam_layer, count=len(data.images)
    )


def calls(
    shape: Shape, methods: Sequence[str], counts: Counts
) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """What is timed, at which number of images."""
    for images in counts.training:
        data = training_set(shape, images)
        for name in methods:
            yield name, images, epoch(shape, data, name)
    for explainers, numbers in ((CAMS, counts.explained), (HELD_OUT, counts.held_out)):
        for images in numbers:
            data = training_set(shape, images)
            for explainer in explainers:
                yield explainer.name, images, explaining(shape, data, explainer)
    model = shape.model()
    for images in counts.explained:
        pixels = training_set(shape, images).images
        yield PREDICT, images, lambda pixels=pixels: evaluate.predict(model, pixels)


def line(images: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """``seconds = fixed + each * images``, and the largest relative error of the line.

    Neither is below 0: a negative one is a slope, or a start, that the noise made.

    >>> [round(value, 6) for value in line([10, 20, 40], [1.5, 2.5, 4.5])]
    [0.5, 0.1, 0.0]
    """
    x, y = np.asarray(images, float), np.asarray(seconds, float)
    columns = np.stack([np.ones_like(x), x], axis=1)
    fixed, each = np.linalg.lstsq(columns / y[:, None], np.ones_like(y), rcond=None)[0].tolist()
    if fixed < 0:
        fixed, each = 0.0, float(np.sum(x / y) / np.sum((x / y) ** 2))
    elif each < 0:
        fixed, each = float(np.sum(1 / y) / np.sum((1 / y) ** 2)), 0.0
    return fixed, each, float(np.max(np.abs((fixed + each * x) / y - 1)))


def measure(run: Bench, shape: Shape, methods: Sequence[str]) -> pd.DataFrame:
    """One row a method, an explainer and for a prediction: the line through its times."""
    counts = TINY if run.tiny else SMALL_IMAGES if shape.size <= LARGE else LARGE_IMAGES
    timed = {f"{name}/{images}": call for name, images, call in calls(shape, methods, counts)}
    points: dict[str, list[tuple[int, float]]] = {}
    for key, taken in run.seconds(timed).items():
        name, images = key.split("/")
        points.setdefault(name, []).append((int(images), statistics.median(taken)))
    rows = []
    for name, measured in points.items():
        fixed, each, error = line(*zip(*measured, strict=True))
        rows.append((shape.network, shape.size, name, 1000 * fixed, 1000 * each, error))
    return pd.DataFrame(rows, columns=COLUMNS)


def read(path: Path) -> pd.DataFrame:
    """What :func:`measure` found, once it was written.

    Raises:
        ValueError: the file is not there, or damaged.
    """
    try:
        table = pd.read_csv(path, usecols=COLUMNS, dtype=dict.fromkeys(COLUMNS[3:], float))
        if not len(table) or table.isna().any(axis=None) or table.duplicated(COLUMNS[:3]).any():
            raise ValueError("no row, a gap in one, or two of the same")
    except (OSError, ValueError) as error:
        got = "none" if isinstance(error, FileNotFoundError) else str(error).strip()
        raise ValueError(
            f"{path} must be a table of costs, got {got}; "
            "measure it anew: python benchmarks/growth.py"
        ) from error
    return table


def runs_of(settings: TaskConfig, method: str) -> int:
    """How many runs a task x method has: every candidate weight, and the rest of the seeds."""
    rest = len(settings.seeds) - len(settings.sweep_seeds)
    return len(settings.weights_of(method)) * len(settings.sweep_seeds) + rest


def seconds_of_run(costs: pd.DataFrame, settings: TaskConfig, method: str, data: str) -> float:
    """One run of a method on a task, training and measuring, on one core.

    Raises:
        ValueError: the costs have no such network, size of images or method.
    """
    shape = shape_of(settings, data)
    known = costs[(costs["network"] == shape.network) & (costs["size"] == shape.size)]
    known = known.set_index("what")

    def cost(what: str, images: float) -> float:
        if what not in known.index:
            raise ValueError(
                f"costs must have {what} of {shape.network} at {shape.size} pixels, got none; "
                "measure them anew: python benchmarks/growth.py"
            )
        row = known.loc[what]
        return float(row["fixed_ms"] + row["ms_per_image"] * images) / 1000

    predicted = {"val": settings.n_val, "val_swapped": settings.n_val}
    predicted |= {"test_decoy": settings.n_test, "test_clean": settings.n_test}
    swapped = settings.n_val + settings.n_test
    total = cost(method, settings.n_train * settings.epochs)
    total += cost(PREDICT, sum(predicted.values()) + swapped)
    total += settings.epochs * cost(WATCHED.name, min(shape.classes, prepare.GALLERY))
    for split in set(predicted) - {selection.SPLIT}:
        for explainer in CAMS:
            total += cost(explainer.name, min(predicted[split], settings.explained_images))
    for explainer in HELD_OUT:
        total += cost(explainer.name, min(settings.n_test, settings.held_out_images))
    return total


def estimate(costs: pd.DataFrame, grid: Config, *, data: str | None) -> pd.DataFrame:
    """Runs of every task x method of a profile, seconds of one, and core hours of all of them.

    Args:
        costs: of :func:`measure`.
        grid: ``params.yaml`` in the profile that is asked for.
        data: ``original`` or ``stand-in``, of the tasks whose images differ in size; None: what the
            profile insists on, or the original.
    """
    rows = []
    for task in grid.tasks:
        settings = grid.task(task)
        kind = data or ("original" if settings.data == "auto" else settings.data)
        for method in grid.methods:
            runs = runs_of(settings, method)
            each = seconds_of_run(costs, settings, method, kind)
            rows.append((task, kind, method, runs, each, runs * each / 3600))
    return pd.DataFrame(rows, columns=["task", "data", "method", "runs", "seconds", "core_hours"])


def beside_measured(costs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Estimates for the runs of a finished checkout, beside the seconds in its manifests."""
    rows = []
    for path, manifest in manifests(folder):
        settings = config.from_mapping(TaskConfig, manifest["config"], str(path))
        name = manifest["method"]
        measured = statistics.median(manifest["seconds"].values())
        expected = seconds_of_run(costs, settings, name, manifest["data"])
        rows.append((settings.task, name, expected, measured, expected / measured))
    return pd.DataFrame(rows, columns=["task", "method", "estimated", "measured", "ratio"])
