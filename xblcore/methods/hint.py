"""HINT: the Grad-CAM should be the object."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.by_object import hint
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``mean (B+ - R)^2``."""
    return hint(step.cam("grad_cam", "logit"), step.annotations.object_mask)


METHOD = Method(
    name="hint",
    summary="The Grad-CAM should be the object mask, by squared error; when what is right is "
    "marked and the network ends in global average pooling.",
    source="Selvaraju et al. 2019, in the form of Friedrich et al. 2023",
    penalty=penalty,
    needs=frozenset({"object_mask", "cam"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 100.0, "decoy_cifar10": 10.0, "decoy_coco": 10.0},
)
