"""Measure a trained model: accuracy and flips on every image, explanations by every explainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xblcore import metrics
from xblcore.cam import CamMethod, ScoreKind, explain
from xblcore.capture import evaluating

BATCH = 500  # images at a time; bounds the memory, changes no number

BEHAVIOUR = "none"  # explainer of the rows that need no attribution


@dataclass(frozen=True)
class Explainer:
    """A way of attributing a prediction, and the name it has in the tables."""

    name: str
    method: CamMethod
    score: ScoreKind


EXPLAINERS = (
    Explainer("grad_cam", "grad_cam", "logit"),
    Explainer("hires_cam", "hires_cam", "logit"),
    Explainer("hires_cam_log_prob", "hires_cam", "log_prob"),
)


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
        return torch.cat([model(batch) for batch in images.split(BATCH)])


def attributions(model: nn.Module, images: Tensor, explainer: Explainer, *, layer: str) -> Tensor:
    """CAMs ``(N, h, w)`` of the predicted classes, in batches."""
    return torch.cat(
        [
            explain(model, batch, layer=layer, method=explainer.method, score=explainer.score)
            for batch in images.split(BATCH)
        ]
    )


def measure(
    model: nn.Module,
    splits: Mapping[str, Marked],
    swapped: Mapping[str, Tensor],
    *,
    layer: str,
    explained: int,
    explainers: tuple[Explainer, ...] = EXPLAINERS,
) -> list[Measurement]:
    """All metrics of a model on all splits.

    Args:
        model: maps images to logits.
        splits: by name.
        swapped: for splits with a decoy, the same images with the decoy's value changed.
        layer: the explained layer.
        explained: of each split, the first so many images are explained.
        explainers: which attributions.

    Returns:
        One measurement a split, explainer and metric; a metric whose annotation is missing from a
        whole split (the decoy's on clean images) has none there.
    """
    rows: list[Measurement] = []
    for split, marked in splits.items():
        logits = predict(model, marked.images)
        rows.append(_row(split, BEHAVIOUR, "accuracy", metrics.accuracy(logits, marked.labels)))
        if split in swapped:
            flips = metrics.decoy_flip_rate(logits, predict(model, swapped[split]))
            rows.append(_row(split, BEHAVIOUR, "decoy_flip_rate", flips))
        few = marked.first(explained)
        for explainer in explainers:
            cam = attributions(model, few.images, explainer, layer=layer)
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
