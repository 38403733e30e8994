"""XBL-D: distance-weighted HiResCAM of a random projection of the logits, as mass."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_distance import xbl_d
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum M+ * D``."""
    return xbl_d(step.cam("hires_cam", "projection"), step.annotations.distance, normalise=False)


METHOD = Method(
    name="xbl_d",
    summary="Distance-weighted HiResCAM of a random projection of the logits, as mass; "
    "the first choice wherever objects are outlined.",
    source="this compendium, after Hagos et al. 2023",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=3.0,
    weights={"decoy_fashion_mnist": 30.0, "decoy_cifar10": 5.0, "decoy_coco": 10.0},
)
