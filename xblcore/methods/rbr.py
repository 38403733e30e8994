"""Right for better reasons: RRR weighted by influence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xblcore.losses.input_gradient import rbr
from xblcore.methods.base import Method, Step


def penalty(step: Step) -> Tensor:
    """``sum_pixels (E * d/dx sum_k log p_k * d/dx sum_theta dCE/dtheta)^2``."""
    return rbr(step.input_gradient(), influence_gradient(step), step.annotations.decoy_pixels)


def influence_gradient(step: Step) -> Tensor:
    """``d/dx sum_theta dCE/dtheta``, ``(N, C, H, W)``, differentiable.

    The cross-entropy is summed over the batch, so that an image's value is its own and does not
    depend on the batch's size. A second-order term, differentiated once more in training: a step
    costs about three times that of RRR, eight times that of plain cross-entropy.
    """
    parameters = [weight for weight in step.model.parameters() if weight.requires_grad]
    cross_entropy = functional.cross_entropy(step.logits, step.labels, reduction="sum")
    by_weight = torch.autograd.grad(
        cross_entropy, parameters, create_graph=True, materialize_grads=True
    )
    influence = torch.stack([gradient.sum() for gradient in by_weight]).sum()
    (gradient,) = torch.autograd.grad(influence, step.images, create_graph=True)
    return gradient


METHOD = Method(
    name="rbr",
    summary="RRR on the pixels that also move the weights; when RRR spoils what the network needs, "
    "and its cost, the highest of all, is no matter.",
    source="Shao et al. 2021, in the form of Friedrich et al. 2023",
    penalty=penalty,
    needs=frozenset({"decoy_mask", "input_gradient"}),
    default_weight=1.0,
    weights={"decoy_fashion_mnist": 0.01, "decoy_cifar10": 0.1, "decoy_coco": 10.0},
)
