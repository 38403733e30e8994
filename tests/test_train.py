"""The training loop: repeatable, clean after itself, and it cures a toy shortcut."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional

from xblcore import methods, models
from xblcore.cam import explain
from xblcore.evaluate import predict
from xblcore.methods import METHODS, Annotations, Method
from xblcore.train import EpochLog, TrainConfig, TrainingSet, fit

CONFIG = TrainConfig(weight=3.0, ramp_epochs=1, epochs=2, batch_size=16, learning_rate=1e-3, seed=0)


def weights_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def trained(method: str | Method, data: TrainingSet, **changes: float) -> torch.Tensor:
    """All weights after training the same initial network."""
    model = toys.small_net()
    chosen = methods.get(method) if isinstance(method, str) else method
    fit(model, data, chosen, dataclasses.replace(CONFIG, **changes))
    return weights_of(model)


# ---------------------------------------------------------------- what it does


def test_it_cures_a_shortcut():
    """On images without the patch XBL-D knows the bars, and it looks at them; ERM does neither."""
    data, clean = toys.shortcut(256, seed=0), toys.shortcut(256, seed=1, decoy=False)
    results = {}
    for name in ("erm", "xbl_d"):
        model = models.build("small_cnn", channels=1, classes=2, size=12, seed=0)
        config = TrainConfig(
            weight=3.0, ramp_epochs=2, epochs=8, batch_size=32, learning_rate=3e-3, seed=0
        )
        fit(model, data, methods.get(name), config)
        correct = predict(model, clean.images).argmax(1) == clean.labels
        maps = explain(model, data.images, data.labels, layer="features", method="hires_cam")
        on_object = (maps * data.annotations.object_mask).sum() / maps.sum()
        results[name] = correct.float().mean().item(), on_object.item()
    assert results["erm"][0] < 0.8 < 0.95 < results["xbl_d"][0]
    assert results["xbl_d"][1] > 2 * results["erm"][1]


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_weights_bit_for_bit(name):
    data = toys.shortcut(40, seed=0)
    first = trained(name, data)
    assert torch.equal(first, trained(name, data))
    assert not torch.equal(first, trained(name, data, seed=1))
    assert not torch.equal(first, weights_of(toys.small_net()))


def weighted_by(ramp_epochs: float) -> list[float]:
    """The penalty's weight at each of 6 steps: the gradient of a penalty that is a lone weight."""
    model, seen = toys.small_net(), []
    model.alone = nn.Parameter(torch.zeros(()))
    model.alone.register_hook(lambda gradient: seen.append(gradient.item()))
    method = Method("alone", "", "", penalty=lambda _step: model.alone * 1)
    config = dataclasses.replace(CONFIG, epochs=3, ramp_epochs=ramp_epochs)
    fit(model, toys.shortcut(32, seed=0), method, config)
    return seen


@pytest.mark.parametrize(
    ("ramp_epochs", "expected"),
    [
        (0, [3, 3, 3, 3, 3, 3]),
        (1.5, [0, 1, 2, 3, 3, 3]),
        (3, [0, 0.5, 1, 1.5, 2, 2.5]),
        (30, [0, 0.05, 0.1, 0.15, 0.2, 0.25]),
    ],
)
def test_the_weight_rises_from_0_over_the_ramp(ramp_epochs, expected):
    """Two steps an epoch, weight 3."""
    assert weighted_by(ramp_epochs) == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.penalty])
def test_the_first_step_of_a_ramp_is_that_of_no_penalty(name):
    data, one_step = toys.shortcut(16, seed=0), {"epochs": 1}
    method = methods.get(name)
    without = dataclasses.replace(method, penalty=None, needs=frozenset())
    assert torch.equal(trained(method, data, **one_step), trained(without, data, **one_step))
    if name != "xbl_d_released":
        full = trained(method, data, ramp_epochs=0, **one_step)
        assert not torch.equal(full, trained(without, data, **one_step))


