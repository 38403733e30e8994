"""Explanation and behaviour metrics: pure functions, one value per image, NaN where undefined.

In the formulas ``M`` is a non-negative CAM ``(N, h, w)``, ``P = M / sum M`` and ``B = M / max M``
(per image), ``A = (B > threshold)`` the activated cells with ``threshold`` in [0, 1), ``R`` a bool
object mask, ``E`` a bool decoy mask and ``D`` a distance map, all ``(N, h, w)``. Metrics return
``(N,)``. All-zero maps, empty masks and NaN distance maps give NaN; report the share of NaN next to
each mean. :data:`METRICS` lists all metrics with their direction; :class:`Average` is the mean of
one of them over batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xblcore.cam import predicted


def activation_precision(cam: Tensor, object_mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Share of the activated cells that lie on the object, ``|A R| / |A|`` (Barnett et al. 2021).

    >>> activation_precision(torch.tensor([[[4.0, 3, 1]]]), torch.tensor([[[True, False, True]]]))
    tensor([0.5000])
    """
    active, region, defined = _active(cam, object_mask, "object_mask", threshold)
    return torch.where(defined, (active & region).sum(1) / active.sum(1), math.nan)


def activation_recall(cam: Tensor, object_mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Share of the object that is activated, ``|A R| / |R|`` (Hagos et al. 2022).

    >>> activation_recall(torch.tensor([[[4.0, 3, 1]]]), torch.tensor([[[True, False, True]]]))
    tensor([0.5000])
    """
    active, region, defined = _active(cam, object_mask, "object_mask", threshold)
    return torch.where(defined, (active & region).sum(1) / region.sum(1), math.nan)


def iou(cam: Tensor, object_mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Intersection over union of activation and object, ``|A R| / |A or R|`` (Rao et al. 2023).

    >>> iou(torch.tensor([[[4.0, 3, 1]]]), torch.tensor([[[True, False, True]]]))
    tensor([0.3333])
    """
    active, region, defined = _active(cam, object_mask, "object_mask", threshold)
    return torch.where(defined, (active & region).sum(1) / (active | region).sum(1), math.nan)


def wrong_reason(cam: Tensor, decoy_mask: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Share of the decoy that is activated, ``|A E| / |E|`` (after Friedrich et al. 2023).

    >>> wrong_reason(torch.tensor([[[4.0, 3, 1]]]), torch.tensor([[[False, True, True]]]))
    tensor([0.5000])
    """
    active, region, defined = _active(cam, decoy_mask, "decoy_mask", threshold)
    return torch.where(defined, (active & region).sum(1) / region.sum(1), math.nan)


def energy_pointing_game(cam: Tensor, object_mask: Tensor) -> Tensor:
    """Share of the attribution on the object, ``sum P R`` (Wang et al. 2020, Score-CAM).

    >>> energy_pointing_game(torch.tensor([[[3.0, 1]]]), torch.tensor([[[True, False]]]))
    tensor([0.7500])
    """
    relative, region, defined = _checked(cam, object_mask, "object_mask")
    return torch.where(defined, (relative * region).sum(1) / relative.sum(1), math.nan)


def pointing_game(cam: Tensor, object_mask: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Whether the CAM's maximum is on the object, ``argmax M in R`` (Zhang et al. 2016).

    With several maxima, the share of them on the object: the expected value if ties are broken at
    random. A maximum at most ``tolerance`` cells (Euclidean distance) from the object is a hit.

    >>> pointing_game(torch.tensor([[[1.0, 4, 4]]]), torch.tensor([[[True, True, False]]]))
    tensor([0.5000])
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be at least 0 and finite, got {tolerance}")
    relative, _, defined = _checked(cam, object_mask, "object_mask")
    peak, near = relative == 1, _dilate(object_mask, tolerance).flatten(1)
    return torch.where(defined, (peak & near).sum(1) / peak.sum(1), math.nan)


def relevance_rank_accuracy(cam: Tensor, object_mask: Tensor) -> Tensor:
    """Share of the K strongest cells on the object, ``|top_K R| / K, K = |R|`` (Arras et al. 2022).

    Ties for the last of the K places, common because a rectified CAM has many zeros, count in
    proportion: the expected value if they are broken at random.

    >>> relevance_rank_accuracy(torch.tensor([[[4.0, 3]]]), torch.tensor([[[False, True]]]))
    tensor([0.])
    """
    relative, region, defined = _checked(cam, object_mask, "object_mask")
    size = region.sum(1, keepdim=True)  # (N, 1)
    cells = region.shape[1]
    last = _ascending(relative).gather(1, (cells - size).clamp(max=cells - 1))
    above, tied = relative > last, relative == last
    chance = (size - above.sum(1, keepdim=True)) / tied.sum(1, keepdim=True)
    hits = (above & region).sum(1) + chance[:, 0] * (tied & region).sum(1)
    return torch.where(defined, hits / size[:, 0], math.nan)


def attribution_distance(cam: Tensor, distance: Tensor) -> Tensor:
    """Mean distance of the attribution to the object, ``sum P D`` (after Hagos et al. 2023).

    In the units of ``distance``; at most ``max D``, which is below 1 for normalised maps.

    >>> attribution_distance(torch.tensor([[[3.0, 1]]]), torch.tensor([[[0.0, 0.5]]]))
    tensor([0.1250])
    """
    relative, alive = _relative(cam)
    _check(distance, "distance", "numeric", cam.shape)
    _reject(distance, (distance < 0) | distance.isinf(), "distance must be at least 0 and finite")
    return torch.where(alive, (relative * distance.flatten(1)).sum(1) / relative.sum(1), math.nan)


def distance_focus(cam: Tensor, distance: Tensor) -> Tensor:
    """Closeness of attribution to the object, ``1 - sum P D / max D`` (after Hagos et al. 2023).

    1: all on the object. 0: as far from it as the image allows. Also NaN if ``max D = 0``.

    >>> distance_focus(torch.tensor([[[3.0, 1]]]), torch.tensor([[[0.0, 0.5]]]))
    tensor([0.7500])
    """
    mean = attribution_distance(cam, distance)
    farthest = distance.flatten(1).amax(1)  # NaN stays NaN
    return torch.where(farthest > 0, (1 - mean / farthest).clamp(min=0), math.nan)


def all_zero(cam: Tensor) -> Tensor:
    """1 for an all-zero map, else 0; never NaN. Its mean is the share of undefined maps.

    >>> all_zero(torch.tensor([[[0.0, 0.0]], [[0.0, 0.1]]]))
    tensor([1., 0.])
    """
    return (~_relative(cam)[1]).float()


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """1 if the prediction is the label, else 0.

    The prediction is the argmax of logits ``(N, C)``, or the sign of single logits, ``(N,)`` or
    ``(N, 1)``.

    >>> accuracy(torch.tensor([[1.0, 3], [1, 3]]), torch.tensor([1, 0]))
    tensor([1., 0.])
    """
    _check_logits(logits, "logits")
    _check(labels, "labels", "numeric", logits.shape[:1])
    classes = max([2, *logits.shape[1:]])
    outside = (labels < 0) | (labels >= classes) | (labels != labels.long())
    _reject(labels, outside, f"labels must be whole numbers in [0, {classes})")
    return (predicted(logits) == labels).float()


def decoy_flip_rate(logits: Tensor, swapped_logits: Tensor) -> Tensor:
    """1 if the prediction changes when only the decoy is swapped, else 0: causal reliance on it.

    Logits as in :func:`accuracy` of the same images with their decoy and with that of another
    class.

    >>> decoy_flip_rate(torch.tensor([[1.0, 3], [1, 3]]), torch.tensor([[2.0, 1], [0, 1]]))
    tensor([1., 0.])
    """
    _check_logits(logits, "logits")
    _check_logits(swapped_logits, "swapped_logits")
    _check(swapped_logits, "swapped_logits", "numeric", logits.shape)
    return (predicted(logits) != predicted(swapped_logits)).float()


@dataclass(frozen=True)
class Metric:
    """A metric with its direction; all values are in [0, 1]."""

    function: Callable[..., Tensor]  # returns (N,)
    needs: tuple[str, ...]  # names of its positional arguments
    higher_is_better: bool
    kind: Literal["overlap", "distance", "behaviour", "health"]  # claim C3 compares the first two

    def counting_undefined(self, values: Tensor) -> Tensor:
        """Values ``(N,)`` with the worst one, 0 or 1, in place of NaN."""
        return values.nan_to_num(nan=0.0 if self.higher_is_better else 1.0)


_OBJECT, _DECOY, _DISTANCE = ("cam", "object_mask"), ("cam", "decoy_mask"), ("cam", "distance")
_METRICS = (
    Metric(activation_precision, _OBJECT, True, "overlap"),
    Metric(activation_recall, _OBJECT, True, "overlap"),
    Metric(iou, _OBJECT, True, "overlap"),
    Metric(wrong_reason, _DECOY, False, "overlap"),
    Metric(energy_pointing_game, _OBJECT, True, "overlap"),
    Metric(pointing_game, _OBJECT, True, "overlap"),
    Metric(relevance_rank_accuracy, _OBJECT, True, "overlap"),
    Metric(attribution_distance, _DISTANCE, False, "distance"),
    Metric(distance_focus, _DISTANCE, True, "distance"),
    Metric(all_zero, ("cam",), False, "health"),
    Metric(accuracy, ("logits", "labels"), True, "behaviour"),
    Metric(decoy_flip_rate, ("logits", "swapped_logits"), False, "behaviour"),
)
METRICS: dict[str, Metric] = {metric.function.__name__: metric for metric in _METRICS}


class Average:
    """Mean of a metric over batches, with the interface of torchmetrics.

    ``update`` takes the arguments of the function, ``compute`` returns the mean over the images
    where the metric is defined (NaN without any), ``reset`` starts again; a call updates and
    returns the mean of its batch.

    Args:
        name: a key of :data:`METRICS`.
        options: keyword arguments of the function, such as ``{"threshold": 0.3}``.

    Attributes:
        higher_is_better: direction of the metric.
        undefined: share of the images with NaN so far; NaN without images.

    >>> metric = Average("energy_pointing_game")
    >>> metric.update(torch.tensor([[[3.0, 1]], [[0, 0]]]), torch.ones(2, 1, 2).bool())
    >>> metric.compute(), metric.undefined
    (tensor(1.), 0.5)
    """

    def __init__(self, name: str, *, options: Mapping[str, float] | None = None) -> None:
        if name not in METRICS:
            raise ValueError(f"name must be one of {', '.join(METRICS)}, got {name!r}")
        self.metric, self.options = METRICS[name], dict(options or {})
        self.higher_is_better = self.metric.higher_is_better
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._sum, self._defined, self._images = 0.0, 0, 0

    def update(self, *arguments: Tensor) -> None:
        """Add a batch."""
        self(*arguments)

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Add a batch and return its mean."""
        values = self.metric.function(*arguments, **self.options).detach()
        defined = values[~values.isnan()].double()
        self._sum += defined.sum().item()
        self._defined += len(defined)
        self._images += len(values)
        return defined.mean().float()

    def compute(self) -> Tensor:
        """Return the mean over all images so far where the metric is defined."""
        return torch.tensor(self._sum / self._defined if self._defined else math.nan)

    @property
    def undefined(self) -> float:
        """Share of the images with NaN."""
        return 1 - self._defined / self._images if self._images else math.nan


def _checked(cam: Tensor, mask: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``B`` and the mask, each (N, h * w), and which samples are defined, (N,)."""
    relative, alive = _relative(cam)
    _check(mask, name, "boolean", cam.shape)
    return relative, mask.flatten(1), mask.flatten(1).any(1) & alive


def _active(cam: Tensor, mask: Tensor, name: str, threshold: float) -> tuple[Tensor, ...]:
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), a fraction of the maximum, got {threshold}")
    relative, region, defined = _checked(cam, mask, name)
    return relative > threshold, region, defined


def _relative(cam: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``B`` (N, h * w), exactly 1 at the maximum, and which maps are not all zero, (N,)."""
    if cam.ndim != 3 or 0 in cam.shape[1:] or not cam.is_floating_point():
        raise ValueError(f"cam must be floating (N, h, w), got {cam.dtype} {tuple(cam.shape)}")
    least, most = cam.aminmax() if len(cam) else (0, 0)
    if not 0 <= least <= most < math.inf:  # also rejects NaN
        _reject(cam, ~((cam >= 0) & cam.isfinite()), "cam must be at least 0 and finite")
    # Half precision is too coarse for sums.
    cam = cam.to(torch.promote_types(cam.dtype, torch.float32)).flatten(1)  # (N, h * w)
    peak = cam.amax(1)
    return cam / torch.where(peak > 0, peak, 1)[:, None], peak > 0


def _ascending(values: Tensor) -> Tensor:
    """Sort each row. NumPy is faster on the CPU, because PyTorch also returns the indices."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.detach().numpy(), axis=1))
    return values.sort(1).values


def _dilate(mask: Tensor, radius: float) -> Tensor:
    if radius < 1:  # the disc is a single cell
        return mask
    reach = min(int(radius), max(mask.shape[1:]))  # a larger disc makes no difference
    offset = torch.arange(-reach, reach + 1, device=mask.device)
    disc = (offset[:, None].square() + offset.square() <= radius**2).float()
    near = torch.nn.functional.conv2d(mask[:, None].float(), disc[None, None], padding=reach)
    return near[:, 0] > 0.5


def _check(values: Tensor, name: str, kind: str, shape: torch.Size) -> None:
    if values.shape != shape or (values.dtype == torch.bool) != (kind == "boolean"):
        got = f"{values.dtype} {tuple(values.shape)}"
        raise ValueError(f"{name} must be {kind} of shape {tuple(shape)}, got {got}")


def _check_logits(logits: Tensor, name: str) -> None:
    if logits.ndim not in (1, 2) or 0 in logits.shape[1:]:
        raise ValueError(f"{name} must be (N, C) or (N,), got shape {tuple(logits.shape)}")
    _reject(logits, ~logits.isfinite(), f"{name} must be finite")


def _reject(values: Tensor, wrong: Tensor, rule: str) -> None:
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"{rule}, got {values[first].item():.6g} in sample {first[0]}")
