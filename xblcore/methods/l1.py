"""The map should be the object, by absolute error."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_object import l1
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``mean abs(B+ - R)``.

    HiResCAM is input x gradient at the explained layer, which Rao et al. guide by at inner layers.
    """
    return l1(step.cam("hires_cam", "logit"), step.annotations.object_mask)


METHOD = Method(
    name="l1",
    summary="The map should be the object mask, by absolute error; when the mask is exact and "
    "all of the object matters.",
    source="Rao et al. 2023, after Gao et al. 2022",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 100.0, "decoy_cifar10": 10.0, "decoy_coco": 10.0},
)
