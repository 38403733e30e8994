"""What all explanation losses share: the mean over the annotated samples, and the checks.

``M+`` is a non-negative CAM ``(N, h, w)`` (:func:`xblcore.cam.non_negative`), ``P`` the same scaled
to sum 1, ``B+`` scaled to maximum 1. A dead CAM (all zero) has ``P = B+ = 0``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]

EPS = 1e-12  # keeps a dead CAM at 0 instead of NaN; far below any live CAM's mass


def share(cam: Tensor) -> Tensor:
    """``P``: the CAM scaled to sum 1."""
    return cam / (cam.sum((1, 2), keepdim=True) + EPS)


def scaled(cam: Tensor) -> Tensor:
    """``B+``: the CAM scaled to maximum 1."""
    return cam / (cam.amax((1, 2), keepdim=True) + EPS)


def non_empty(mask: Tensor) -> Tensor:
    """Which masks mark anything, bool ``(N,)``."""
    return mask.flatten(1).any(1)


def reduce(per_sample: Tensor, annotated: Tensor, reduction: Reduction) -> Tensor:
    """``(N,)`` losses to what ``reduction`` names; samples not annotated count as 0 or not at all.

    Raises:
        ValueError: an unknown reduction.
    """
    per_sample = torch.where(annotated, per_sample, 0.0)
    if reduction == "none":
        return per_sample
    if reduction == "sum":
        return per_sample.sum()
    if reduction == "mean":
        return per_sample.sum() / annotated.sum().clamp(min=1)
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def check_cam(cam: Tensor, other: Tensor, name: str) -> None:
    """Refuse a CAM that is not ``(N, h, w)``, at least 0 and finite, or does not fit ``other``."""
    if cam.ndim != 3:
        raise ValueError(f"cam must be (N, h, w), got shape {tuple(cam.shape)}")
    remedy = "; xblcore.distance.to_grid brings masks to the CAM's grid"
    check_annotation(other, name, cam.shape, remedy)
    low, high = cam.detach().aminmax()
    if low >= 0 and high < torch.inf:  # one pass, false for NaN too; the rest only says what it is
        return
    check_finite(cam, "cam")
    if low < 0:
        raise ValueError(
            f"cam must be at least 0, got {cam.min().item():.4g}; "
            "pass it through xblcore.cam.non_negative first"
        )


def check_annotation(other: Tensor, name: str, shape: torch.Size, remedy: str = "") -> None:
    """Refuse an annotation of another shape or of the wrong type."""
    if not isinstance(other, Tensor):
        kind = type(other).__name__
        raise ValueError(f"{name} must be a tensor, got {kind}; pass torch.as_tensor({name})")
    if other.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(other.shape)}{remedy}")
    if (other.dtype == torch.bool) == (name == "distance"):  # masks of 255, a mask for a distance
        kind = "floating" if name == "distance" else "boolean"
        raise ValueError(f"{name} must be {kind}, got {other.dtype}")


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinity, and say in which sample and what to do."""
    finite = values.isfinite().flatten(1).all(1)
    if not finite.all():
        sample = int((~finite).nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in sample {sample}; "
            "training has diverged: lower the weight or the learning rate, or ramp the weight"
        )
