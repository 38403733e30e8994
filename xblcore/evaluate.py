"""Measure a trained model: its behaviour on every image, its explanations by any explainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from xblcore import metrics
from xblcore.capture import evaluating
from xblcore.explainers import Explainer

BATCH = 250  # images at a time, what fits a cache; changes no number

BEHAVIOUR = "none"  # explainer of the rows that need no attribution


@dataclass(frozen=True)
class Marked:
    """Images with what the metrics compare attributions to, on the CAM's grid.

    Attributes:
        images: ``(N, C, H, W)``.
        labels: ``(N,)``.
        object_mask: bool ``(N, h, w)``.
        decoy_mask: bool ``(N, h, w)``.
        distance: ``(N, h, w)``.
    """

    images: Tensor
    labels: Tensor
    object_mask: Tensor
    decoy_mask: Tensor
    distance: Tensor

    def cpu(self) -> Marked:
        """The same on the CPU, where figures are drawn."""
        return Marked(
            self.images.cpu(),
            self.labels.cpu(),
            self.object_mask.cpu(),
            self.decoy_mask.cpu(),
            self.distance.cpu(),
        )

    def first(self, count: int) -> Marked:
        """The first ``count`` images."""
        return Marked(
            self.images[:count],
            self.labels[:count],
            self.object_mask[:count],
            self.decoy_mask[:count],
            self.distance[:count],
        )


@dataclass(frozen=True)
class Measurement:
    """Mean of one metric over a split, and the share of images on which it is undefined."""

    split: str
    explainer: str
    metric: str
    value: float
    nan_share: float


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits ``(N, classes)`` in eval mode, without a graph, in batches."""
    with evaluating(model), torch.no_grad():
        return _in_batches(model, images)


def attributions(model: nn.Module, images: Tensor, explainer: Explainer, *, layer: str) -> Tensor:
    """Attributions ``(N, h, w)`` of the predicted classes, in batches."""
    return _in_batches(lambda batch: explainer.attribute(model, batch, layer), images)


def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What the function makes of all images, a batch at a time, in a tensor made once.

    Put together at the end, all of it would be there twice.
    """
    found: Tensor | None = None
    for start in range(0, len(images), BATCH):
        part = function(images[start : start + BATCH])
        if found is None:
            found = part.new_empty(len(images), *part.shape[1:])
        found[start : start + len(part)] = part
    if found is None:
        raise ValueError("images must be at least one, got none")
    return found


def behaviour(
    model: nn.Module, splits: Mapping[str, Marked], swapped: Mapping[str, Tensor]
) -> list[Measurement]:
    """What needs no attribution: accuracy, and reliance on the decoy where there is one.

    Args:
        model: maps images to logits.
        splits: by name.
        swapped: for splits with a decoy, the same images with the decoy's value changed.
    """
    rows: list[Measurement] = []
    for split, marked in splits.items():
        logits = predict(model, marked.images)
        rows.append(_row(split, BEHAVIOUR, "accuracy", metrics.accuracy(logits, marked.labels)))
        if split in swapped:
            flips = metrics.decoy_flip_rate(logits, predict(model, swapped[split]))
            rows.append(_row(split, BEHAVIOUR, "decoy_flip_rate", flips))
    return rows


def explanations(
    model: nn.Module,
    splits: Mapping[str, Marked],
    explainers: Sequence[Explainer],
    *,
    layer: str,
    count: int,
) -> list[Measurement]:
    """Every metric of an explanation, on the grid of the annotations.

    Args:
        model: maps images to logits.
        splits: by name.
        explainers: which attributions; those finer than the grid are averaged over its cells.
        layer: the explained layer.
        count: of each split, the first so many images are explained.

    Returns:
        One measurement a split, explainer and metric; a metric whose annotation is missing from a
        whole split (the decoy's on clean images) has none there.
    """
    rows: list[Measurement] = []
    for split, marked in splits.items():
        few = marked.first(count)
        for explainer in explainers:
            fine = attributions(model, few.images, explainer, layer=layer)
            height, width = few.object_mask.shape[1:]
            cam = adaptive_avg_pool2d(fine, (height, width))  # (N, h, w)
            rows += [
                _row(split, explainer.name, name, values)
                for name, values in _explanation_metrics(cam, few).items()
            ]
    return rows


def _explanation_metrics(cam: Tensor, marked: Marked) -> dict[str, Tensor]:
    known = {"cam": cam}
    if not marked.distance.isnan().all():
        known["distance"] = marked.distance
    for name, mask in (("object_mask", marked.object_mask), ("decoy_mask", marked.decoy_mask)):
        if mask.any():
            known[name] = mask
    return {
        name: metric.function(*(known[need] for need in metric.needs))
        for name, metric in metrics.METRICS.items()
        if set(metric.needs) <= set(known)
    }


def _row(split: str, explainer: str, metric: str, values: Tensor) -> Measurement:
    undefined = values.isnan()
    value = values[~undefined].double().mean().item()  # NaN where undefined on every image
    return Measurement(split, explainer, metric, value, undefined.double().mean().item())
