"""The registry: every entry complete, every penalty reaches the weights, but the released one."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import toys
from torch import nn

from xblcore import methods
from xblcore.cam import capture
from xblcore.methods import METHODS, Annotations, Method, Step

PENALISED = [name for name, method in METHODS.items() if method.penalty]


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_is_complete(name):
    method = METHODS[name]
    assert method.name == name and name == name.lower() and " " not in name
    assert method.label and method.source
    assert method.summary.endswith(".") and "\n" not in method.summary
    assert method.ce_weight > 0
    assert (method.default_weight > 0) == (method.penalty is not None)
    assert bool(method.needs) == bool(method.penalty or method.augment)


def test_no_two_methods_look_alike():
    for field in ("label", "summary"):
        values = [getattr(method, field) for method in METHODS.values()]
        assert len(set(values)) == len(values), field


def test_the_study_of_the_first_task_is_there():
    """Issue 2; the oracle alone learns from other images."""
    names = {"erm", "oracle", "rrr", "rrr_g", "xbl_d", "xbl_d_grad_cam", "xbl_d_released"}
    assert names <= set(METHODS)
    assert [n for n, m in METHODS.items() if m.train_split == "train_clean"] == ["oracle"]


def test_an_unknown_method():
    with pytest.raises(ValueError, match="method must be one of erm, oracle, cdep, .*got 'xbld'"):
        methods.get("xbld")


def step_of(model: nn.Module, *, replaced: dict[str, torch.Tensor] | None = None) -> Step:
    """One batch of the shortcut problem after its forward pass; ``replaced``: annotations."""
    data = toys.shortcut(16, seed=0)
    images = data.images.requires_grad_()
    with capture(model, "features") as seen:
        logits = model(images)
    assert seen.features is not None
    marked = dataclasses.replace(data.annotations, **(replaced or {}))
    return Step(images, data.labels, seen.features, logits, marked, toys.seeded(1), model)


@pytest.mark.parametrize("name", [name for name in PENALISED if name != "xbl_d_released"])
def test_the_penalty_teaches_every_layer(name):
    """A map made without ``create_graph`` would leave the head untaught, a detached one all."""
    model = toys.small_net()
    penalty = METHODS[name].penalty(step_of(model))
    assert penalty.ndim == 0 and penalty > 0
    penalty.backward()
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 4
    for layer in layers:
        assert layer.weight.grad is not None, layer
        assert layer.weight.grad.isfinite().all() and layer.weight.grad.abs().max() > 0, layer


def test_the_released_penalty_teaches_no_layer():
    penalty = METHODS["xbl_d_released"].penalty(step_of(toys.small_net()))
    assert penalty > 0 and not penalty.requires_grad


TOUCHED_BY = {
    "object_mask": {"object_mask", "distance"},
    "decoy_mask": {"decoy_mask", "decoy_pixels"},
}


@pytest.mark.parametrize("name", PENALISED)
@pytest.mark.parametrize("need", TOUCHED_BY)
def test_the_penalty_touches_what_it_needs_and_nothing_else(name, need):
    """Other annotations of one kind change its value if, and only if, the method declares it."""
    marked = toys.shortcut(16, seed=0).annotations
    other = {field: getattr(marked, field).roll(1, 2) for field in TOUCHED_BY[need]}
    model, penalty = toys.small_net(), METHODS[name].penalty
    changed = penalty(step_of(model, replaced=other)) != penalty(step_of(model))
    assert changed == (need in METHODS[name].needs)


@pytest.mark.parametrize("name", PENALISED)
def test_the_penalty_needs_the_images_gradient_if_it_says_so(name):
    step = step_of(toys.small_net())
    without = dataclasses.replace(step, images=step.images.detach())
    if "input_gradient" in METHODS[name].needs:
        with pytest.raises(RuntimeError, match="does not require grad"):
            METHODS[name].penalty(without)
    else:
        METHODS[name].penalty(without)


def test_the_input_gradient_of_a_linear_softmax_by_hand():
    """``d/dx sum_k log p_k = sum_k w_k - K sum_k p_k w_k``; for w = (1, 3) and z = 0: 4 - 2 * 2."""
    images = torch.zeros(1, 1, 1, 1, requires_grad=True)
    logits = images.flatten(1) * torch.tensor([[1.0, 3.0]]) + torch.tensor([[0.0, 1.0]])
    empty = torch.zeros(1, 1, 1, dtype=torch.bool)
    marked = toys.annotations(empty, empty, empty)
    step = Step(images, torch.tensor([0]), images, logits, marked, toys.seeded(), nn.Identity())
    p = torch.tensor([0.0, 1.0]).softmax(0)
    expected = 4 - 2 * (p[0] * 1 + p[1] * 3)
    torch.testing.assert_close(step.input_gradient().flatten(), expected[None])


def test_annotations_are_taken_together():
    data = toys.shortcut(6, seed=0).annotations
    index = torch.tensor([4, 1])
    taken = data.take(index)
    for field in dataclasses.fields(Annotations):
        whole, part = getattr(data, field.name), getattr(taken, field.name)
        assert torch.equal(part, whole[index]), field.name


def test_a_method_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["erm"].ce_weight = 2.0
    assert Method("mine", "Mine", "A new one.", "me").penalty is None
