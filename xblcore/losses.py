"""Explanation losses: pure functions of attributions and annotations.

Every loss is computed per sample and then averaged over the *annotated* samples, those whose mask
is not empty, so that its weight means the same at every batch size and annotated fraction. A batch
without any annotation gives 0, with a graph.

``M+`` is a non-negative CAM ``(N, h, w)`` (:func:`xblcore.cam.non_negative`), ``P`` the same scaled
to sum 1, ``B+`` scaled to maximum 1. A dead CAM (all zero) has ``P = B+ = 0``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]

EPS = 1e-12  # keeps a dead CAM at 0 instead of NaN; far below any live CAM's mass


def xbl_d(
    cam: Tensor, distance: Tensor, *, normalise: bool = True, reduction: Reduction = "mean"
) -> Tensor:
    """Distance-aware explanation loss: attribution, weighted by how far from the object it falls.

    ``sum_uv P * D`` ("share", ``normalise=True``), in [0, 1]: the mean distance of the attribution.
    ``sum_uv M+ * D`` ("mass"), at least 0: also falls when the attribution off the object shrinks
    as a whole, and its gradient does not vanish where most of the attribution is far away.
    Source: Hagos et al. 2023 (arXiv 2309.05548), the penalty by distance; share and mass are this
    compendium's differentiable forms of it.

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        distance: ``(N, h, w)`` from :func:`xblcore.distance.distance_map`, in grid diagonals; an
            image's NaN map means "not annotated".
        normalise: True for share, False for mass.
        reduction: ``mean`` over the annotated samples, their ``sum``, or ``none`` for ``(N,)`` with
            0 where not annotated.

    Raises:
        ValueError: shapes that do not fit, a negative or non-finite CAM, an unknown reduction.

    >>> cam, distance = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 0.5]]])
    >>> xbl_d(cam, distance), xbl_d(cam, distance, normalise=False)
    (tensor(0.1250), tensor(0.5000))
    """
    _check(cam, distance, "distance")
    annotated = ~distance.isnan().flatten(1).any(1)
    distance = torch.where(annotated[:, None, None], distance, 0.0)
    weighted = _share(cam) if normalise else cam
    return _reduce((weighted * distance).sum((1, 2)), annotated, reduction)


def overlap(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Attribution on the region marked as wrong, as mass: ``sum_uv M+ * E``, at least 0.

    :func:`xbl_d` as mass with ``E`` in the place of the distance; a control of this compendium.

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        decoy_mask: bool ``(N, h, w)``, the region marked as wrong, ``E``.
        reduction: as in :func:`xbl_d`.

    >>> overlap(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(2.)
    """
    _check(cam, decoy_mask, "decoy_mask")
    return _reduce((cam * decoy_mask).sum((1, 2)), _non_empty(decoy_mask), reduction)


