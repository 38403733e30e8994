"""CAMs: values by hand, captum as an oracle, one forward pass, and no side effects."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import math
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.core import toys
from xblcore import cam


def test_scores_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])
    target = torch.tensor([0, 1])
    torch.testing.assert_close(cam.class_scores(logits, target), torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(
        cam.class_scores(logits, target, kind="log_prob"),
        torch.tensor([math.log(1 / 4), math.log(1 / 2)]),
    )


def test_a_projection_draws_every_sign_pattern_equally_often() -> None:
    """Its expected square is then the sum of the squares of all classes (Hutchinson)."""
    row = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)  # mean 3
    scores = cam.class_scores(row.expand(8000, 3), None, kind="projection", generator=toys.seeded())
    by_hand = sorted(-2 * a - 1 * b + 3 * c for a, b, c in itertools.product((-1, 1), repeat=3))
    values, counts = scores.unique(return_counts=True)
    assert values.tolist() == sorted(set(by_hand))
    expected = torch.tensor([by_hand.count(v) * 1000 for v in values.tolist()])
    assert ((counts - expected).abs() < 4 * expected.sqrt()).all()
    assert scores.square().mean().item() == pytest.approx(4 + 1 + 9, rel=0.05)


@pytest.mark.parametrize(
    ("method", "score", "target", "expected"),
    [
        # G_0 = ([2, 0], [0, -1]) and G_1 = ([0, 1], [4, 0]); A = ([1, 3], [2, 4])
        ("grad_cam", "logit", 0, [0, 1]),  # 1 [1, 3] - 1/2 [2, 4]
        ("grad_cam", "logit", 1, [4.5, 9.5]),  # 1/2 [1, 3] + 2 [2, 4]
        ("hires_cam", "logit", 0, [2, 0]),  # relu([2, 0] + [0, -4])
        ("hires_cam", "logit", 1, [8, 3]),
        # both logits are 11, so d log p_t / dA = (G_t - G_other) / 2
        ("grad_cam", "log_prob", 0, [2.25, 4.25]),
        ("grad_cam", "log_prob", 1, [2.25, 4.25]),
        ("hires_cam", "log_prob", 0, [3, 3.5]),
        ("hires_cam", "log_prob", 1, [3, 3.5]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_maps_by_hand(method: str, score: str, target: int, expected: list, dtype) -> None:
    found = cam.explain(
        toys.hand_net(), toys.HAND_IMAGE, torch.tensor([target], dtype=dtype),
        layer="features", method=method, score=score,
    )  # fmt: skip
    torch.testing.assert_close(found, torch.tensor([[expected]], dtype=torch.float32))


@pytest.mark.parametrize(
    ("method", "difference"), [("grad_cam", [4.5, 8.5]), ("hires_cam", [6, 7])]
)
def test_a_projection_map_by_hand(method: str, difference: list[float]) -> None:
    """With two classes, equal signs give zero and unequal signs the difference of both maps."""
    maps = cam.explain(
        toys.hand_net(), toys.HAND_IMAGE.expand(400, 1, 1, 2),
        layer="features", method=method, score="projection", generator=toys.seeded(),
    )  # fmt: skip
    unequal = maps.sum((1, 2)) > 0
    expected = torch.tensor([[difference]]).float().expand(int(unequal.sum()), 1, 2)
    torch.testing.assert_close(maps[unequal], expected)
    assert (maps[~unequal] == 0).all()
    assert 160 < unequal.sum() < 240  # 4 standard deviations


def test_several_maps_from_one_forward_pass() -> None:
    """Of both methods and all classes, differentiable or not, in any order."""
    model, images = toys.fc_net(), toys.images()
    with cam.capture(model, "features") as captured:
        logits = model(images)
    for _ in range(2):
        for method, target in itertools.product(cam.CAM_METHODS, range(3)):
            labels = torch.full((4,), target)
            scores = cam.class_scores(logits, labels)
            for create_graph in (True, False):
                function = cam.CAM_METHODS[method]
                signed = function(captured.output(), scores, create_graph=create_graph)
                assert signed.requires_grad == create_graph
                alone = cam.explain(model, images, labels, layer="features", method=method)
                torch.testing.assert_close(signed.detach().relu(), alone)


def of_features(method: str, order: cam.Order):
    """The map as a function of the features and of the weights of a smooth head."""

    def function(features: Tensor, first: Tensor, second: Tensor) -> Tensor:
        scores = (features.flatten(1) @ first).tanh() @ second
        return cam.CAM_METHODS[method](features, scores, create_graph=True, order=order)

    return function


def smooth_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = toys.seeded()
    shapes = ((2, 3, 2, 2), (12, 4), (4,))
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    )


@pytest.mark.parametrize("method", cam.CAM_METHODS)
def test_maps_of_first_order_treat_the_gradient_as_a_constant(method: str) -> None:
    """The same values; the derivative of ``sum M c`` by A is then c times G or its mean."""
    features, first, second = inputs = smooth_inputs()
    exact, constant = of_features(method, 2)(*inputs), of_features(method, 1)(*inputs)
    assert torch.equal(exact, constant)
    weights = torch.randn(constant.shape, generator=toys.seeded(1), dtype=torch.float64)
    found = torch.autograd.grad((constant * weights).sum(), inputs, allow_unused=True)
    hidden = (features.flatten(1) @ first).tanh()
    g = ((1 - hidden**2) * second @ first.T).view_as(features)  # G by hand
    if method == "grad_cam":
        g = g.mean((2, 3), keepdim=True)
    torch.testing.assert_close(found[0], g.detach() * weights[:, None])
    assert found[1] is found[2] is None


def test_the_head_of_a_frozen_trunk_can_be_trained_through_its_map() -> None:
    model = toys.fc_net()
    model.features.requires_grad_(False)
    cam.explain(model, toys.images(), layer="features", create_graph=True).sum().backward()
    assert model.head[2].weight.grad.abs().max() > 0
    assert model.features[0].weight.grad is None


@pytest.mark.parametrize("grad_mode", [True, False])
def test_explaining_builds_no_graph_in_the_trunk_and_returns_a_detached_map(grad_mode) -> None:
    model, outputs = toys.fc_net(), []
    model.features[2].register_forward_hook(lambda _m, _i, output: outputs.append(output))
    with torch.set_grad_enabled(grad_mode):
        maps = cam.explain(model, toys.images(), layer="features")
    assert not outputs[0].requires_grad
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("score", ["logit", "projection"])
def test_one_forward_pass(create_graph: bool, score: str) -> None:
    model, calls = toys.gap_net(), []
    for module in model.modules():
        module.register_forward_pre_hook(lambda module, _inputs: calls.append(module))
    cam.explain(
        model, toys.images(), layer="features", score=score, create_graph=create_graph,
        generator=toys.seeded(),
    )  # fmt: skip
    assert len(calls) == len(set(calls)) == len(list(model.modules()))


class Fails(nn.Module):
    def forward(self, _features):
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("grad_mode", [True, False])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_hooks_modes_and_grad_mode_are_restored(fails, create_graph, grad_mode) -> None:
    """Also after an error in the head, and for a module that was frozen in eval mode."""
    model = toys.gap_net()
    if fails:
        model.head = Fails()
    model.train()
    model.features[1].eval()
    before = toys.state_of(model)
    with torch.set_grad_enabled(grad_mode):
        expected = pytest.raises(RuntimeError, match="^out of memory$")
        with expected if fails else contextlib.nullcontext():
            maps = cam.explain(model, toys.images(), layer="features", create_graph=create_graph)
            assert maps.requires_grad == create_graph
        assert torch.is_grad_enabled() == grad_mode
    assert toys.state_of(model) == before


def test_explaining_uses_running_statistics_and_training_updates_them() -> None:
    model = toys.gap_net().train()
    norm, images = model.features[1], toys.images()
    before = copy.deepcopy(norm.state_dict())
    trained = cam.explain(copy.deepcopy(model).eval(), images, layer="features")
    assert torch.equal(cam.explain(model, images, layer="features"), trained)
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())
    cam.explain(model, images, layer="features", create_graph=True)
    assert norm.num_batches_tracked == before["num_batches_tracked"] + 1


@pytest.mark.parametrize("create_graph", [False, True])
def test_explaining_keeps_no_memory(create_graph: bool) -> None:
    model, images = toys.fc_net(), toys.images()
    maps = cam.explain(model, images, layer="features", create_graph=create_graph)
    alive = weakref.ref(maps), weakref.ref(images)
    del maps, images
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_features_overwritten_in_place_are_an_error_without_a_copy() -> None:
    model = toys.fc_net(inplace=True)
    before = toys.state_of(model)
    message = "features must not be overwritten, got an in-place operation .* 'features'; set inpl"
    with pytest.raises(ValueError, match=message), cam.capture(model, "features", copy=False):
        model(toys.images())
    assert toys.state_of(model) == before


@pytest.mark.parametrize("trunk_graph", [True, False])
def test_leaf_features_are_never_overwritten(trunk_graph: bool) -> None:
    """Those of a frozen trunk, or without a graph."""
    model = toys.fc_net(inplace=True)
    model.features.requires_grad_(not trunk_graph)
    with cam.capture(model, "features", trunk_graph=trunk_graph, copy=False) as captured:
        logits = model(toys.images())
    assert captured.output().is_leaf
    assert (captured.output() < 0).any()
    torch.testing.assert_close(logits, model(toys.images()))


def test_the_last_forward_pass_is_captured() -> None:
    model = toys.fc_net()
    with cam.capture(model, model.features) as captured:
        model(toys.images())
        model(toys.images(2))
    assert captured.output().shape == (2, 5, 4, 4)
    assert toys.state_of(model) == toys.state_of(toys.fc_net())


@pytest.mark.parametrize("order", [1, 2])
def test_the_first_order_keeps_fused_attention(order: cam.Order) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    with cam.capture(model, "0", order=order):
        assert torch.backends.cuda.flash_sdp_enabled()  # before the layer
        model(torch.ones(1, 1, 3, 3))
        assert torch.backends.cuda.flash_sdp_enabled() is (order == 1)
        assert torch.backends.cuda.math_sdp_enabled()


def test_nested_captures_restore_the_kernels_of_attention() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh())
    with cam.capture(model, "1"), cam.capture(model, "0"):  # the inner one runs first
        model(torch.ones(1, 1, 3, 3))
    enabled = (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled())
    assert enabled == (True, True)


class Merging(nn.Linear):
    """Does more than to set the mode, as LoRA does, which merges weights in eval mode."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.merged = False

    def train(self, mode: bool = True) -> Merging:
        self.merged = not mode
        return super().train(mode)