def test_cross_entropy_has_the_methods_weight():
    data, seen = toys.shortcut(16, seed=0), []
    for ce_weight in (1.0, 2.7):
        model = toys.small_net()
        model.head[4].bias.register_hook(lambda gradient: seen.append(gradient))
        method = dataclasses.replace(methods.get("erm"), ce_weight=ce_weight)
        fit(model, data, method, dataclasses.replace(CONFIG, epochs=1))
    torch.testing.assert_close(seen[1], 2.7 * seen[0])


def test_every_image_is_seen_once_an_epoch_in_an_order_of_the_seed():
    data, seen = toys.shortcut(40, seed=0), []
    model = toys.small_net()
    model.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    fit(model, data, methods.get("erm"), CONFIG)
    assert [len(batch) for batch in seen] == [16, 16, 8] * 2
    known = data.images.sum((1, 2, 3))
    epochs = [torch.cat(seen[part]).sum((1, 2, 3)) for part in (slice(3), slice(3, 6))]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        torch.testing.assert_close(epoch.sort().values, known.sort().values)


def test_every_image_meets_its_own_label_and_annotations_in_the_shuffled_batch():
    """The released scripts look them up by the position in it."""
    data, steps = toys.shortcut(40, seed=0), []
    method = Method("spy", "", "", penalty=lambda step: steps.append(step) or step.logits.sum())
    fit(toys.small_net(), data, method, CONFIG)
    assert len(steps) == 6
    for step in steps:
        for n, image in enumerate(step.images):
            (index,) = (data.images == image).flatten(1).all(1).nonzero()
            assert step.labels[n] == data.labels[index]
            for field in dataclasses.fields(Annotations):
                mine, whole = (getattr(a, field.name) for a in (step.annotations, data.annotations))
                assert torch.equal(mine[n], whole[index[0]]), field.name


@pytest.mark.parametrize("name", METHODS)
def test_one_forward_pass_a_step(name):
    model, calls = toys.small_net(), []
    for module in model.modules():
        module.register_forward_pre_hook(lambda module, _inputs: calls.append(module))
    fit(model, toys.shortcut(32, seed=0), methods.get(name), CONFIG)
    assert len(calls) == 4 * len(list(model.modules()))


def test_the_log_holds_means_over_the_images():
    """Of all 40 images, although the last step has 8; the weights hardly move."""
    data, model, told = toys.shortcut(40, seed=0), toys.small_net(), []
    half = Method("half", "", "", penalty=lambda step: step.logits.sum() * 0 + 0.5)
    config = dataclasses.replace(CONFIG, learning_rate=1e-12)
    logs = fit(model, data, half, config, on_epoch=told.append)
    logits = model(data.images)
    expected = functional.cross_entropy(logits, data.labels).item()
    accuracy = (logits.argmax(1) == data.labels).float().mean().item()
    assert logs == told and [log.epoch for log in logs] == [1, 2]
    for log in logs:
        assert isinstance(log, EpochLog)
        assert log.cross_entropy == pytest.approx(expected, rel=1e-5)
        assert (log.penalty, log.accuracy) == pytest.approx((0.5, accuracy))


# ---------------------------------------------------------------- what it leaves alone


@pytest.mark.parametrize("name", METHODS)
def test_it_leaves_no_hook_no_eval_mode_no_annotated_images_and_the_global_generator(name):
    data, model = toys.shortcut(32, seed=0), toys.small_net()
    model.eval()
    state = torch.get_rng_state()
    look = lambda _log: explain(model, data.images[:2], layer="features")  # noqa: E731
    fit(model, data, methods.get(name), CONFIG, on_epoch=look)
    assert torch.equal(torch.get_rng_state(), state)
    assert not data.images.requires_grad and data.images.grad is None
    for module in model.modules():
        assert module.training
        assert not module._forward_hooks and not module._forward_pre_hooks


