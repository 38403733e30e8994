"""CAMs: values by hand, captum as an oracle, one forward pass, and everything put back after it."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math

import pytest
import torch
import toys
from torch import nn

from xblcore import cam
from xblcore.models import SplitNet

# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("method", "score", "target", "expected"),
    [
        # G_0 = ([2, 0], [0, -1]) and G_1 = ([0, 1], [4, 0]) on A = ([1, 3], [2, 4])
        ("grad_cam", "logit", 0, [0, 1]),  # 1 [1, 3] - 1/2 [2, 4]
        ("grad_cam", "logit", 1, [4.5, 9.5]),  # 1/2 [1, 3] + 2 [2, 4]
        ("hires_cam", "logit", 0, [2, 0]),  # [2, 0] + [0, -4], then its positive part
        ("hires_cam", "logit", 1, [8, 3]),
        # both logits are 11, so d log p_t / dA = (G_t - G_other) / 2
        ("grad_cam", "log_prob", 0, [2.25, 4.25]),
        ("grad_cam", "log_prob", 1, [2.25, 4.25]),
        ("hires_cam", "log_prob", 0, [3, 3.5]),
        ("hires_cam", "log_prob", 1, [3, 3.5]),
    ],
)
def test_maps_computed_by_hand(method, score, target, expected):
    got = cam.explain(
        toys.hand_net(),
        toys.HAND_IMAGE,
        torch.tensor([target]),
        layer="features",
        method=method,
        score=score,
    )
    torch.testing.assert_close(got, torch.tensor([[expected]], dtype=torch.float32))


@pytest.mark.parametrize(
    ("method", "map_of_0_minus_1"), [("grad_cam", [4.5, 8.5]), ("hires_cam", [6.0, 7.0])]
)
def test_a_projection_map_by_hand(method, map_of_0_minus_1):
    """Of two classes, equal signs cancel and unequal ones compare the two, as often as not."""
    images = toys.HAND_IMAGE.expand(400, 1, 1, 2)
    maps = cam.explain(
        toys.hand_net(),
        images,
        layer="features",
        method=method,
        score="projection",
        generator=toys.seeded(),
    )
    unequal = maps.sum((1, 2)) > 0
    expected = torch.tensor([[map_of_0_minus_1]]).expand(int(unequal.sum()), 1, 2)
    torch.testing.assert_close(maps[unequal], expected)
    assert (maps[~unequal] == 0).all()
    assert 160 < unequal.sum() < 240  # 4 standard deviations


def test_scores_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])
    target = torch.tensor([0, 1])
    torch.testing.assert_close(cam.class_scores(logits, target), torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(
        cam.class_scores(logits, target, kind="log_prob"),
        torch.tensor([math.log(1 / 4), math.log(1 / 2)]),
    )


def test_a_projection_takes_every_sign_pattern_equally_often():
    """So its square is in expectation the sum of all classes' squares (Hutchinson)."""
    row = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)  # mean 3
    scores = cam.class_scores(row.expand(8000, 3), None, kind="projection", generator=toys.seeded())
    by_hand = sorted(-2 * a - 1 * b + 3 * c for a, b, c in itertools.product((-1, 1), repeat=3))
    values, counts = scores.unique(return_counts=True)
    assert values.tolist() == sorted(set(by_hand))
    expected = torch.tensor([by_hand.count(v) * 1000 for v in values.tolist()])
    assert ((counts - expected).abs() < 4 * expected.sqrt()).all()
    assert scores.square().mean().item() == pytest.approx(4 + 1 + 9, rel=0.05)


def test_the_square_of_a_projection_map_is_in_expectation_that_of_all_classes():
    """``E M^2 = sum_c (M_c - mean_c M)^2``, cell by cell: one gradient, the evidence for all."""
    model, one = toys.fc_net(), torch.rand(1, 3, 8, 8, generator=toys.seeded())
    with cam.capture(model, "features") as seen:
        logits = model(one.expand(3, 3, 8, 8))
    by_class = cam.hires_cam(seen.features, logits.diagonal())  # (3, h, w), signed
    expected = (by_class - by_class.mean(0)).square().sum(0)
    maps = cam.explain(
        model,
        one.expand(4000, 3, 8, 8),
        layer="features",
        method="hires_cam",
        score="projection",
        generator=toys.seeded(),
    )
    torch.testing.assert_close(maps.square().mean(0), expected, rtol=0.15, atol=1e-6)


