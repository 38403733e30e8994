"""What each part of the loss teaches, layer by layer: the zero-gradient figure's numbers."""

from __future__ import annotations

import pytest
import torch
import toys

from xblcore import gradients, methods
from xblcore.methods import METHODS, Method


def norms(method: Method, *, weight: float = 2.0):
    model = toys.small_net()
    return gradients.norms_by_layer(model, toys.shortcut(32, seed=0), method, weight=weight)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.penalty])
def test_only_the_released_penalty_teaches_nothing(name):
    """And that exactly, not nearly."""
    for layer, (cross_entropy, explanation) in norms(METHODS[name]).items():
        assert cross_entropy > 0
        if name == "xbl_d_released":
            assert explanation == 0
        elif layer.endswith("weight"):
            assert explanation > 0, layer


def test_norms_by_hand():
    """The penalty ``sum of w^2 / 2`` of one layer has the gradient ``w``."""
    model = toys.small_net()
    last = model.head[4].weight
    method = Method("mine", "", "", penalty=lambda _step: last.square().sum() / 2)
    measured = gradients.norms_by_layer(model, toys.shortcut(32, seed=0), method, weight=3.0)
    for name, (_, explanation) in measured.items():
        expected = 3 * last.norm().item() if name == "head.4.weight" else 0
        assert explanation == pytest.approx(expected, rel=1e-5)


def test_it_trains_nothing():
    model = toys.small_net()
    before = [weight.clone() for weight in model.parameters()]
    gradients.norms_by_layer(model, toys.shortcut(8, seed=0), methods.get("xbl_d"), weight=1.0)
    for weight, was in zip(model.parameters(), before, strict=True):
        assert torch.equal(weight, was) and weight.grad is None


def test_a_method_without_an_explanation_loss():
    with pytest.raises(ValueError, match="method must have an explanation loss, got 'erm'"):
        norms(methods.get("erm"))
