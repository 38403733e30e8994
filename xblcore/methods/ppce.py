"""The map should be high on the object, by cross-entropy in each cell."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_object import ppce
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``-mean_R log B+``.

    HiResCAM is input x gradient at the explained layer, which Rao et al. guide by at inner layers.
    """
    return ppce(step.cam("hires_cam", "logit"), step.annotations.object_mask)


METHOD = Method(
    name="ppce",
    summary="Asks for attribution all over the object and forbids none elsewhere; as a "
    "control of what the penalty off the object adds.",
    source="Rao et al. 2023, after Shen et al. 2021",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=0.1,
    weights={"decoy_fashion_mnist": 10.0, "decoy_cifar10": 0.1, "decoy_coco": 0.1},
)
