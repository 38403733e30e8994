"""Penalties: where their gradients go, what they depend on, and what they do not depend on."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.core import toys
from xblcore import methods
from xblcore.examples import Examples
from xblcore.methods import METHODS, Options, Step
from xblcore.study.train import mean_distance_plus

PENALISED = [name for name, method in METHODS.items() if method.penalty]
WITH_GRADIENT = [name for name in PENALISED if METHODS[name].has_gradient]
# Layers of the head that the penalty does not reach.
UNREACHED = {"xbl_d_plus_first": (2, 4), "activation": (2, 4), "tap": (2, 4), "actdiff": (4,)}
NOT_PER_IMAGE = {"shuffled_masks"}  # depends on the other images of the batch
ALL_IMAGES = {"centre_prior", "uniform", "xbl_d_released"}  # count, annotated or not


def penalty_of(model: nn.Module, data: Examples, name: str) -> Tensor:
    return METHODS[name].penalty(toys.step_of(model, data, name))


@pytest.mark.parametrize("name", PENALISED)
def test_the_gradient_reaches_every_layer(name: str) -> None:
    """A map without ``create_graph`` would not reach the head, and a detached one nothing."""
    model = toys.small_net()
    penalty = penalty_of(model, toys.shortcut(16), name)
    assert penalty.ndim == 0
    assert 0 < penalty < math.inf
    assert penalty.requires_grad == METHODS[name].has_gradient
    if penalty.requires_grad:
        penalty.backward()
    for part in ("features", "head"):
        layers = {n: m for n, m in enumerate(getattr(model, part)) if hasattr(m, "weight")}
        assert len(layers) == 2
        for n, layer in layers.items():
            reached = name in WITH_GRADIENT and (
                part == "features" or n not in UNREACHED.get(name, ())
            )
            gradient = layer.weight.grad
            assert (gradient is not None and gradient.abs().max().item() > 0) == reached
            assert gradient is None or gradient.isfinite().all()


class Penalised(nn.Module):
    """A network whose output is the penalty of a batch of its own, in float64."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model, self.name = toys.pooled_net(), name
        images = torch.rand(3, 1, 5, 5, generator=toys.seeded(3), dtype=torch.float64)
        wrong = torch.zeros(3, 5, 5, dtype=torch.bool)
        for n in range(3):
            wrong[n, n : n + 2, : 2 + n] = True
        cells = toys.cells(~wrong[:, :4, :4], wrong[:, :4, :4])
        self.data = Examples(images, torch.tensor([0, 2, 1]), wrong, wrong, cells)

    def forward(self) -> Tensor:
        data = dataclasses.replace(self.data, images=self.data.images.clone())
        return penalty_of(self.model, data, self.name)


@pytest.mark.parametrize("name", [name for name in WITH_GRADIENT if name != "xbl_d_plus_first"])
def test_finite_differences_agree_with_the_gradient(name: str) -> None:
    """As a function of all weights; for RBR these are third derivatives of the network."""
    whole = Penalised(name)
    names, weights = zip(*whole.named_parameters(), strict=True)

    def penalty(*values: Tensor) -> Tensor:
        return functional_call(whole, dict(zip(names, values, strict=True)), ())

    assert penalty(*weights) > 1e-6
    assert torch.autograd.gradcheck(penalty, weights)