def test_signs_come_from_the_generator_alone():
    logits = torch.randn(50, 4, generator=toys.seeded())
    state = torch.get_rng_state()
    first, again, other = (
        cam.class_scores(logits, None, kind="projection", generator=toys.seeded(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_hires_cam_is_grad_cam_under_global_average_pooling():
    images = torch.rand(4, 3, 9, 9, generator=toys.seeded())
    one, other = (
        cam.explain(toys.gap_net(), images, layer="features", method=method, score="log_prob")
        for method in cam.CAM_METHODS
    )
    assert one.max() > 0
    torch.testing.assert_close(one, other)


def test_hires_cam_adds_up_to_the_logit_of_a_piecewise_linear_head_without_biases():
    model, images = toys.fc_net(), torch.rand(4, 3, 8, 8, generator=toys.seeded())
    for layer in model.head:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    with cam.capture(model, "features") as seen:
        logits = model(images)
    maps = cam.hires_cam(seen.features, logits[:, 2])
    torch.testing.assert_close(maps.sum((1, 2)), logits[:, 2])


@pytest.mark.parametrize("method", cam.CAM_METHODS)
@pytest.mark.parametrize("score", ["logit", "log_prob"])
@pytest.mark.parametrize("net", [toys.fc_net, toys.gap_net])
def test_a_batch_gives_what_its_images_give_one_by_one(net, method, score):
    model, images = net(), torch.rand(5, 3, 8, 8, generator=toys.seeded())
    options = {"layer": "features", "method": method, "score": score}
    alone = [cam.explain(model, image[None], **options) for image in images]
    torch.testing.assert_close(cam.explain(model, images, **options), torch.cat(alone))


def test_without_a_target_the_predicted_class_is_explained():
    """``[[0, 0]]`` has the logits (12, 4), ``[[3, 3]]`` has (15, 19)."""
    model, images = toys.hand_net(), torch.tensor([[[[0.0, 0.0]]], [[[3.0, 3.0]]]])
    by_default = cam.explain(model, images, layer="features", method="hires_cam")
    predicted = torch.tensor([0, 1])
    named = cam.explain(model, images, predicted, layer="features", method="hires_cam")
    other = cam.explain(model, images, 1 - predicted, layer="features", method="hires_cam")
    assert torch.equal(by_default, named)
    assert not torch.isclose(by_default, other).flatten(1).all(1).any()


def test_a_target_may_be_of_any_integer_type():
    model, images = toys.hand_net(), toys.HAND_IMAGE
    for dtype in (torch.uint8, torch.int32, torch.int64):
        got = cam.explain(model, images, torch.ones(1, dtype=dtype), layer="features")
        assert got.tolist() == [[[4.5, 9.5]]]


# ---------------------------------------------------------------- oracle


def resnet18() -> nn.Module:
    import xblcore._torchvision  # noqa: F401  declares what a CPU build of PyTorch lacks

    models = pytest.importorskip("torchvision.models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.resnet18(weights=None, num_classes=5).eval()


def split_net_images() -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=toys.seeded())


def resnet_images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=toys.seeded())


ARCHITECTURES = {
    "FC head": (toys.fc_net, split_net_images, "features"),
    "FC head, inner layer": (toys.fc_net, split_net_images, "features.0"),
    "GAP head, batch norm": (toys.gap_net, split_net_images, "features"),
    "ResNet-18, layer4": (resnet18, resnet_images, "layer4"),
    "ResNet-18, bn1": (resnet18, resnet_images, "bn1"),  # an in-place ReLU follows
    "ResNet-18, inside a block": (resnet18, resnet_images, "layer2.1.conv2"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_captum_agrees(name):
    attr = pytest.importorskip("captum.attr")
    net, make_images, layer = ARCHITECTURES[name]
    model, images = net().eval(), make_images()
    target = torch.arange(len(images)) % 3
    module = model.get_submodule(layer)
    grad_cam = attr.LayerGradCam(model, module).attribute(images, target, relu_attributions=True)
    parts = attr.LayerGradientXActivation(model, module).attribute(images, target)
    oracles = {"grad_cam": grad_cam.detach()[:, 0], "hires_cam": parts.detach().sum(1).relu()}
    for method, oracle in oracles.items():
        got = cam.explain(model, images, target, layer=layer, method=method)
        scale = oracle.max()  # small in the first layers of a network with random weights
        assert scale > 0
        torch.testing.assert_close(got / scale, oracle / scale, atol=1e-6, rtol=0)


@pytest.mark.parametrize("layer", ["features.0", "features.3"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_in_place_relus_behind_the_layer_change_nothing(layer, create_graph):
    """Neither the map nor, in training, what it teaches the weights."""
    results = []
    for inplace in (False, True):
        model = toys.fc_net(inplace)
        maps = cam.explain(
            model,
            split_net_images(),
            layer=layer,
            method="hires_cam",
            score="log_prob",
            create_graph=create_graph,
        )
        gradients = ()
        if create_graph:
            gradients = torch.autograd.grad(maps.square().sum(), model.features[0].weight)
        results.append((maps.detach(), *gradients))
    for plain, inplace in zip(*results, strict=True):
        assert plain.abs().max() > 0
        assert torch.equal(plain, inplace)


# ---------------------------------------------------------------- graphs


def test_a_training_map_reaches_the_trunk_and_the_head():
    model = toys.fc_net()
    maps = cam.explain(model, split_net_images(), layer="features", create_graph=True)
    maps.sum().backward()
    for layer in (model.features[0], model.features[3], model.head[2], model.head[4]):
        assert layer.weight.grad.abs().max() > 0


def test_a_frozen_trunk_leaves_the_head_trainable_by_its_map():
    model = toys.fc_net()
    model.features.requires_grad_(False)
    maps = cam.explain(model, split_net_images(), layer="features", create_graph=True)
    maps.sum().backward()
    assert model.head[2].weight.grad.abs().max() > 0
    assert model.features[0].weight.grad is None


@pytest.mark.parametrize("grad_mode", [True, False])
def test_explaining_builds_no_graph_in_the_trunk_and_returns_a_detached_map(grad_mode):
    model, outputs = toys.fc_net(), []
    model.features[2].register_forward_hook(lambda _m, _i, output: outputs.append(output))
    with torch.set_grad_enabled(grad_mode):
        maps = cam.explain(model, split_net_images(), layer="features")
    (below,) = outputs
    assert not below.requires_grad
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_training_map_is_possible_where_gradients_are_off():
    with torch.no_grad():
        maps = cam.explain(toys.fc_net(), split_net_images(), layer="features", create_graph=True)
        assert not torch.is_grad_enabled()
    assert maps.requires_grad


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("score", ["logit", "log_prob", "projection"])
def test_one_forward_pass(create_graph, score):
    model, calls = toys.gap_net(), []
    for module in model.modules():
        module.register_forward_pre_hook(lambda module, _inputs: calls.append(module))
    cam.explain(
        model,
        split_net_images(),
        layer="features",
        score=score,
        create_graph=create_graph,
        generator=toys.seeded(),
    )
    assert len(calls) == len(set(calls)) == len(list(model.modules()))


# ---------------------------------------------------------------- everything is put back


class Fails(nn.Module):
    def forward(self, features):
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_hooks_modes_and_grad_mode_are_restored(fails, create_graph, grad_mode):
    """Also of a module frozen in eval mode by itself, and also after an error in the head."""
    model = toys.gap_net()
    if fails:
        model.head = Fails()
    model.train()
    model.features[1].eval()
    before = toys.state_of(model)
    with torch.set_grad_enabled(grad_mode):
        expected = pytest.raises(RuntimeError, match="^out of memory$")
        with expected if fails else contextlib.nullcontext():
            cam.explain(model, split_net_images(), layer="features", create_graph=create_graph)
        assert torch.is_grad_enabled() == grad_mode
    assert toys.state_of(model) == before


def test_explaining_leaves_batch_statistics_and_training_takes_them():
    """Without a graph the model is explained as it predicts; with one, as it trains."""
    model = toys.gap_net().train()
    norm, images = model.features[1], split_net_images()
    before = copy.deepcopy(norm.state_dict())
    trained = cam.explain(copy.deepcopy(model).eval(), images, layer="features")
    assert torch.equal(cam.explain(model, images, layer="features"), trained)
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())
    cam.explain(model, images, layer="features", create_graph=True)
    assert norm.num_batches_tracked == before["num_batches_tracked"] + 1


def test_a_layer_may_be_given_itself():
    model = toys.fc_net()
    by_name = cam.explain(model, split_net_images(), layer="features.3")
    assert torch.equal(cam.explain(model, split_net_images(), layer=model.features[3]), by_name)


# ---------------------------------------------------------------- rejections


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.rand(1, 8, 8),
            r"images must be \(N, C, H, W\), got shape \(1, 8, 8\); one image is",
        ),
        (torch.rand(2, 1, 8, 8).numpy(), "images must be a tensor, got ndarray; pass torch.as_te"),
    ],
)
def test_rejected_images(images, message):
    with pytest.raises(ValueError, match=message):
        cam.explain(toys.gap_net(), images, layer="features")


class Pair(nn.Module):
    def forward(self, images):
        return images, images


class First(nn.Module):
    def forward(self, pair):
        return pair[0].flatten(1)


def idle_net() -> SplitNet:
    model = toys.fc_net()
    model.add_module("idle", nn.Conv2d(3, 3, 1))
    return model


IMAGES = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: cam.explain(toys.hand_net(), toys.HAND_IMAGE, layer="featurs"),
            r"layer must be a module of the model, got 'featurs'; there are: features, head, ",
        ),
        (
            lambda: cam.explain(toys.hand_net(), toys.HAND_IMAGE, layer=nn.ReLU()),
            r"layer must be a module of the model, got 'ReLU'; there are: features",
        ),
        (
            lambda: cam.explain(idle_net(), IMAGES, layer="idle"),
            r"layer must take part in the forward pass, got 'idle', which did not run",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, layer="head.2"),
            r"features must be \(N, K, h, w\), got shape \(2, 6\); name a layer whose output",
        ),
        (
            lambda: cam.explain(nn.Sequential(Pair(), First()), IMAGES, layer="0"),
            r"layer must return one tensor, got tuple from '0'",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, layer="features", method="cam"),
            r"method must be one of grad_cam, hires_cam, got 'cam'",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, layer="features", score="logits"),
            r"kind must be 'logit', 'log_prob' or 'projection', got 'logits'",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, layer="features", score="projection"),
            r"generator must be a torch.Generator for kind='projection', got None; pass",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, torch.tensor([0, 3]), layer="features"),
            r"target must be a class in \[0, 3\), got 3",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, torch.tensor([-1, 0]), layer="features"),
            r"target must be a class in \[0, 3\), got -1",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, torch.tensor([0.0, 1.0]), layer="features"),
            r"target must hold integer classes, got torch.float32",
        ),
        (
            lambda: cam.explain(toys.fc_net(), IMAGES, torch.tensor([0]), layer="features"),
            r"target must have shape \(2,\) like the logits, got \(1,\)",
        ),
        (
            lambda: cam.class_scores(torch.zeros(2, 3), None),
            r"target must have shape \(2,\) like the logits, got None",
        ),
        (
            lambda: cam.class_scores(torch.zeros(3), torch.tensor([0])),
            r"logits must be \(N, C\), got shape \(3,\)",
        ),
        (
            lambda: cam.grad_cam(torch.zeros(2, 1, 1, 1), torch.zeros(3)),
            r"scores must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: cam.hires_cam(torch.zeros(2, 1, 1, 1), torch.zeros(2)),
            r"scores must be differentiable with respect to features, got tensors without a graph",
        ),
        (
            lambda: cam.grad_cam(
                torch.zeros(2, 1, 1, 1, requires_grad=True), torch.zeros(2, requires_grad=True)
            ),
            r"scores must depend on features, got scores of another graph",
        ),
    ],
)
def test_rejections(make, message):
    with pytest.raises(ValueError, match=message):
        make()
