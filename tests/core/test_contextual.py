"""Contextual decomposition: both parts add up to the output, layer by layer and as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.core import toys
from xblcore.contextual import Parts, decompose, propagate
from xblcore.study import models
from xblcore.study.models import CellFlatten

IMAGES = torch.rand(4, 2, 8, 8, generator=toys.seeded(), dtype=torch.float64)
PARTS = Parts(*torch.randn(2, 4, 2, 8, 8, generator=toys.seeded(1), dtype=torch.float64))
PLAIN_CNNS = [name for name in models.MODELS if name != "resnet8"]  # a sum has no rule


def corner(images: Tensor) -> Tensor:
    """A marked patch of 4x4 pixels in every image but the last."""
    mask = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    mask[:-1, :4, :4] = True
    return mask


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("name", PLAIN_CNNS)
def test_the_parts_add_up_to_the_logits_of_a_network(name: str, training: bool) -> None:
    model = models.build(name, channels=3, classes=10, size=16, seed=0)
    model = toys.randomised(model).double().train(training)
    images = torch.rand(4, 3, 16, 16, generator=toys.seeded(), dtype=torch.float64)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    parts = decompose(model, images, corner(images))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    torch.testing.assert_close(parts.whole, model(images), rtol=1e-10, atol=1e-10)
    assert (parts.relevant[:-1].abs().amax(1) > 0).all()
    if not training:  # otherwise through the statistics of the batch
        assert (parts.relevant[-1] == 0).all()


LAYERS = {
    "convolution": nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "dilated": nn.Conv2d(2, 4, 3, padding="same", dilation=2, groups=2, bias=False),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(128, 5)),
    "relu": nn.ReLU(),
    "max pooling": nn.MaxPool2d(3, 2, 1),
    "average pooling": nn.AvgPool2d(2),
    "adaptive pooling": nn.AdaptiveAvgPool2d(3),
    "cells": CellFlatten(),
    "batch norm": nn.BatchNorm2d(2),
    "plain batch norm": nn.BatchNorm2d(2, affine=False, track_running_stats=False),
    "identity": nn.Identity(),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_parts_add_up_to_the_output_of_a_layer(name: str, training: bool) -> None:
    layer = toys.randomised(LAYERS[name]).double().train(training)
    mapped = propagate(layer, PARTS)
    torch.testing.assert_close(mapped.whole, layer(PARTS.whole), rtol=0, atol=1e-12)
    assert not torch.equal(mapped.relevant, mapped.irrelevant)


@pytest.mark.parametrize(
    ("layer", "before", "after"),
    [
        # weight 2; the bias of 4 in proportion to |2 * 1| and |2 * -3|
        ("linear", ([1.0], [-3.0]), ([2 + 1.0], [-6 + 3.0])),
        ("linear", ([0.0], [-3.0]), ([0.0], [-6 + 4.0])),
        ("linear", ([0.0], [0.0]), ([0.0], [4.0])),  # without any input the bias is irrelevant
        ("relu", ([1.0, -1.0, 5.0], [2.0, 3.0, -6.0]), ([1.0, 0.0, 5.0], [2.0, 2.0, -5.0])),
        # wholes 3, 5, 4 and 1: the second cell is the maximum, though neither of its parts is
        ("pool", ([9.0, 2.0, 0.0, 1.0], [-6.0, 3.0, 4.0, 0.0]), ([2.0], [3.0])),
    ],
)
def test_rules_by_hand(layer: str, before: tuple, after: tuple) -> None:
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(2.0)
        linear.bias.fill_(4.0)
    module = {"linear": linear, "relu": nn.ReLU(), "pool": nn.MaxPool2d((1, 4))}[layer]
    found = propagate(module, Parts(*torch.tensor(before)[:, None, None, None]))
    torch.testing.assert_close(
        torch.stack(found).squeeze(), torch.tensor(after).squeeze(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("pool", [(2,), (3, 2, 1)], ids=["disjoint", "overlapping"])
def test_distributing_the_bias_after_pooling_makes_no_difference(pool: tuple, bias: bool) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=bias), nn.MaxPool2d(*pool), nn.ReLU())
    model = toys.randomised(model).double()
    whole, by_layer = propagate(model, PARTS), PARTS
    for layer in model:
        by_layer = propagate(layer, by_layer)
    torch.testing.assert_close(whole, by_layer, rtol=0, atol=1e-12)
    gradients = (
        torch.autograd.grad(parts.relevant.square().sum() + parts.whole.sum(), model.parameters())
        for parts in (whole, by_layer)
    )
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_the_parts_of_a_linear_network_are_the_contributions_of_the_pixels() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4, bias=False)
    ).double()
    mask = corner(IMAGES)
    parts = decompose(model, IMAGES, mask)
    torch.testing.assert_close(parts.relevant, model(IMAGES * mask[:, None]))
    torch.testing.assert_close(parts.irrelevant, model(IMAGES * ~mask[:, None]))