@pytest.mark.parametrize("name", PENALISED)
def test_all_zero_maps_and_features_give_no_nan(name: str) -> None:
    model = toys.small_net()
    for weight in model.features.parameters():
        nn.init.zeros_(weight)
    penalty = penalty_of(model, toys.shortcut(8), name)
    assert penalty.isfinite()
    if name in WITH_GRADIENT:
        penalty.backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of scores and noise that do not depend on the position in the batch."""
    monkeypatch.setattr(
        torch, "randint", lambda _low, _high, shape, **_: torch.arange(shape[1]).expand(shape) % 2
    )
    monkeypatch.setattr(
        methods, "noisy", lambda images, mask, _: torch.where(mask[:, None], 0.3, images)
    )


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("name", [name for name in PENALISED if name not in NOT_PER_IMAGE])
def test_the_penalty_is_the_mean_over_images_whatever_the_batch(name: str) -> None:
    model, data = toys.small_net(), toys.shortcut(6)
    mean_penalty = mean_distance_plus(data)

    def penalty(index: list[int]) -> Tensor:
        step = toys.step_of(model, data.take(torch.tensor(index)), name)
        return METHODS[name].penalty(dataclasses.replace(step, mean_penalty=mean_penalty))

    whole = penalty([0, 1, 2, 3, 4, 5])
    torch.testing.assert_close(whole, torch.stack([penalty([n]) for n in range(6)]).mean())
    torch.testing.assert_close(whole, penalty([5, 4, 3, 2, 1, 0] * 3))


def unmarked(data: Examples, first: int) -> Examples:
    """Without the annotations of the images from ``first`` on."""
    object_mask, decoy_mask = data.object_mask.clone(), data.decoy_mask.clone()
    object_mask[first:] = decoy_mask[first:] = False
    data = dataclasses.replace(data, object_mask=object_mask, decoy_mask=decoy_mask)
    return data.on_grid((6, 6))


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize(
    "name", [name for name in PENALISED if name not in NOT_PER_IMAGE | ALL_IMAGES]
)
def test_images_without_annotation_do_not_count(name: str) -> None:
    """Neither their number nor what they show."""
    model, data = toys.small_net(), toys.shortcut(6)
    alone = penalty_of(model, data.take(slice(0, 2)), name)
    for images in (data.images, torch.cat((data.images[:2], data.images[2:].flip(2)))):
        partly = unmarked(dataclasses.replace(data, images=images.clone()), 2)
        torch.testing.assert_close(penalty_of(model, partly, name), alone)
        nothing = penalty_of(model, partly.take(slice(2, 6)), name)
        assert nothing == 0
        assert nothing.requires_grad == METHODS[name].has_gradient


@pytest.mark.parametrize("name", PENALISED)
@pytest.mark.parametrize("need", ["object_mask", "decoy_mask"])
def test_the_penalty_depends_on_the_annotations_that_the_method_names(name: str, need: str) -> None:
    data, model = toys.shortcut(16), toys.small_net()
    fields = {need: getattr(data.cells, need).roll(1, 2)}
    if need == "object_mask":
        fields["distance"] = data.cells.distance.roll(1, 2)
    other = dataclasses.replace(
        data, cells=dataclasses.replace(data.cells, **fields),
        **{need: getattr(data, need).roll(1, 2)},
    )  # fmt: skip
    changed = penalty_of(model, other, name) != penalty_of(model, data, name)
    assert changed == (need in METHODS[name].needs)


def test_controls_by_their_definition() -> None:
    model, data = toys.small_net(), toys.shortcut(6)
    step = toys.step_of(model, data, "uniform")
    cam = dataclasses.replace(step, generator=toys.seeded(1)).cam("hires_cam", "projection")
    plus = step.distance_plus()
    weights = {
        "xbl_d_plus": plus,
        "xbl_d_plus_first": plus,
        "uniform": torch.ones_like(plus),
        "shuffled_masks": plus[[5, 0, 1, 2, 3, 4]],
        "centre_prior": plus.mean(0),
        "xbl_overlap": data.cells.decoy_mask,
        "xbl_d_gated": data.cells.distance * data.cells.decoy_mask,
    }
    for name, weight in weights.items():
        found = penalty_of(model, data, name)
        torch.testing.assert_close(found, (cam * weight).sum((1, 2)).mean(), msg=name)
    activation = (step.features.abs().sum(1) * plus).sum((1, 2)).mean()
    torch.testing.assert_close(penalty_of(model, data, "activation"), activation)


def test_a_step_can_replace_the_cam_the_score_and_the_cost_of_wrong_cells() -> None:
    step = toys.step_of(toys.small_net(), toys.shortcut(6), "xbl_d")
    options = Options(cam_method="hires_cam", score="log_prob", wrong=0.7)
    replaced = dataclasses.replace(step, options=options)
    assert torch.equal(replaced.cam("grad_cam", "logit"), step.cam("hires_cam", "log_prob"))
    assert not torch.equal(replaced.cam("grad_cam", "logit"), step.cam("grad_cam", "logit"))
    wrong = step.cells.decoy_mask
    assert replaced.distance_plus()[wrong].min() == pytest.approx(0.7)
    expected = step.cells.distance[wrong].clamp(min=0.3)
    assert torch.equal(step.distance_plus()[wrong], expected)
    assert torch.equal(step.distance_plus()[~wrong], step.cells.distance[~wrong])


def tiny_step(logits: Tensor, images: Tensor, model: nn.Module) -> Step:
    count, masks = len(images), torch.zeros(len(images), 1, 1, dtype=torch.bool)
    batch = Examples(images, torch.zeros(count, dtype=torch.int64), masks, masks)
    return Step(batch, images, logits, toys.seeded(), model)


def test_the_input_gradient_of_a_linear_softmax_by_hand() -> None:
    """``d/dx sum_k log p_k = sum_k w_k - K sum_k p_k w_k`` with w = (1, 3), z = (0, 1)."""
    images = torch.zeros(1, 1, 1, 1, requires_grad=True)
    logits = images.flatten(1) * torch.tensor([[1.0, 3.0]]) + torch.tensor([[0.0, 1.0]])
    p = torch.tensor([0.0, 1.0]).softmax(0)
    found = tiny_step(logits, images, nn.Identity()).input_gradient()
    torch.testing.assert_close(found.flatten(), 4 - 2 * (p[:1] * 1 + p[1:] * 3))


def test_the_influence_gradient_by_hand() -> None:
    """For ``z = (w x, 0)`` and label 0: ``CE = log(1 + e^(-w x))``, ``dCE/dw = -x s(-w x)``.

    Its derivative with respect to ``x`` at ``w = 1, x = 2``: ``-s(-2) + 2 s(-2) s(2)``.
    """
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    images = torch.full((3, 1, 1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    score = model(images.flatten(1))
    step = tiny_step(torch.cat((score, torch.zeros_like(score)), 1), images, model)
    low, high = 1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))
    expected = torch.full((3, 1, 1, 1), -low + 2 * low * high, dtype=torch.float64)
    torch.testing.assert_close(methods.influence_gradient(step), expected)


def test_counterexamples_are_copies_with_noise_in_place_of_the_decoy() -> None:
    data = toys.shortcut(6)
    data.decoy_mask[[1, 4]] = False  # not annotated, hence not copied
    copied = torch.tensor([0, 2, 3, 5])
    found = methods.counterexamples(data, toys.seeded(1))
    assert torch.equal(found.images[:6], data.images)
    for whole, before in ((found, data), (found.cells, data.cells)):
        for field in dataclasses.fields(whole):
            if field.name not in ("images", "cells"):
                values = getattr(before, field.name)
                assert torch.equal(getattr(whole, field.name), torch.cat((values, values[copied])))
    inside = data.decoy_mask[copied][:, None]
    assert torch.equal(found.images[6:][~inside], data.images[copied][~inside])
    noise = found.images[6:][inside]
    assert 0 <= noise.min() < noise.max() < 1
    assert len(noise.unique()) == len(noise)
    again, other = (methods.counterexamples(data, toys.seeded(seed)).images for seed in (1, 2))
    assert torch.equal(found.images, again)
    assert not torch.equal(found.images, other)
    step = toys.step_of(toys.small_net(), data, "ce_augment")
    assert len(step.logits) == len(step.batch) == 10
