"""What each part of the loss teaches: the gradient of the weights, layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore.methods import Method
from xblcore.train import TrainingSet, forward


def norms_by_layer(
    model: nn.Module,
    data: TrainingSet,
    method: Method,
    *,
    weight: float,
    images: int = 256,
    layer: str = "features",
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Norm of the gradient of the cross-entropy, and of what the explanation loss adds to it.

    What is added is measured, not assumed: the gradient of the whole loss minus that of the
    cross-entropy alone.

    Args:
        model: maps images to logits.
        data: the first ``images`` of it are one batch.
        method: with an explanation loss.
        weight: of the explanation loss.
        images: how many.
        layer: the explained layer.
        seed: of random scores.

    Returns:
        Name of each parameter to ``(cross-entropy, explanation)``, Euclidean norms.

    Raises:
        ValueError: a method without an explanation loss.
    """
    if method.penalty is None:
        raise ValueError(f"method must have an explanation loss, got {method.name!r}")
    batch = torch.arange(min(images, len(data.labels)), device=data.images.device)
    generator = torch.Generator(data.images.device).manual_seed(seed)
    step = forward(model, data, batch, method, layer, generator)
    cross_entropy = method.ce_weight * functional.cross_entropy(step.logits, step.labels)
    alone = _gradient(model, cross_entropy)
    whole = _gradient(model, cross_entropy + weight * method.penalty(step))
    return {
        name: (alone[name].norm().item(), (whole[name] - alone[name]).norm().item())
        for name in alone
    }


def _gradient(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return dict(zip(names, gradients, strict=True))
