"""XBL-D with overlap in the place of distance: a control."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_overlap import overlap
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum M+ * E``: all else as ``xbl_d``."""
    return overlap(step.cam("hires_cam", "projection"), step.annotations.decoy_mask)


METHOD = Method(
    name="xbl_overlap",
    summary="XBL-D with overlap with the decoy in place of distance to the object, same CAM and "
    "score; it is told of the decoy alone, xbl_d of the object (xbl_d_gated: of both).",
    source="this compendium, a control",
    penalty=penalty,
    needs=frozenset({"decoy_mask", "cam"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 1000.0, "decoy_cifar10": 1.0, "decoy_coco": 100000.0},
)
