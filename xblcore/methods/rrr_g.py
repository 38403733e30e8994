"""RRR carried to Grad-CAM."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_overlap import rrr_g
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum (B+ * E)^2``."""
    return rrr_g(step.cam("grad_cam", "logit"), step.annotations.decoy_mask)


METHOD = Method(
    name="rrr_g",
    summary="Overlap of the Grad-CAM with the decoy; the overlap counterpart of XBL-D.",
    source="Schramowski et al. 2020",
    penalty=penalty,
    needs=frozenset({"decoy_mask", "cam"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 10000.0, "decoy_cifar10": 1000.0, "decoy_coco": 10000.0},
)
