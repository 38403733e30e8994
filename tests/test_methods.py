"""Penalties: they reach every weight, count annotated images alone, and touch what they say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import fields

import pytest
import torch
import toys
from torch import nn
from torch.func import functional_call

from xblcore.cam import capture
from xblcore.methods import METHODS, Annotations, Method, Step
from xblcore.methods.rbr import influence_gradient
from xblcore.train import TrainingSet, forward

PENALISED = [name for name, method in METHODS.items() if method.penalty]


def step_of(model: nn.Module, *, replaced: dict[str, torch.Tensor] | None = None) -> Step:
    """One batch of the shortcut problem after its forward pass; ``replaced``: annotations."""
    data = toys.shortcut(16, seed=0)
    images = data.images.requires_grad_()
    with capture(model, "features") as seen:
        logits = model(images)
    assert seen.features is not None
    marked = dataclasses.replace(data.annotations, **(replaced or {}))
    return Step(images, data.labels, seen.features, logits, marked, toys.seeded(1), model)


TEACHING = [name for name in PENALISED if name != "xbl_d_released"]


@pytest.mark.parametrize("name", TEACHING)
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


class Penalised(nn.Module):
    """A network and a penalty on a batch of its own; its output is the penalty."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model, self.penalty = toys.pooled_net(), METHODS[name].penalty
        self.images = torch.rand(3, 1, 5, 5, generator=toys.seeded(3), dtype=torch.float64)
        wrong = torch.zeros(3, 5, 5, dtype=torch.bool)
        wrong[:, :2, :2] = True
        on_grid = wrong[:, :4, :4]
        self.marked = toys.annotations(~on_grid, on_grid, wrong)

    def forward(self) -> torch.Tensor:
        images = self.images.clone().requires_grad_()
        with capture(self.model, "features") as seen:
            logits = self.model(images)
        labels, generator = torch.tensor([0, 2, 1]), toys.seeded(1)
        return self.penalty(
            Step(images, labels, seen.features, logits, self.marked, generator, self.model)
        )


@pytest.mark.parametrize("name", TEACHING)
def test_finite_differences_agree_with_the_gradient_of_every_penalty(name):
    """In float64, as a function of all weights; for RBR these are third derivatives."""
    whole = Penalised(name)
    names, weights = zip(*whole.named_parameters(), strict=True)

    def penalty(*values: torch.Tensor) -> torch.Tensor:
        return functional_call(whole, dict(zip(names, values, strict=True)), ())

    assert penalty(*weights) > 1e-6
    assert torch.autograd.gradcheck(penalty, weights)


@pytest.fixture
def same_signs(monkeypatch):
    """Random signs of scores that do not depend on the place in the batch."""
    monkeypatch.setattr(
        torch, "randint", lambda _low, _high, shape, **_: torch.arange(shape[1]).expand(shape) % 2
    )


def penalty_of(name: str, model: nn.Module, data: TrainingSet, index: list[int]) -> torch.Tensor:
    step = forward(model, data, torch.tensor(index), METHODS[name], "features", toys.seeded())
    return METHODS[name].penalty(step)


@pytest.mark.parametrize("name", PENALISED)
def test_the_penalty_does_not_depend_on_the_size_of_the_batch(name, same_signs):
    model, data = toys.small_net(), toys.shortcut(6, seed=0)
    whole = penalty_of(name, model, data, [0, 1, 2, 3, 4, 5])
    one_by_one = [penalty_of(name, model, data, [n]) for n in range(6)]
    torch.testing.assert_close(whole, torch.stack(one_by_one).mean())
    torch.testing.assert_close(whole, penalty_of(name, model, data, [5, 4, 3, 2, 1, 0] * 3))


@pytest.mark.parametrize("name", TEACHING)
def test_images_that_are_not_annotated_do_not_count(name, same_signs):
    """Neither in number nor by what is in them."""
    model, data = toys.small_net(), toys.shortcut(6, seed=0)
    alone = penalty_of(name, model, data, [0, 1])
    marked = {f.name: getattr(data.annotations, f.name).clone() for f in fields(Annotations)}
    for mask in ("object_mask", "decoy_mask", "decoy_pixels"):
        marked[mask][2:] = False
    marked["distance"][2:] = math.nan
    for images in (data.images, torch.cat((data.images[:2], data.images[2:].flip(2)))):
        unmarked = TrainingSet(images.clone(), data.labels, Annotations(**marked))
        torch.testing.assert_close(penalty_of(name, model, unmarked, list(range(6))), alone)
        nothing = penalty_of(name, model, unmarked, [2, 3, 4, 5])
        assert nothing == 0 and nothing.requires_grad


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
        with pytest.raises(ValueError, match="add .input_gradient. to the method.s needs"):
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


def test_the_influence_gradient_by_hand():
    """For ``z = (w x, 0)``, label 0: ``CE = log(1 + e^(-w x))``, ``dCE/dw = -x s(-w x)``.

    Its derivative by ``x`` at ``w = 1, x = 2``: ``-s(-2) + 2 s(-2) s(2)``.
    """
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    images = torch.full((3, 1, 1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    score = model(images.flatten(1))
    logits = torch.cat((score, torch.zeros_like(score)), 1)
    empty = torch.zeros(3, 1, 1, dtype=torch.bool)
    marked, labels = toys.annotations(empty, empty, empty), torch.zeros(3, dtype=torch.int64)
    step = Step(images, labels, images, logits, marked, toys.seeded(), model)
    low, high = 1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))
    expected = torch.full((3, 1, 1, 1), -low + 2 * low * high, dtype=torch.float64)
    torch.testing.assert_close(influence_gradient(step), expected)


def test_what_a_step_cannot_give_is_told() -> None:
    step = Step(*[torch.zeros(1, 1, 2, 2)] * 4, None, toys.seeded(), nn.Identity())
    with pytest.raises(ValueError, match="must be one of grad_cam, hires_cam, got 'hirescam'"):
        step.cam("hirescam", "logit")
    with pytest.raises(ValueError, match="add 'input_gradient' to the method's needs"):
        step.input_gradient()


def test_a_need_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="needs of mine must be of object_mask, .*, got 'mask'"):
        Method("mine", "", "", needs=frozenset({"mask", "cam"}))
