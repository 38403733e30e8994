"""Explanation losses by overlap with the region marked as wrong."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.common import Reduction, check_cam, non_empty, reduce, scaled


def overlap(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Attribution on the region marked as wrong, as mass: ``sum_uv M+ * E``, at least 0.

    :func:`xblcore.losses.xbl_d` as mass with ``E`` in the place of the distance; a control of this
    compendium.

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        decoy_mask: bool ``(N, h, w)``, the region marked as wrong, ``E``.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    >>> import torch
    >>> overlap(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(2.)
    """
    check_cam(cam, decoy_mask, "decoy_mask")
    return reduce((cam * decoy_mask).sum((1, 2)), non_empty(decoy_mask), reduction)


def rrr_g(cam: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Overlap of the CAM with the region marked as wrong: ``sum_uv (B+ * E)^2``.

    Source: Schramowski et al. 2020, RRR carried to Grad-CAM ("RRR-G" in Friedrich et al. 2023).

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        decoy_mask: bool ``(N, h, w)``, the region marked as wrong, ``E``.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    >>> import torch
    >>> rrr_g(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[False, True]]]))
    tensor(0.2500)
    """
    check_cam(cam, decoy_mask, "decoy_mask")
    per_sample = (scaled(cam) * decoy_mask).square().sum((1, 2))
    return reduce(per_sample, non_empty(decoy_mask), reduction)
