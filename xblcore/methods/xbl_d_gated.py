"""XBL-D with the distance counted inside the decoy alone."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_distance import xbl_d_gated
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum M+ * D * E``: all else as ``xbl_d``."""
    cam, marked = step.cam("hires_cam", "projection"), step.annotations
    return xbl_d_gated(cam, marked.distance, marked.decoy_mask, normalise=False)


METHOD = Method(
    name="xbl_d_gated",
    summary="XBL-D with the distance counted inside the decoy alone, as the paper's wording can "
    "be read; to see what distance is worth where it is gated by overlap.",
    source="Hagos et al. 2023, arXiv 2309.05548",
    penalty=penalty,
    needs=frozenset({"object_mask", "decoy_mask", "cam"}),
    default_weight=100.0,
    weights={"decoy_fashion_mnist": 1000.0, "decoy_cifar10": 10.0, "decoy_coco": 10000.0},
)
