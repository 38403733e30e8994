"""Contextual decomposition: the contribution of the pixels marked as wrong to the logits.

An image is split into a relevant part (the marked pixels) and an irrelevant part (the rest). Each
layer maps both parts such that their sum is its output. Those of the logits add up to the logits.

Source: Murdoch, Liu and Yu 2018; for convolutions Singh, Murdoch and Yu 2019; as an explanation
loss Rieger, Singh, Murdoch and Yu 2020 (CDEP).
"""

from __future__ import annotations

from functools import singledispatch
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore.losses import Reduction, _check_annotation, _check_finite, _non_empty, _reduce

# Far below activations. If both parts of a cell are 0, its bias goes to the irrelevant part.
TINY = 1e-6


class Parts(NamedTuple):
    """An activation as the sum of two parts of the same shape."""

    relevant: Tensor
    irrelevant: Tensor

    @property
    def whole(self) -> Tensor:
        """The activation, ``relevant + irrelevant``."""
        return self.relevant + self.irrelevant


class NoRuleError(ValueError):
    """A layer of a type that has no rule in :func:`propagate`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(type(layer).__name__)
        self.layer = layer


def cdep(
    relevant: Tensor, irrelevant: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Contribution of the decoy against the rest: ``mean_c softmax(relevant_c, irrelevant_c)[0]``.

    In (0, 1); 1/2 if both parts contribute equally to every logit.
    Source: Rieger et al. 2020, in the form of their code, averaged over all classes.

    Args:
        relevant: ``(N, classes)``, part of the logits due to the decoy, from :func:`decompose`.
        irrelevant: ``(N, classes)``, the other part.
        decoy_mask: bool ``(N, H, W)``, pixels of the relevant part; empty if not annotated.
        reduction: as in :mod:`xblcore.losses`.

    >>> cdep(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), torch.ones(1, 1, 1).bool())
    tensor(0.5000)
    """
    if relevant.ndim != 2 or relevant.shape != irrelevant.shape:
        raise ValueError(
            "relevant and irrelevant must be (N, classes) both, got shapes "
            f"{tuple(relevant.shape)} and {tuple(irrelevant.shape)}"
        )
    _check_annotation(decoy_mask, "decoy_mask", torch.Size([len(relevant), *decoy_mask.shape[1:]]))
    _check_finite(relevant, "relevant")
    _check_finite(irrelevant, "irrelevant")
    per_sample = (relevant - irrelevant).sigmoid().mean(1)  # the softmax of two
    return _reduce(per_sample, _non_empty(decoy_mask), reduction)


def decompose(model: nn.Module, images: Tensor, mask: Tensor) -> Parts:
    """Decompose the logits into the contribution of the pixels in ``mask`` and the rest.

    Both parts pass through the layers once, at about twice the cost of a forward pass. Batch norm
    uses the statistics of a forward pass in the model's current mode, so that the parts add up to
    the logits of the cross-entropy, but does not update its running averages.

    Args:
        model: consists of layers with a rule in :func:`propagate`.
        images: ``(N, C, H, W)``.
        mask: bool ``(N, H, W)``.

    Returns:
        ``(relevant, irrelevant)``, each ``(N, classes)``, differentiable.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> weights = model[1].weight.data.copy_(torch.tensor([[3.0, 5.0]]))
    >>> relevant, irrelevant = decompose(model, torch.ones(1, 1, 1, 2),
    ...                                  torch.tensor([[[True, False]]]))
    >>> relevant.item(), irrelevant.item()
    (3.0, 5.0)
    """
    _check_annotation(mask, "mask", images.shape[:1] + images.shape[2:])
    marked = mask[:, None]
    try:
        return propagate(model, Parts(images * marked, images * ~marked))
    except NoRuleError as error:
        names = [name for name, layer in model.named_modules() if layer is error.layer]
        raise ValueError(
            f"layer must have a rule for contextual decomposition, got {error} as {names[0]!r}; "
            "use convolution, linear, ReLU, pooling, batch norm and flatten layers, or register a "
            "rule with xblcore.contextual.propagate.register"
        ) from None


@singledispatch
def propagate(layer: nn.Module, parts: Parts) -> Parts:
    """Map both parts through a layer; ``propagate.register(MyLayer)`` adds a rule."""
    raise NoRuleError(layer)


