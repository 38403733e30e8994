"""Explanation losses that hold a CAM against the object mask."""

from __future__ import annotations

import torch
from torch import Tensor

from xblcore.losses.common import Reduction, check_cam, non_empty, reduce, scaled, share


def energy(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Attribution that misses the object: ``1 - sum_uv P * R``, in [0, 1]; 1 for a dead CAM.

    Source: Rao et al. 2023, "Studying How to Efficiently and Effectively Guide Models".

    Args:
        cam: ``(N, h, w)``, at least 0 and finite.
        object_mask: bool ``(N, h, w)``, ``R``.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    >>> energy(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    check_cam(cam, object_mask, "object_mask")
    per_sample = 1 - (share(cam) * object_mask).sum((1, 2))
    return reduce(per_sample, non_empty(object_mask), reduction)


def hint(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The CAM should be the object mask: ``mean_uv (B+ - R)^2``, in [0, 1].

    Source: Selvaraju et al. 2019, in the form of Friedrich et al. 2023. Arguments as
    :func:`energy`.

    >>> hint(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.1250)
    """
    check_cam(cam, object_mask, "object_mask")
    per_sample = (scaled(cam) - object_mask.to(cam.dtype)).square().mean((1, 2))
    return reduce(per_sample, non_empty(object_mask), reduction)


def l1(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """The CAM should be the object mask: ``mean_uv |B+ - R|``, in [0, 1].

    Source: Rao et al. 2023 (there after Gao et al. 2022). Arguments as :func:`energy`.

    >>> l1(torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """
    check_cam(cam, object_mask, "object_mask")
    per_sample = (scaled(cam) - object_mask.to(cam.dtype)).abs().mean((1, 2))
    return reduce(per_sample, non_empty(object_mask), reduction)


def ppce(cam: Tensor, object_mask: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Per-pixel cross-entropy of the CAM to 1 inside the object: ``-mean_{R} log B+``, in nats.

    A cell's logarithm is at least -100, that of a cell at 0, as in ``binary_cross_entropy``.
    Source: Rao et al. 2023 (there after Shen et al. 2021). Arguments as :func:`energy`.

    >>> ppce(torch.tensor([[[4.0, 4.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.)
    """
    check_cam(cam, object_mask, "object_mask")
    lit = object_mask & (cam > 0)
    # log 1 = 0 elsewhere, where a logarithm of 0 would make the gradient NaN
    gained = torch.where(lit, scaled(cam), 1.0).log().clamp(min=-100).sum((1, 2))
    cells = object_mask.sum((1, 2))
    dark = cells - lit.sum((1, 2))
    return reduce((100 * dark - gained) / cells.clamp(min=1), cells > 0, reduction)