# ---------------------------------------------------------------- rejections


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "erm",
            "loss must stay finite, got cross-entropy nan and penalty 0.0 in epoch 1 of erm with "
            "weight 3.0; lower the weight or the learning rate, or lengthen ramp_epochs",
        ),
        ("xbl_d", "cam must be finite, got NaN or infinity in sample .*; training has diverged: l"),
        ("rrr", "input_gradient must be finite, got NaN or infinity in sample .*; training has di"),
    ],
)
def test_a_diverged_training_says_so(name, message):
    data = toys.shortcut(16, seed=0)
    data.images[3] = math.nan
    with pytest.raises(ValueError, match=message):
        fit(toys.small_net(), data, methods.get(name), CONFIG)


@pytest.mark.parametrize("name", ["erm", "xbl_d"])
@pytest.mark.parametrize("label", [2, -1, -100])  # -100 is what cross-entropy skips in silence
def test_a_label_outside_the_classes(name, label):
    data = toys.shortcut(16, seed=0)
    data.labels[3] = label
    low, high = min(label, 0), max(label, 1)
    with pytest.raises(
        ValueError, match=rf"labels must be in \[0, 2\), .*2 logits, got {low} to {high}"
    ):
        fit(toys.small_net(), data, methods.get(name), CONFIG)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (lambda step: step.logits.sum(1), r"must be a scalar tensor, got shape \(16,\)"),
        (lambda _step: None, "must be a scalar tensor, got None"),
        (lambda _step: 0.5, "must be a scalar tensor, got 0.5"),
        (lambda step: (-step.logits.square().sum()).sqrt(), "must be finite, got nan in the first"),
        (lambda step: step.logits.sum().detach(), "must have a gradient, got one without"),
    ],
)
def test_a_penalty_that_cannot_teach_is_told_in_the_first_step(penalty, message):
    model = toys.small_net()
    before = weights_of(model)
    method = Method("mine", "", "", penalty=penalty)
    with pytest.raises(ValueError, match=f"penalty of mine {message}"):
        fit(model, toys.shortcut(32, seed=0), method, CONFIG)
    assert torch.equal(weights_of(model), before)


def test_a_penalty_needs_no_gradient_where_nothing_is_marked():
    data = toys.shortcut(16, seed=0)
    nothing = torch.zeros_like(data.annotations.object_mask)
    marks = dataclasses.replace(data.annotations, object_mask=nothing, decoy_mask=nothing)
    method = Method("mine", "", "", penalty=lambda step: torch.zeros(()))
    fit(toys.small_net(), dataclasses.replace(data, annotations=marks), method, CONFIG)


def test_as_many_labels_as_images():
    data = toys.shortcut(16, seed=0)
    with pytest.raises(ValueError, match="labels must be as many as images.*got 17 for 16"):
        dataclasses.replace(data, labels=torch.zeros(17, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least one, got 0 for 0"):
        dataclasses.replace(data, images=data.images[:0], labels=data.labels[:0])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("trunk", "layer must be a module of the model, got 'trunk'"),
        ("idle", "layer must take part"),
    ],
)
def test_a_layer_that_cannot_be_explained(layer, message):
    model = toys.small_net()
    model.add_module("idle", nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match=message):
        fit(model, toys.shortcut(16, seed=0), methods.get("xbl_d"), CONFIG, layer=layer)


def test_annotations_on_another_grid():
    data = toys.shortcut(16, seed=0)
    marked = dataclasses.replace(data.annotations, decoy_mask=data.annotations.decoy_pixels)
    data = dataclasses.replace(data, annotations=marked)
    with pytest.raises(ValueError, match=r"decoy_mask must have shape \(16, 6, 6\), got \(16, 12"):
        fit(toys.small_net(), data, methods.get("rrr_g"), CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("weight", -1.0, "at least 0"),
        ("weight", math.nan, "at least 0"),
        ("ramp_epochs", -0.5, "at least 0"),
        ("epochs", 0, "above 0"),
        ("batch_size", 0, "above 0"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", math.nan, "above 0"),
    ],
)
def test_bad_settings(name, value, rule):
    with pytest.raises(ValueError, match=f"{name} must be {rule}, got {value}"):
        dataclasses.replace(CONFIG, **{name: value})
