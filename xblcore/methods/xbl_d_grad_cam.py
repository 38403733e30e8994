"""The plain differentiable reading of the paper: distance-weighted Grad-CAM."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_distance import xbl_d
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum P * D``."""
    return xbl_d(step.cam("grad_cam", "logit"), step.annotations.distance)


METHOD = Method(
    name="xbl_d_grad_cam",
    summary="Distance-weighted Grad-CAM of the true class's logit, as share; the plain "
    "differentiable reading of the paper, for heads with global average pooling.",
    source="Hagos et al. 2023, arXiv 2309.05548",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 1000.0, "decoy_cifar10": 100.0, "decoy_coco": 10000.0},
)