@propagate.register
def _sequential(layer: nn.Sequential, parts: Parts) -> Parts:
    """Layer by layer. The bias of a convolution is distributed after a max pooling that follows.

    It does not change which cell is the maximum, and pooling leaves fewer cells.
    """
    waiting: Tensor | None = None
    for inner, following in pairwise([*layer, nn.Identity()]):
        rule, next_rule = (propagate.dispatch(type(one)) for one in (inner, following))
        if rule is _convolution and next_rule is _max_pool:
            parts, waiting = _convolved(inner, parts)
            continue
        parts = propagate(inner, parts)
        if waiting is not None:
            parts, waiting = _with_bias(parts, waiting), None
    return parts


@propagate.register(nn.Flatten)
@propagate.register(nn.Identity)
@propagate.register(nn.AvgPool2d)
@propagate.register(nn.AdaptiveAvgPool2d)
def _linear_without_bias(layer: nn.Module, parts: Parts) -> Parts:
    """Linear without a bias: the layer is applied to each part."""
    return Parts(layer.forward(parts.relevant), layer.forward(parts.irrelevant))


@propagate.register
def _linear(layer: nn.Linear, parts: Parts) -> Parts:
    mapped = Parts(*(functional.linear(part, layer.weight) for part in parts))
    return _with_bias(mapped, layer.bias)


@propagate.register
def _convolution(layer: nn.Conv2d, parts: Parts) -> Parts:
    return _with_bias(*_convolved(layer, parts))


def _convolved(layer: nn.Conv2d, parts: Parts) -> tuple[Parts, Tensor | None]:
    """Both parts before the bias, and the bias, broadcastable to their shape."""
    if layer.padding_mode != "zeros":
        raise ValueError(
            f"padding_mode must be 'zeros' for contextual decomposition, got {layer.padding_mode!r}"
        )

    def mapped(part: Tensor) -> Tensor:
        return functional.conv2d(
            part, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    bias = None if layer.bias is None else layer.bias[:, None, None]
    return Parts(mapped(parts.relevant), mapped(parts.irrelevant)), bias


@propagate.register
def _batch_norm(layer: nn.BatchNorm2d, parts: Parts) -> Parts:
    """A scale and a bias for each channel, given the statistics."""
    if layer.training or layer.running_mean is None or layer.running_var is None:
        variance, mean = torch.var_mean(parts.whole, (0, 2, 3), correction=0)
    else:
        variance, mean = layer.running_var, layer.running_mean
    scale = (variance + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    bias = -mean * scale if layer.bias is None else layer.bias - mean * scale
    scale = scale[:, None, None]
    scaled = Parts(parts.relevant * scale, parts.irrelevant * scale)
    return _with_bias(scaled, bias[:, None, None])


@propagate.register
def _relu(_layer: nn.ReLU, parts: Parts) -> Parts:
    """``relevant = relu(relevant)``; the irrelevant part is the rest of the output."""
    relevant = parts.relevant.relu()
    return Parts(relevant, parts.whole.relu_() - relevant)  # in place: `whole` is a new tensor


@propagate.register
def _max_pool(layer: nn.MaxPool2d, parts: Parts) -> Parts:
    """Both parts of the cell with the maximal activation."""
    options = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
    whole, winner = functional.max_pool2d(parts.whole, *options, return_indices=True)
    # Channels last, because the following layers are slower in another memory layout.
    cells = parts.relevant.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H * W, K)
    chosen = cells.gather(1, winner.permute(0, 2, 3, 1).flatten(1, 2))  # (N, h * w, K)
    relevant = chosen.unflatten(1, whole.shape[2:]).permute(0, 3, 1, 2)  # (N, K, h, w)
    return Parts(relevant, whole - relevant)


def _with_bias(parts: Parts, bias: Tensor | None) -> Parts:
    """Distribute the bias in proportion to the absolute values of the parts."""
    if bias is None:
        return parts
    size = parts.relevant.abs()
    # In place on new tensors that no derivative needs; allocating memory costs time.
    own = size / parts.irrelevant.abs().add_(size).add_(TINY) * bias
    return Parts(parts.relevant + own, (bias - own).add_(parts.irrelevant))
