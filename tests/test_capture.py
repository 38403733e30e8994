"""Capturing features: what the layer gave, whatever happens behind it, and no trace left."""

from __future__ import annotations

import copy

import pytest
import torch
import toys

from xblcore.capture import capture, evaluating, find_layer


def images() -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=toys.seeded())


def test_captured_features_are_the_layers_output_and_part_of_the_answers_graph():
    model = toys.fc_net(inplace=True)
    with capture(model, "features") as seen:
        logits = model(images())
    torch.testing.assert_close(seen.features, model.features(images()))
    assert (seen.features < 0).any(), "the in-place ReLU of the head is not to be seen"
    torch.testing.assert_close(logits, model(images()))
    assert torch.autograd.grad(logits.sum(), seen.features)[0].abs().max() > 0


def test_an_error_in_a_capture_block_restores_too():
    model = toys.gap_net()
    before = toys.state_of(model)
    for trunk_graph in (True, False):
        with (
            pytest.raises(KeyError, match="mine"),
            capture(model, "features", trunk_graph=trunk_graph),
        ):
            model(images())
            raise KeyError("mine")
        assert toys.state_of(model) == before and torch.is_grad_enabled()


@pytest.mark.parametrize("trunk_graph", [True, False])
def test_without_a_copy_the_same_tensor_goes_on_and_the_same_is_learned(trunk_graph):
    model, gradients = toys.fc_net(), []
    for copied in (True, False):
        with capture(model, "features", trunk_graph=trunk_graph, copy=copied) as seen:
            logits = model(images())
        (gradient,) = torch.autograd.grad(logits.sum(), seen.features, retain_graph=True)
        gradients.append(gradient)
        if trunk_graph:
            (gradient,) = torch.autograd.grad(logits.sum(), model.features[0].weight)
            gradients.append(gradient)
    half = len(gradients) // 2
    for one, other in zip(gradients[:half], gradients[half:], strict=True):
        assert one.abs().max() > 0 and torch.equal(one, other)


def test_without_a_copy_features_overwritten_in_place_are_an_error():
    """Rather than a map of what the layer did not give."""
    model = toys.fc_net(inplace=True)
    before = toys.state_of(model)
    message = (
        "features must not be overwritten behind the layer, got an in-place operation on the "
        "output of 'features'; set inplace=False there, or capture with copy=True"
    )
    with pytest.raises(ValueError, match=message), capture(model, "features", copy=False):
        model(images())
    assert toys.state_of(model) == before and torch.is_grad_enabled()


@pytest.mark.parametrize("trunk_graph", [True, False])
def test_leaf_features_are_never_overwritten(trunk_graph):
    """Of a frozen trunk, or without a graph."""
    model = toys.fc_net(inplace=True)
    model.features.requires_grad_(not trunk_graph)
    with capture(model, "features", trunk_graph=trunk_graph, copy=False) as seen:
        logits = model(images())
    assert seen.features.is_leaf and (seen.features < 0).any()
    torch.testing.assert_close(logits, model(images()))


def test_a_frozen_trunk_still_gives_features_that_a_head_can_be_trained_by():
    model = toys.fc_net()
    model.features.requires_grad_(False)
    with capture(model, "features") as seen:
        logits = model(images())
    (gradient,) = torch.autograd.grad(logits.sum(), seen.features, create_graph=True)
    gradient.square().sum().backward()
    assert model.head[2].weight.grad.abs().max() > 0
    assert model.features[0].weight.grad is None


def test_captures_do_not_add_up():
    """A hundred leave no hook, and the last forward pass of each is what it holds."""
    model = toys.fc_net()
    for _ in range(100):
        with capture(model, "features") as seen:
            model(images())
            logits = model(images()[:2])
    assert toys.state_of(model) == toys.state_of(toys.fc_net())
    assert seen.features.shape[0] == len(logits) == 2


def test_nothing_is_captured_where_nothing_ran():
    with capture(toys.fc_net(), "features") as seen:
        pass
    assert seen.features is None


def test_evaluating_restores_every_modules_own_mode():
    """Also after an error, and of a module frozen in eval mode by itself."""
    model = toys.gap_net().train()
    model.features[1].eval()
    modes = [module.training for module in model.modules()]
    assert True in modes and False in modes
    with pytest.raises(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == modes


def test_a_layer_is_found_by_name_or_as_itself():
    model = toys.fc_net()
    assert find_layer(model, "features.3") is model.features[3]
    assert find_layer(model, model.features[3]) is model.features[3]
    with pytest.raises(ValueError, match="layer must be a module of the model, got 'conv'; there"):
        find_layer(model, "conv")
    with pytest.raises(ValueError, match="layer must be a module of the model, got 'Conv2d'; ther"):
        find_layer(model, copy.deepcopy(model.features[3]))
