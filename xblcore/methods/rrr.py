"""Right for the right reasons."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.input_gradient import rrr
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum_pixels (E * d/dx sum_k log p_k)^2``."""
    return rrr(step.input_gradient(), step.annotations.decoy_pixels)


METHOD = Method(
    name="rrr",
    summary="Input gradients on the decoy's pixels; when the wrong region is marked to the "
    "pixel and twice the training time is no matter.",
    source="Ross, Hughes and Doshi-Velez 2017",
    penalty=penalty,
    needs=frozenset({"decoy_mask", "input_gradient"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 1.0, "decoy_cifar10": 1.0, "decoy_coco": 1000000.0},
)