def rrr_g(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Overlap of the CAM with the region marked as wrong: ``sum_uv (B+ * E)^2``.

    Source: Schramowski et al. 2020, RRR carried to Grad-CAM ("RRR-G" in Friedrich et al. 2023).

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        decoy_mask: bool ``(N, h, w)``, the region marked as wrong, ``E``.
        reduction: as in :func:`xbl_d`.

    >>> rrr_g(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(0.2500)
    """
    _check(cam, decoy_mask, "decoy_mask")
    per_sample = (_scaled(cam) * decoy_mask).square().sum((1, 2))
    return _reduce(per_sample, _non_empty(decoy_mask), reduction)


def rrr(input_gradient: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Right for the right reasons: ``sum_pixels (E * d/dx sum_k log p_k)^2``.

    Source: Ross, Hughes and Doshi-Velez 2017, eq. 1.

    Args:
        input_gradient: ``(N, C, H, W)``, gradient of the summed log probabilities with respect to
            the images, made with ``create_graph=True``; finite.
        decoy_mask: bool ``(N, H, W)`` at the images' resolution.
        reduction: as in :func:`xbl_d`.

    >>> rrr(torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[True, False]]]))
    tensor(4.)
    """
    if input_gradient.ndim != 4:
        raise ValueError(
            f"input_gradient must be (N, C, H, W), got shape {tuple(input_gradient.shape)}"
        )
    _check_annotation(decoy_mask, "decoy_mask", input_gradient.shape[:1] + input_gradient.shape[2:])
    _finite(input_gradient, "input_gradient")
    per_sample = (input_gradient * decoy_mask[:, None]).square().sum((1, 2, 3))
    return _reduce(per_sample, _non_empty(decoy_mask), reduction)


def energy(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Attribution that misses the object: ``1 - sum_uv P * R``, in [0, 1]; 1 for a dead CAM.

    Source: Rao et al. 2023, "Studying How to Efficiently and Effectively Guide Models".

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        object_mask: bool ``(N, h, w)``, ``R``.
        reduction: as in :func:`xbl_d`.

    >>> energy(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    _check(cam, object_mask, "object_mask")
    per_sample = 1 - (_share(cam) * object_mask).sum((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def hint(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The CAM should be the object mask: ``mean_uv (B+ - R)^2``, in [0, 1].

    Source: Selvaraju et al. 2019, in the form of Friedrich et al. 2023. Arguments as
    :func:`energy`.

    >>> hint(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.1250)
    """
    _check(cam, object_mask, "object_mask")
    per_sample = (_scaled(cam) - object_mask.to(cam.dtype)).square().mean((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def l1(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The CAM should be the object mask: ``mean_uv |B+ - R|``, in [0, 1].

    Source: Rao et al. 2023 (there after Gao et al. 2022). Arguments as :func:`energy`.

    >>> l1(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    _check(cam, object_mask, "object_mask")
    per_sample = (_scaled(cam) - object_mask.to(cam.dtype)).abs().mean((1, 2))
    return _reduce(per_sample, _non_empty(object_mask), reduction)


def ppce(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Per-pixel cross-entropy of the CAM to 1 inside the object: ``-mean_{R} log B+``, in nats.

    Cells at 0 count with the logarithm that ``binary_cross_entropy`` clamps at -100.
    Source: Rao et al. 2023 (there after Shen et al. 2021). Arguments as :func:`energy`.

    >>> ppce(torch.tensor([[[4.0, 4.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.)
    """
    _check(cam, object_mask, "object_mask")
    scaled = _scaled(cam)
    missing = torch.nn.functional.binary_cross_entropy(
        scaled, torch.ones_like(scaled), reduction="none"
    )
    cells = object_mask.sum((1, 2)).clamp(min=1)
    return _reduce((missing * object_mask).sum((1, 2)) / cells, _non_empty(object_mask), reduction)


def _share(cam: Tensor) -> Tensor:
    return cam / (cam.sum((1, 2), keepdim=True) + EPS)


def _scaled(cam: Tensor) -> Tensor:
    return cam / (cam.amax((1, 2), keepdim=True) + EPS)


def _non_empty(mask: Tensor) -> Tensor:
    return mask.flatten(1).any(1)


def _reduce(per_sample: Tensor, annotated: Tensor, reduction: Reduction) -> Tensor:
    per_sample = torch.where(annotated, per_sample, 0.0)
    if reduction == "none":
        return per_sample
    if reduction == "sum":
        return per_sample.sum()
    if reduction == "mean":
        return per_sample.sum() / annotated.sum().clamp(min=1)
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check(cam: Tensor, other: Tensor, name: str) -> None:
    if cam.ndim != 3:
        raise ValueError(f"cam must be (N, h, w), got shape {tuple(cam.shape)}")
    _check_annotation(other, name, cam.shape)
    low, high = cam.detach().aminmax()
    if low >= 0 and high < torch.inf:  # one pass, false for NaN too; the rest only says what it is
        return
    _finite(cam, "cam")
    if low < 0:
        raise ValueError(
            f"cam must be at least 0, got {cam.min().item():.4g}; "
            "pass it through xblcore.cam.non_negative first"
        )


def _check_annotation(other: Tensor, name: str, shape: torch.Size) -> None:
    if other.shape != shape:
        raise ValueError(
            f"{name} must have shape {tuple(shape)}, got {tuple(other.shape)}; "
            "xblcore.distance.to_grid brings masks to the CAM's grid"
        )
    if (other.dtype == torch.bool) == (name == "distance"):  # masks of 255, a mask for a distance
        kind = "floating" if name == "distance" else "boolean"
        raise ValueError(f"{name} must be {kind}, got {other.dtype}")


def _finite(values: Tensor, name: str) -> None:
    finite = values.isfinite().flatten(1).all(1)
    if not finite.all():
        sample = int((~finite).nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in sample {sample}; "
            "training has diverged: lower the weight or the learning rate, or ramp the weight"
        )
