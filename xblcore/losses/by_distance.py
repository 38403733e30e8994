"""Explanation losses that weigh attribution by its distance to the object."""

from __future__ import annotations

import torch
from torch import Tensor

from xblcore.losses.common import Reduction, check_annotation, check_cam, non_empty, reduce, share


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
        ValueError: shapes that do not fit, a negative or infinite distance, a negative or
            non-finite CAM, an unknown reduction.

    >>> cam, distance = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 0.5]]])
    >>> xbl_d(cam, distance), xbl_d(cam, distance, normalise=False)
    (tensor(0.1250), tensor(0.5000))
    """
    check_cam(cam, distance, "distance")
    annotated = _annotated(distance)
    return _weighed(cam, distance, annotated, normalise, reduction)


def xbl_d_gated(
    cam: Tensor,
    distance: Tensor,
    decoy_mask: Tensor,
    *,
    normalise: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """:func:`xbl_d` with the distance counted inside the decoy alone: ``sum_uv P * D * E``.

    As the paper's wording can be read, and the released scripts do: the distance of what overlaps
    with the region marked as wrong. With ``normalise=False``, ``sum_uv M+ * D * E``; ``P`` is the
    share of the whole CAM either way. A sample counts if both annotations of it are there.
    Source: Hagos et al. 2023 (arXiv 2309.05548), in this compendium's differentiable form.

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        distance: ``(N, h, w)`` as in :func:`xbl_d`.
        decoy_mask: bool ``(N, h, w)``, the region marked as wrong, ``E``.
        normalise: True for share, False for mass.
        reduction: as in :func:`xbl_d`.

    Raises:
        ValueError: as :func:`xbl_d`.

    >>> cam, distance = torch.tensor([[[2.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 0.25, 0.5]]])
    >>> xbl_d_gated(cam, distance, torch.tensor([[[False, False, True]]]))
    tensor(0.1250)
    """
    check_cam(cam, distance, "distance")
    check_annotation(decoy_mask, "decoy_mask", cam.shape)
    annotated = non_empty(decoy_mask) & _annotated(distance)
    return _weighed(cam, distance * decoy_mask, annotated, normalise, reduction)


def _annotated(distance: Tensor) -> Tensor:
    """Which samples have a distance map, bool ``(N,)``; refuses one that is not a distance."""
    wrong = (distance < 0) | (distance == torch.inf)  # false for NaN
    if wrong.any():
        raise ValueError(
            f"distance must be at least 0 and finite, got {distance[wrong][0].item():.4g}; "
            "NaN throughout an image's map means that it is not annotated"
        )
    return ~distance.isnan().flatten(1).any(1)


def _weighed(
    cam: Tensor, distance: Tensor, annotated: Tensor, normalise: bool, reduction: Reduction
) -> Tensor:
    distance = torch.where(annotated[:, None, None], distance, 0.0)
    weighted = share(cam) if normalise else cam
    return reduce((weighted * distance).sum((1, 2)), annotated, reduction)
