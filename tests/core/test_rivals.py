"""Competing methods: by hand, against plain implementations, and what they leave alone."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.core import toys
from xblcore import losses, methods
from xblcore.examples import Examples
from xblcore.methods import METHODS, ReluInputs, Step
from xblcore.study import models

T, F = True, False


# RES-G


def test_res_g_by_hand() -> None:
    """``B = [1, 1/2, 1/4]``, the threshold is just above 1/4, ``h = [3/4, 1/4, 0] / (3/4)``."""
    cam, marks = torch.tensor([[[4.0, 2.0, 1.0]]]), torch.tensor([[[T, F, F]], [[F, F, T]]])
    soft = (0 + 1 / 6 + 1 / 4) / 3
    robust = (1 - math.tanh(5 * 0.7499) + 1 - math.tanh(5 * 0.0001)) / 2
    found = losses.res_g(cam, marks[:1], marks[1:])
    assert found.item() == pytest.approx(robust + soft, rel=1e-5)
    for slack, rest in ((0.1, robust - 0.1), (0.9, 0)):
        found = losses.res_g(cam, marks[:1], marks[1:], slack=slack)
        assert found.item() == pytest.approx(rest + soft, rel=1e-5)
    both = losses.res_g(cam, marks.any(0, True), marks[1:], threshold=0.2)  # the last cell is both
    assert both.item() == pytest.approx(1 - math.tanh(4) + soft, rel=1e-5)


def test_the_threshold_of_res_g_in_loops() -> None:
    values = torch.rand(20, 3, 3, generator=toys.seeded(), dtype=torch.float64)
    marks = torch.randint(-1, 2, (20, 3, 3), generator=toys.seeded(1))
    marks[0], marks[1] = 1, -1
    for found, one, mark in zip(losses._threshold(values, marks), values, marks, strict=True):
        right, wrong = one[mark > 0].tolist(), one[mark < 0].tolist()

        def agreement(threshold: float, right=right, wrong=wrong) -> float:
            above = sum(value >= threshold for value in right) / max(1, len(right))
            return above + sum(value < threshold for value in wrong) / max(1, len(wrong))

        best = max(agreement(v) for v in [*right, *(v + 1e-4 for v in wrong)])
        assert agreement(found.item()) == pytest.approx(best)


# Activations


def test_relu_inputs_are_those_of_layers_and_functions() -> None:
    x = torch.tensor([-1.0, 2.0])
    with ReluInputs() as relus:
        nn.ReLU(inplace=True)(x + 0)
        functional.relu((x - 1).relu() - 0.5)
        torch.relu_(x * 3)
    expected = [[-1, 2], [-2, 1], [-0.5, 0.5], [-3, 6]]
    assert [kept.tolist() for kept in relus.kept] == expected
    torch.relu(x)
    assert len(relus.kept) == 4
    network = models.build("resnet8", channels=1, classes=2, size=12, seed=0)
    step = toys.step_of(network, toys.shortcut(4).on_grid((3, 3)), "tap")
    assert len(step.activations) == 7  # the first layer, and two for each residual block
    assert torch.equal(step.activations[-1].relu(), step.features)
    assert toys.step_of(network, toys.shortcut(4).on_grid((3, 3)), "rrr").activations == []


def test_tap_by_hand() -> None:
    """The same pixel in both images, on 4x4 and 2x2 cells; there 3x3 pixels are averaged.

    One channel of 1 and one of -1: ``2^2 = 4`` and ``4 (1 + 1/4 + 1/4 + 1/16)``.
    """
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 1, 1] = True
    layers = [torch.tensor([1.0, -1.0])[None, :, None, None].expand(2, 2, n, n) for n in (4, 2)]
    assert losses.tap(layers, mask).item() == pytest.approx((4 + 6.25) / 2)
    with pytest.raises(ValueError, match="activations must have at least one layer, got none"):
        losses.tap([], mask)


def test_actdiff_by_hand() -> None:
    """``|(3, 4)| = 5`` and ``|(5, 12)| = 13``; the second image is not annotated."""
    mask = torch.tensor([[[T]], [[F]]])
    first, second = torch.tensor([[[3.0, 4.0]]] * 2), torch.tensor([[5.0, 12.0]] * 2)
    found = losses.actdiff([first, second], [first * 0, second * 2], mask)
    assert found.item() == pytest.approx((5 + 13) / 2)


def test_activations_of_a_network_of_the_study() -> None:
    model, data = toys.small_net(), toys.shortcut(6)
    first, middle = model.features[:2], nn.Sequential(*model.features[2:4])
    last = nn.Sequential(model.features[4], *model.head[:3])

    def layers(images: Tensor) -> list[Tensor]:
        one = first(images)
        return [one, middle(one), last(middle(one))]

    wide = functional.max_pool2d(data.decoy_mask[:, None].float(), 3, 1, 1)
    cells = functional.avg_pool2d(wide, 2)  # both convolutions have this resolution
    spatial = layers(data.images)[:2]
    expected = sum((cells * one.relu().sum(1, True)).square().sum() for one in spatial) / 2 / 6
    torch.testing.assert_close(METHODS["tap"].penalty(toys.step_of(model, data, "tap")), expected)

    noise = torch.rand(data.images.shape, generator=toys.seeded(1))
    masked = layers(torch.where(data.decoy_mask[:, None], noise, data.images))
    pairs = zip(layers(data.images), masked, strict=True)
    expected = sum((a - b).flatten(1).square().sum(1).sqrt().mean() for a, b in pairs) / 3
    found = METHODS["actdiff"].penalty(toys.step_of(model, data, "actdiff"))
    torch.testing.assert_close(found, expected)


# PGD-Ex


def test_perturbed_images_by_hand() -> None:
    """``z = (x_0 - 2 x_1, 0)``: the cross-entropy of label 0 rises with a smaller ``x_0``."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    images = torch.tensor([0.9, 0.5]).expand(4, 1, 1, 2).clone()
    wrong = torch.tensor([[[T, F]], [[F, T]], [[T, T]], [[F, F]]])
    batch = Examples(images, torch.tensor([0, 0, 1, 1]), wrong, wrong)
    step = Step(batch, images, model(images), toys.seeded(), model)
    expected = torch.tensor([[0.0, 0.5], [0.9, 1.0], [1.0, 0.0], [0.9, 0.5]])
    for steps in (1, 3):
        torch.testing.assert_close(methods.perturbed(step, steps=steps).flatten(1), expected)
    logits = torch.tensor([[-1.0, 0], [-1.1, 0], [1.0, 0]])
    loss = functional.cross_entropy(logits, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(METHODS["pgd_ex"].penalty(step), loss)


def test_perturbation_raises_the_cross_entropy_inside_the_wrong_region_only() -> None:
    model, data = toys.small_net(), toys.shortcut(16)
    found = methods.perturbed(toys.step_of(model, data, "pgd_ex"))
    outside = ~data.decoy_mask[:, None]
    assert torch.equal(found[outside], data.images[outside])
    assert 0 <= found.min() <= found.max() <= 1
    before, after = (
        functional.cross_entropy(model(images), data.labels, reduction="none")
        for images in (data.images, found)
    )
    assert (after > before).all()


@pytest.mark.parametrize("name", ["pgd_ex", "actdiff"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_sees_copies_but_does_not_average_them(name: str, training: bool) -> None:
    """The statistics of a whole batch, in which images without annotation are as they were."""
    model = models.build("four_conv_cnn", channels=1, classes=2, size=16, seed=0).train(training)
    data = toys.shortcut(6, size=16).on_grid((2, 2))
    step = toys.step_of(model, data, name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    METHODS[name].penalty(step).backward()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    logits, activations = step.side_pass(data.images)
    torch.testing.assert_close(logits, step.logits)
    for one, other in itertools.zip_longest(activations, step.activations or activations):
        torch.testing.assert_close(one, other)


# Decoy swapping


def test_decoy_swap_exchanges_decoys_of_the_same_size() -> None:
    """Decoys of 2 x 2 pixels number the images; image 3 has none and image 4 a larger one."""
    data = toys.shortcut(6)
    data = dataclasses.replace(data, images=data.images.repeat(1, 3, 1, 1))
    data.decoy_mask[3] = False
    data.decoy_mask[4, 5] = True
    swapped = torch.tensor([0, 1, 2, 5])
    code = torch.arange(6.0)[:, None] * 12 + torch.arange(12.0)  # of image, pixel and channel
    for n in swapped:
        data.images[n].permute(1, 2, 0)[data.decoy_mask[n]] = code[n].view(4, 3)
    seen = set()
    for seed in range(30):
        found = methods.decoy_swap(data, toys.seeded(seed))
        for field in ("labels", "object_mask", "decoy_mask"):
            assert torch.equal(getattr(found, field), getattr(data, field))
        outside = ~data.decoy_mask[:, None].expand_as(found.images)
        assert torch.equal(found.images[outside], data.images[outside])
        assert torch.equal(found.images[3:5], data.images[3:5])
        decoys = found.images[swapped].permute(0, 2, 3, 1)[data.decoy_mask[swapped]].view(4, 12)
        others = (decoys[:, 0] // 12).long()
        assert torch.equal(decoys, code[others])
        seen |= set(zip(swapped.tolist(), others.tolist(), strict=True))
    assert seen == set(itertools.product(swapped.tolist(), repeat=2))


# DFR


def classified(count: int = 200) -> tuple[nn.Sequential, Examples]:
    """Three classes; inputs 0 and 1 are informative, input 2 is not, and input 3 is constant."""
    pixels = torch.rand(count, 4, generator=toys.seeded(), dtype=torch.float64)
    labels = (3 * (pixels[:, 0] + 0.3 * pixels[:, 1])).long().clamp(max=2)
    pixels = (pixels - pixels.mean(0)) / pixels.std(0, correction=0)
    pixels[:, 3] = 0.7
    masks = torch.zeros(count, 2, 2, dtype=torch.bool)
    data = Examples(pixels.view(-1, 1, 2, 2), labels, masks, masks)
    return nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 3)).double(), data


@pytest.mark.parametrize("weight", [0.003, 0.03])
def test_dfr_solves_the_regularised_problem(weight: float) -> None:
    """The optimality conditions of the L1 norm, and the same logits for any scale of the inputs."""
    logits = []
    for scale, shift in ((100.0, 3.0), (1.0, 0.0)):
        model, data = classified()
        nn.init.constant_(model[0].weight, scale)
        nn.init.constant_(model[0].bias, shift)
        methods.dfr(model, data, weight)
        assert (model[0].weight.item(), model[0].bias.item()) == (scale, shift)
        assert not model.training
        logits.append(model(data.images))
    torch.testing.assert_close(logits[0], logits[1], atol=1e-2, rtol=1e-2)
    # The last inputs have mean 0 and deviation 1, except for the constant one.
    values = model[2].weight
    loss = functional.cross_entropy(model(data.images), data.labels)
    gradient, by_bias = torch.autograd.grad(loss, (values, model[2].bias))
    used = values != 0
    assert used[:, 0].any()
    assert not used[:, 3].any()
    assert by_bias.abs().max() < 1e-3
    assert (gradient + weight * values.sign())[used].abs().max() < 1e-3
    assert gradient[~used].abs().max() < weight + 1e-3


@pytest.mark.parametrize("last", [nn.Flatten(), nn.Linear(4, 2, bias=False)])
def test_dfr_needs_a_linear_layer(last: nn.Module) -> None:
    with pytest.raises(ValueError, match="model must end in a linear layer with a bias, got"):
        methods.dfr(nn.Sequential(nn.Flatten(), last), toys.shortcut(2), 1.0)
