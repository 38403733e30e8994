"""The energy pointing game as a loss."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_object import energy
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``1 - sum P * R``.

    HiResCAM is input x gradient at the explained layer, which Rao et al. guide by at inner layers.
    """
    return energy(step.cam("hires_cam", "logit"), step.annotations.object_mask)


METHOD = Method(
    name="energy",
    summary="The share of the attribution that misses the object; when objects are marked "
    "roughly, by a box say, for inside it the map is left free.",
    source="Rao et al. 2023",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=100.0,
    weights={"decoy_fashion_mnist": 1000.0, "decoy_cifar10": 100.0, "decoy_coco": 100.0},
)
