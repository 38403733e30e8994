"""Contextual decomposition explanation penalisation."""

from __future__ import annotations

from torch import Tensor

from xblcore.losses.contextual import cdep, decompose
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """Softmax of the decoy's part of the logits against the rest, mean over the classes."""
    wrong = step.annotations.decoy_pixels
    return cdep(*decompose(step.model, step.images, wrong), wrong)


METHOD = Method(
    name="cdep",
    summary="The decoy's part of the logits against the rest, by contextual decomposition; when "
    "the network is built of layers that have a rule, and no gradient is to be trusted.",
    source="Rieger et al. 2020",
    penalty=penalty,
    needs=frozenset({"decoy_mask"}),
    default_weight=10.0,
    weights={"decoy_fashion_mnist": 10000.0, "decoy_cifar10": 10.0, "decoy_coco": 10.0},
)
