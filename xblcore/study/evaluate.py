"""Measure a trained model: its behaviour on every image, and its explanations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from xblcore import metrics
from xblcore.cam import evaluating
from xblcore.examples import Cells, Examples
from xblcore.study.explainers import Explainer
from xblcore.study.models import SplitNet

BATCH = 250  # images per forward pass
BEHAVIOUR = "none"  # explainer of the rows that need no attribution


@dataclass(frozen=True)
class Measurement:
    """Mean of one metric over a split, and the share of images where it is undefined.

    ``worst`` is the mean if undefined values count as the worst value: averages over the defined
    ones only would favour methods whose maps vanish.
    """

    split: str
    explainer: str
    metric: str
    value: float
    nan_share: float
    worst: float


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits ``(N, classes)`` in eval mode, without a graph."""
    with evaluating(model), torch.no_grad():
        return _in_batches(model, images)


def scales(model: SplitNet, images: Tensor) -> dict[str, float]:
    """Return the mean feature, the share of features above 0, and the scale of the head."""
    with evaluating(model), torch.no_grad():
        features = _in_batches(model.get_submodule("features"), images)
    norms = [
        weight.norm().item()
        for weight in model.get_submodule("head").parameters()
        if weight.ndim > 1
    ]
    return {
        "mean feature": features.abs().mean().item(),
        "features above 0": (features > 0).float().mean().item(),
        "norm of the head": math.prod(norms),
    }


def attributions(model: nn.Module, images: Tensor, explainer: Explainer, *, layer: str) -> Tensor:
    """Return the attributions ``(N, h, w)`` of the predicted classes."""
    return _in_batches(lambda batch: explainer.attribute(model, batch, layer), images)


def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    def inputs(batch: Tensor) -> Tensor:
        return batch.float() / 255 if batch.dtype == torch.uint8 else batch

    return torch.cat([function(inputs(batch)) for batch in images.split(BATCH)])


def behaviour(
    model: nn.Module, splits: Mapping[str, Examples], swapped: Mapping[str, Examples]
) -> list[Measurement]:
    """Measure accuracy on each split, and reliance on the decoy where there is one.

    ``swapped`` has, for splits with a decoy, the same images with the decoy of another class.
    """
    rows: list[Measurement] = []
    for split, examples in splits.items():
        logits = predict(model, examples.images)
        rows.append(_row(split, BEHAVIOUR, "accuracy", metrics.accuracy(logits, examples.labels)))
        if split in swapped:
            flips = metrics.decoy_flip_rate(logits, predict(model, swapped[split].images))
            rows.append(_row(split, BEHAVIOUR, "decoy_flip_rate", flips))
    return rows


def explanations(
    model: nn.Module, split: str, examples: Examples, explainers: Sequence[Explainer], *, layer: str
) -> list[Measurement]:
    """Measure the explanations of one split with every metric, see :func:`per_image`."""
    return [
        _row(split, explainer.name, name, values)
        for explainer in explainers
        for name, values in per_image(model, examples, explainer, layer=layer).items()
    ]


def per_image(
    model: nn.Module, examples: Examples, explainer: Explainer, *, layer: str
) -> dict[str, Tensor]:
    """Compute each explanation metric of every image, ``(N,)``; NaN where it is undefined.

    The examples have annotations on the grid of ``layer``; finer attributions are averaged over it.
    """
    cells = examples.cells
    if cells is None:
        raise ValueError("examples must have their annotations on the CAM grid; use on_grid")
    fine = attributions(model, examples.images, explainer, layer=layer)
    height, width = cells.object_mask.shape[1:]
    return explanation_metrics(adaptive_avg_pool2d(fine, (height, width)), cells)


def explanation_metrics(cam: Tensor, cells: Cells) -> dict[str, Tensor]:
    """Compute all metrics of a CAM ``(N, h, w)`` for which there are annotations; ``(N,)`` each."""
    known = {"cam": cam}
    if not cells.distance.isnan().all():
        known["distance"] = cells.distance
    for name in ("object_mask", "decoy_mask"):
        if getattr(cells, name).any():
            known[name] = getattr(cells, name)
    return {
        name: metric.function(*(known[need] for need in metric.needs))
        for name, metric in metrics.METRICS.items()
        if set(metric.needs) <= set(known)
    }


def _row(split: str, explainer: str, metric: str, values: Tensor) -> Measurement:
    undefined = values.isnan()
    value = values[~undefined].double().mean().item()  # NaN if undefined for every image
    filled = metrics.METRICS[metric].counting_undefined(values).double().mean().item()
    return Measurement(split, explainer, metric, value, undefined.double().mean().item(), filled)
