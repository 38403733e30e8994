"""Contextual decomposition: the parts add up to the logits, layer by layer and as a whole."""

from __future__ import annotations

import pytest
import torch
import toys
from torch import nn

from xblcore import models
from xblcore.losses.contextual import Parts, decompose, propagate
from xblcore.models import CellFlatten, SplitNet

IMAGES = torch.rand(4, 2, 8, 8, generator=toys.seeded(), dtype=torch.float64)
PARTS = Parts(*torch.randn(2, 4, 2, 8, 8, generator=toys.seeded(1), dtype=torch.float64))


def corner(images: torch.Tensor) -> torch.Tensor:
    """A patch of 4 x 4 pixels marked in every image but the last."""
    mask = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    mask[:-1, :4, :4] = True
    return mask


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float64, 1e-10)],
    ids=["single", "double"],
)
@pytest.mark.parametrize("name", models.MODELS)
def test_the_parts_of_every_network_of_the_study_add_up_to_its_logits(
    name, dtype, tolerance, training
):
    model = models.build(name, channels=3, classes=10, size=32, seed=0)
    model = toys.randomised(model).to(dtype).train(training)
    images = torch.rand(6, 3, 32, 32, generator=toys.seeded(), dtype=dtype)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parts = decompose(model, images, corner(images))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), f"{key} was touched"
    logits = model(images)
    scale = logits.abs().max()  # random weights of this size make logits far above 1
    assert ((parts.whole - logits).abs().max() / scale) < tolerance
    assert (parts.relevant[:-1].abs().amax(1) > 0).all(), "the patch has a part of every logit"


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
def test_the_parts_behind_every_layer_add_up_to_its_output(name, training):
    layer = toys.randomised(LAYERS[name]).double().train(training)
    behind = propagate(layer, PARTS)
    torch.testing.assert_close(behind.whole, layer(PARTS.whole), rtol=0, atol=1e-12)
    assert behind.relevant.shape == behind.irrelevant.shape
    assert not torch.equal(behind.relevant, behind.irrelevant)


@pytest.mark.parametrize(
    ("layer", "before", "behind"),
    [
        # the bias of 4 in proportion to |2 * 1| and |2 * -3|
        ("linear", ([1.0], [-3.0]), ([2 + 1.0], [-6 + 3.0])),
        ("linear", ([0.0], [-3.0]), ([0.0], [-6 + 4.0])),
        ("linear", ([0.0], [0.0]), ([0.0], [4.0])),  # neither reaches: the bias is no decoy's
        ("relu", ([1.0, -1.0, 5.0], [2.0, 3.0, -6.0]), ([1.0, 0.0, 5.0], [2.0, 2.0, -5.0])),
    ],
)
def test_rules_by_hand(layer, before, behind):
    linear = nn.Linear(1, 1).double()
    with torch.no_grad():
        linear.weight.fill_(2.0)
        linear.bias.fill_(4.0)
    module = {"linear": linear, "relu": nn.ReLU()}[layer]
    parts = propagate(module, Parts(*torch.tensor([before], dtype=torch.float64).transpose(0, 1)))
    expected = torch.tensor([behind], dtype=torch.float64).transpose(0, 1)
    torch.testing.assert_close(torch.stack(parts), expected, rtol=0, atol=1e-5)


def test_the_cell_that_wins_the_pooling_brings_both_of_its_parts():
    """Wholes 3, 5, 4, 1: the second wins, though neither of its parts is the largest."""
    relevant = torch.tensor([[[[9.0, 2.0], [0.0, 1.0]]]])
    irrelevant = torch.tensor([[[[-6.0, 3.0], [4.0, 0.0]]]])
    parts = propagate(nn.MaxPool2d(2), Parts(relevant, irrelevant))
    assert (parts.relevant.item(), parts.irrelevant.item()) == (2.0, 3.0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("pool", [(2,), (3, 2, 1)], ids=["side by side", "overlapping"])
def test_a_bias_shared_out_behind_the_pooling_is_as_in_front_of_it(pool, bias):
    """In turn it waits for the pooling, on fewer cells; layer by layer it does not."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=bias), nn.MaxPool2d(*pool), nn.ReLU())
    model = toys.randomised(model).double()
    in_turn, by_layer = propagate(model, PARTS), PARTS
    for layer in model:
        by_layer = propagate(layer, by_layer)
    torch.testing.assert_close(in_turn, by_layer, rtol=0, atol=1e-12)
    gradients = (
        torch.autograd.grad(parts.relevant.square().sum() + parts.whole.sum(), model.parameters())
        for parts in (in_turn, by_layer)
    )
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_without_a_mark_all_is_irrelevant_and_with_all_marked_nothing_but_the_bias_is_left():
    model = toys.randomised(
        SplitNet(nn.Conv2d(2, 3, 3), nn.Sequential(nn.Flatten(), nn.Linear(108, 4)))
    ).double()
    none = torch.zeros(4, 8, 8, dtype=torch.bool)
    assert (decompose(model, IMAGES, none).relevant == 0).all()
    every = decompose(model, IMAGES, ~none)
    torch.testing.assert_close(every.irrelevant, torch.zeros(4, 4).double(), rtol=0, atol=1e-3)


def test_the_parts_of_a_linear_network_are_what_the_pixels_contribute():
    """Without biases the decomposition is that of the images."""
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4, bias=False)
    ).double()
    mask = corner(IMAGES)
    parts = decompose(model, IMAGES, mask)
    torch.testing.assert_close(parts.relevant, model(IMAGES * mask[:, None]))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh()), "got Tanh as '1'; build the model of conv"),
        (
            SplitNet(nn.Conv2d(2, 3, 3), nn.Sequential(nn.Flatten(), nn.Dropout())),
            "got Dropout as 'head.1'; build the model of",
        ),
        (
            nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
            "padding_mode must be 'zeros' in a convolution to be decomposed, got 'circular'",
        ),
    ],
)
def test_a_layer_without_a_rule_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        decompose(model.double(), IMAGES, corner(IMAGES))


def test_a_mask_that_does_not_fit():
    with pytest.raises(ValueError, match=r"mask must have shape \(4, 8, 8\), got \(4, 4, 4\)"):
        decompose(nn.Identity(), IMAGES, torch.zeros(4, 4, 4, dtype=torch.bool))
