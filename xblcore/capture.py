"""Hooks: keep the output of a layer during a forward pass, and leave no trace behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Capture:
    """What :func:`capture` yields; ``features`` holds the layer's last output, ``(N, K, h, w)``."""

    features: Tensor | None = None
    version: int = 0  # of the features when captured, which an in-place operation raises


@contextlib.contextmanager
def capture(
    model: nn.Module, layer: str | nn.Module, *, trunk_graph: bool = True, copy: bool = True
) -> Iterator[Capture]:
    """Keep the output of ``layer`` during the forward passes inside the ``with`` block.

    Args:
        model: any module.
        layer: a submodule, or its dotted name as in ``model.named_modules()``.
        trunk_graph: False runs everything up to the layer without a graph and makes the features
            a leaf, which is what explaining a trained model needs, and cheaper.
        copy: hand the rest of the model a copy, so that an in-place operation behind the layer, an
            in-place ReLU say, cannot overwrite what was captured. False saves the copy; such an
            operation is then an error. A leaf is always copied: PyTorch changes none in place.

    Yields:
        A :class:`Capture`. Leaving the block, also by an error, removes the hooks and restores the
        grad mode.

    Raises:
        ValueError: no such layer, a layer that returns something else than one tensor, or features
            overwritten in place with ``copy=False``.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3))
    >>> with capture(model, "0") as seen:
    ...     logits = model(torch.ones(1, 1, 3, 3))
    >>> seen.features.shape
    torch.Size([1, 2, 1, 1])
    """
    module = find_layer(model, layer)
    seen = Capture()

    def keep(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer must return one tensor, got {type(output).__name__} from {layer!r}"
            )
        if not trunk_graph:
            torch.set_grad_enabled(True)
        # A frozen trunk leaves no graph either; its head can still be trained by the CAM.
        with_graph = trunk_graph and output.requires_grad
        seen.features = output if with_graph else output.detach().requires_grad_()
        seen.version = seen.features._version
        return seen.features.clone() if copy or not with_graph else seen.features

    handle = module.register_forward_hook(keep)
    try:
        with torch.enable_grad() if trunk_graph else torch.no_grad():
            yield seen
    finally:
        handle.remove()
    if seen.features is not None and seen.features._version != seen.version:
        raise ValueError(
            f"features must not be overwritten behind the layer, got an in-place operation on the "
            f"output of {layer!r}; set inplace=False there, or capture with copy=True"
        )


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """Submodule of ``model`` by dotted name, or the given one if it belongs to the model.

    Raises:
        ValueError: it does not; the message lists the names there are.
    """
    if isinstance(layer, nn.Module):
        if any(module is layer for module in model.modules()):
            return layer
    else:
        with contextlib.suppress(AttributeError):  # no such name, or not that of a module
            return model.get_submodule(layer)
    names = ", ".join(name for name, _ in model.named_modules() if name)
    shown = layer if isinstance(layer, str) else type(layer).__name__
    raise ValueError(f"layer must be a module of the model, got {shown!r}; there are: {names}")


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; every module's own mode is restored after it."""
    training = [module for module in model.modules() if module.training]
    if training:  # in eval mode already, the model need not be walked through again
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
