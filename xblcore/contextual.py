"""Contextual decomposition: which part of the logits comes from the pixels marked as wrong.

An image is the sum of a relevant part (the marked pixels) and an irrelevant one. Layer by layer
each activation is kept as such a sum, ``relevant + irrelevant``, to the logits. Every rule below
keeps the sum what the layer itself puts out, so that the parts add up to the logits exactly.

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

TINY = 1e-6  # where neither part reaches, the bias is the irrelevant part's; far below activations


class Parts(NamedTuple):
    """An activation as the sum of two, of the same shape."""

    relevant: Tensor
    irrelevant: Tensor

    @property
    def whole(self) -> Tensor:
        """The activation itself."""
        return self.relevant + self.irrelevant


class NoRuleError(ValueError):
    """A layer of a kind that :func:`propagate` does not know."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(type(layer).__name__)
        self.layer = layer


def cdep(
    relevant: Tensor, irrelevant: Tensor, decoy_mask: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """How much the decoy outweighs the rest: ``mean_c softmax(relevant_c, irrelevant_c)[0]``.

    In (0, 1); 1/2 where both parts contribute alike to every logit.
    Source: Rieger et al. 2020, as in their code: the softmax of the two parts, over all classes.

    Args:
        relevant: ``(N, classes)``, the decoy's part of the logits, from :func:`decompose`.
        irrelevant: ``(N, classes)``, the rest of them.
        decoy_mask: bool ``(N, H, W)``, the pixels that the relevant part is of.
        reduction: as in :func:`xblcore.losses.xbl_d`.

    Raises:
        ValueError: shapes that do not fit, parts that are not finite, an unknown reduction.

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
    """The part of the logits that comes from the pixels in ``mask``, and the rest.

    One pass of both parts through the layers, at about twice the cost of a forward pass, in the
    mode that the model is in. Batch norm divides by the statistics that its own forward pass takes:
    the batch's in training, those of the running averages in eval mode. Otherwise the parts would
    not add up to the logits that the cross-entropy sees. No running average is touched.

    Args:
        model: of the layers that :func:`propagate` knows.
        images: ``(N, C, H, W)``.
        mask: bool ``(N, H, W)``.

    Returns:
        ``(relevant, irrelevant)``, each ``(N, classes)``, differentiable.

    Raises:
        ValueError: a layer without a rule, a mask that does not fit.

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
            f"layer must have a rule of contextual decomposition, got {error} as {names[0]!r}; "
            "build the model of convolution, linear, ReLU, max and average pooling, batch norm and "
            "flatten, or register a rule with xblcore.contextual.propagate.register"
        ) from None


@singledispatch
def propagate(layer: nn.Module, parts: Parts) -> Parts:
    """Both parts behind a layer; ``propagate.register(MyLayer)`` adds a rule of your own.

    Raises:
        NoRuleError: there is none for such a layer.
    """
    raise NoRuleError(layer)


@propagate.register
def _in_turn(layer: nn.Sequential, parts: Parts) -> Parts:
    """One after the other; a bias in front of max pooling is shared out behind it.

    It is the same in all cells of a channel, so that it has no say in which of them wins, and the
    losers' shares of it are not needed: mostly three in four.
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
    """Each part by itself: the layer moves or averages values."""
    return Parts(layer.forward(parts.relevant), layer.forward(parts.irrelevant))


@propagate.register
def _linear(layer: nn.Linear, parts: Parts) -> Parts:
    mapped = Parts(*(functional.linear(part, layer.weight) for part in parts))
    return _with_bias(mapped, layer.bias)


@propagate.register
def _convolution(layer: nn.Conv2d, parts: Parts) -> Parts:
    return _with_bias(*_convolved(layer, parts))


def _convolved(layer: nn.Conv2d, parts: Parts) -> tuple[Parts, Tensor | None]:
    """Both parts before the bias, and the bias in their shape."""
    if layer.padding_mode != "zeros":
        raise ValueError(
            "padding_mode must be 'zeros' in a convolution to be decomposed, got "
            f"{layer.padding_mode!r}"
        )

    def mapped(part: Tensor) -> Tensor:
        return functional.conv2d(
            part, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    bias = None if layer.bias is None else layer.bias[:, None, None]
    return Parts(mapped(parts.relevant), mapped(parts.irrelevant)), bias


@propagate.register
def _batch_norm(layer: nn.BatchNorm2d, parts: Parts) -> Parts:
    """A linear map and a bias for each channel, once the statistics are given."""
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
    """The relevant part as if alone; the irrelevant one is what is then missing of the whole."""
    relevant = parts.relevant.relu()
    return Parts(relevant, parts.whole.relu_() - relevant)  # in place on a new sum


@propagate.register
def _max_pool(layer: nn.MaxPool2d, parts: Parts) -> Parts:
    """Both parts of the cell that wins by the whole."""
    options = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
    whole, winner = functional.max_pool2d(parts.whole, *options, return_indices=True)
    # Cell by cell, channels last: the layers behind are slower in another layout.
    cells = parts.relevant.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H * W, K)
    chosen = cells.gather(1, winner.permute(0, 2, 3, 1).flatten(1, 2))  # (N, h * w, K)
    relevant = chosen.unflatten(1, whole.shape[2:]).permute(0, 3, 1, 2)  # (N, K, h, w)
    return Parts(relevant, whole - relevant)


def _with_bias(parts: Parts, bias: Tensor | None) -> Parts:
    """The bias shared out in proportion to the size of the parts."""
    if bias is None:
        return parts
    size = parts.relevant.abs()
    # In place on what is new here and no derivative asks for, since fresh memory costs time.
    own = size / parts.irrelevant.abs().add_(size).add_(TINY) * bias
    return Parts(parts.relevant + own, (bias - own).add_(parts.irrelevant))