def test_modules_that_act_when_the_mode_changes_are_restored() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), Merging(), nn.Dropout(), Merging())
    model[3:].eval()
    cam.explain(model, torch.rand(1, 1, 3, 3), layer="0")
    assert [model[n].merged for n in (2, 4)] == [False, True]
    assert [module.training for module in model] == [True, True, True, False, False]


class Skip(nn.Module):
    """A layer that does nothing, with a skip connection around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.nothing, self.head = nn.Conv2d(1, 2, 3), nn.Identity(), nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.first(images)
        return self.head((features.square() + 3 * self.nothing(features)).flatten(1))


def test_a_layer_that_does_nothing_has_one_map() -> None:
    """Only what passes through the layer counts, with and without a graph."""
    model = Skip()
    images = torch.rand(2, 1, 4, 4, generator=toys.seeded())
    maps = [cam.explain(model, images, 1, layer="nothing", create_graph=graph)
            for graph in (False, True)]  # fmt: skip
    with torch.no_grad():
        features, weights = model.first(images), model.head.weight[1].view(2, 2, 2)
    expected = (3 * weights * features).sum(1).relu()
    for found in maps:
        torch.testing.assert_close(found.detach(), expected)


@pytest.mark.parametrize("order", [1, 2])
def test_tokens_inside_a_checkpointed_block_are_an_error(order: cam.Order) -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    model = nn.Sequential(nn.Flatten(2), block, nn.Flatten(), nn.Linear(16, 3))
    whole = block.forward
    block.forward = lambda tokens: checkpoint(whole, tokens, use_reentrant=False)

    def grid(tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(2, (2, 2))

    images = torch.rand(2, 4, 2, 2, requires_grad=True)
    with cam.capture(model, "1.0", order=order, reshape=grid) as captured:
        scores = model(images)[:, 0]
    with pytest.raises(ValueError, match="choose a layer outside of checkpointed blocks"):
        cam.hires_cam(captured.output(), scores, create_graph=True, order=order)
