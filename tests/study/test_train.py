"""The training loop: against a hand-written one, repeatable, and clear about mistakes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.core import toys
from xblcore import methods
from xblcore.examples import Examples
from xblcore.methods import METHODS, Method
from xblcore.study import evaluate
from xblcore.study.train import EpochLog, TrainConfig, fit, gradient_norms, mean_distance_plus

CONFIG = TrainConfig(weight=3.0, ramp_epochs=1, epochs=2, batch_size=16, learning_rate=1e-3, seed=0)
PENALISED = [name for name, method in METHODS.items() if method.penalty]


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def trained(method: str | Method, data: Examples, **changes: Any) -> Tensor:
    """All weights after training the same initial network."""
    model = toys.small_net()
    chosen = methods.get(method) if isinstance(method, str) else method
    fit(model, data, chosen, dataclasses.replace(CONFIG, **changes))
    return weights_of(model)


def own_method(penalty: Callable[..., Any]) -> Method:
    return Method("mine", "", "", "", "grey", "o", penalty=penalty)


def test_training_is_that_of_a_plain_loop() -> None:
    """XBL-D, written out: two epochs of three steps, over the first of which the weight rises."""
    data, model = toys.shortcut(40), toys.small_net()
    assert data.cells is not None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order, ramp = torch.Generator().manual_seed(0), iter([0, 1 / 3, 2 / 3, 1, 1, 1])
    for _ in range(2):
        for index in torch.randperm(40, generator=order).split(16):
            features = model.features(data.images[index])
            logits, labels = model.head(features), data.labels[index]
            score = logits[torch.arange(len(index)), labels].sum()
            (gradient,) = torch.autograd.grad(score, features, create_graph=True)
            cam = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu()
            share = cam / cam.sum((1, 2), keepdim=True)
            penalty = (share * data.cells.distance[index]).sum((1, 2)).mean()
            loss = functional.cross_entropy(logits, labels) + 3 * next(ramp) * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(trained("xbl_d", data), weights_of(model), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_gives_the_same_weights_bit_for_bit(name: str) -> None:
    data = toys.shortcut(32)
    state, first = torch.get_rng_state(), trained(name, data)
    assert torch.equal(first, trained(name, data))
    assert not torch.equal(first, trained(name, data, seed=1))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is untouched
    assert not data.images.requires_grad


@pytest.mark.parametrize(
    ("ramp_epochs", "every", "expected"),
    [
        (0, 1, [3, 3, 3, 3, 3, 3]),
        (1.5, 1, [0, 1, 2, 3, 3, 3]),
        (3, 1, [0, 0.5, 1, 1.5, 2, 2.5]),
        (1, 2, [0, 6, 6]),  # in every second step, with twice the weight
    ],
)
def test_weight_rises_over_the_ramp(ramp_epochs: float, every: int, expected: list[float]) -> None:
    """Seen as the gradient of a penalty that is a parameter; two steps per epoch, weight 3."""
    model, seen = toys.small_net(), list[float]()
    model.alone = nn.Parameter(torch.zeros(()))
    model.alone.register_hook(lambda gradient: seen.append(gradient.item()))
    config = dataclasses.replace(CONFIG, epochs=3, ramp_epochs=ramp_epochs, every=every)
    fit(model, toys.shortcut(32), own_method(lambda step: step.model.alone * 1), config)
    assert seen == pytest.approx(expected)


@pytest.mark.parametrize("name", PENALISED)
def test_weight_0_is_training_without_the_penalty(name: str) -> None:
    data, method = toys.shortcut(16), methods.get(name)
    plain = dataclasses.replace(method, penalty=None, needs=frozenset())
    without = trained(plain, data, epochs=1)
    assert torch.equal(trained(name, data, epochs=1), without)  # the only step has ramp 0
    full = trained(name, data, epochs=1, ramp_epochs=0)
    assert torch.equal(full, without) == (not method.has_gradient)


@pytest.mark.parametrize(
    ("images", "sizes"),
    [(40, [16, 16, 8]), (32, [16, 16]), (33, [16, 17]), (17, [17]), (2, [2]), (1, [1])],
)  # fmt: skip
def test_batches_are_in_an_order_of_the_seed_and_keep_their_annotations(
    images: int, sizes: list[int]
) -> None:
    """A single image in the last batch, which batch norm refuses, joins the batch before."""
    data, steps = toys.shortcut(images), list[methods.Step]()

    def spy(step: methods.Step) -> Tensor:
        steps.append(step)
        return step.logits.sum()

    model = toys.small_net()
    model.eval()
    fit(model, data, own_method(spy), CONFIG)
    assert all(module.training for module in model.modules())
    assert [len(step.batch) for step in steps] == sizes * 2
    order = torch.Generator().manual_seed(CONFIG.seed)
    expected = torch.cat([torch.randperm(images, generator=order) for _ in range(2)])
    for name in ("images", "labels", "object_mask", "decoy_mask"):
        seen = torch.cat([getattr(step.batch, name) for step in steps])
        assert torch.equal(seen, getattr(data, name)[expected]), name
    for name in ("object_mask", "decoy_mask", "distance"):
        seen = torch.cat([getattr(step.cells, name) for step in steps])
        assert torch.equal(seen, getattr(data.cells, name)[expected]), name


def test_log_has_means_over_the_images() -> None:
    """Of all 40 images, although the last batch has 8; the weights hardly move."""
    data, model, seen = toys.shortcut(40), toys.small_net(), list[EpochLog]()
    sizes = own_method(lambda step: step.logits.sum() * 0 + len(step.batch))
    config = dataclasses.replace(CONFIG, learning_rate=1e-12)
    logs = fit(model, data, sizes, config, on_epoch=seen.append)
    logits = model(data.images)
    expected = functional.cross_entropy(logits, data.labels).item()
    accuracy = (logits.argmax(1) == data.labels).float().mean().item()
    assert logs == seen
    assert [log.epoch for log in logs] == [1, 2]
    for log in logs:
        assert log.cross_entropy == pytest.approx(expected, rel=1e-5)
        assert log.penalty == pytest.approx((16 * 16 + 16 * 16 + 8 * 8) / 40)
        assert log.accuracy == pytest.approx(accuracy)


def test_mean_penalty_averages_the_annotated_images() -> None:
    data = toys.shortcut(3)
    assert data.cells is not None
    plus = torch.maximum(data.cells.distance, 0.5 * data.cells.decoy_mask)
    data.object_mask[2] = data.decoy_mask[2] = False
    found = mean_distance_plus(data.on_grid((6, 6)), wrong=0.5)
    torch.testing.assert_close(found, plus[:2].mean(0))
    assert mean_distance_plus(dataclasses.replace(data, cells=None)) is None


def test_released_loss_adds_exactly_no_gradient() -> None:
    data, model = toys.shortcut(16), toys.small_net()
    norms = gradient_norms(model, data, methods.get("xbl_d_released"), weight=1e6)
    assert all(second == 0 for _, second in norms.values())
    cross_entropy = functional.cross_entropy(model(data.images), data.labels)
    for name, weight in model.named_parameters():
        (gradient,) = torch.autograd.grad(2.7 * cross_entropy, weight, retain_graph=True)
        assert norms[name][0] == pytest.approx(gradient.norm().item(), rel=1e-3)
    norms = gradient_norms(model, data, methods.get("rrr_g"), weight=1e3)
    assert max(second for _, second in norms.values()) > 0
    with pytest.raises(ValueError, match="method must have an explanation loss, got 'erm'"):
        gradient_norms(model, data, methods.get("erm"), weight=1.0)


def test_xbl_d_plus_no_longer_relies_on_the_decoy() -> None:
    """Bars with a patch as bright as the label; the test swaps the patch."""
    data, test = toys.shortcut(256), toys.shortcut(256, seed=1)
    swapped = dataclasses.replace(test, images=test.images.clone())
    swapped.images[:, 0][test.decoy_mask] = 1 - test.images[:, 0][test.decoy_mask]
    config = TrainConfig(
        weight=3.0, ramp_epochs=2, epochs=12, batch_size=32, learning_rate=3e-3, seed=0
    )
    found = {}
    for name in ("erm", "xbl_d_plus"):
        model = toys.small_net()
        fit(model, data, methods.get(name), config)
        rows = evaluate.behaviour(model, {"s": test, "swapped": swapped}, {"s": swapped})
        found[name] = {(row.split, row.metric): row.value for row in rows}
    assert found["erm"]["s", "decoy_flip_rate"] > 0.9
    assert found["xbl_d_plus"]["s", "decoy_flip_rate"] < 0.2
    assert found["xbl_d_plus"]["swapped", "accuracy"] > 0.8


@pytest.mark.parametrize(
    ("name", "pixel", "label", "message"),
    [
        ("erm", math.nan, 0, "loss must stay finite, got cross-entropy nan and penalty 0.0 in "
         "epoch 1 of erm with weight 3.0; lower the weight"),
        ("xbl_d", math.nan, 0, "cam must be finite"),
        ("rrr", math.nan, 0, "input_gradient must be finite"),
        ("erm", 0.5, 2, r"labels must be in \[0, 2\), .*, got 0 to 2"),
        ("xbl_d", 0.5, -100, r"labels must be in \[0, 2\), .*, got -100 to 1"),
    ],
)  # fmt: skip
def test_bad_data(name: str, pixel: float, label: int, message: str) -> None:
    data = toys.shortcut(16)
    data.images[3], data.labels[3] = pixel, label
    with pytest.raises(ValueError, match=message):
        fit(toys.small_net(), data, methods.get(name), CONFIG)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (lambda step: step.logits.sum(1), r"must be a scalar tensor, got \(16,\)"),
        (lambda step: 0.5, "must be a scalar tensor, got 0.5"),
        (lambda step: (-step.logits.square().sum()).sqrt(), "must be finite, got nan in the first"),
        (lambda step: step.logits.sum().detach(), "must have a gradient, got one without"),
    ],
)
def test_mistakes_in_a_new_penalty_are_found_in_the_first_step(
    penalty: Callable[..., Any], message: str
) -> None:
    model = toys.small_net()
    before = weights_of(model)
    with pytest.raises(ValueError, match=f"penalty of mine {message}"):
        fit(model, toys.shortcut(32), own_method(penalty), CONFIG)
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("weight", math.nan, "at least 0"),
        ("every", 0, "above 0"),
        ("learning_rate", math.nan, "above 0"),
    ],
)
def test_bad_settings(name: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be {rule}, got {value}"):
        dataclasses.replace(CONFIG, **{name: value})
