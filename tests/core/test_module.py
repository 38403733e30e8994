"""XBLDLoss in training: ramp, state, evaluation, margins; maps of data sets; threads."""

from __future__ import annotations

import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import xblcore
from tests.core import toys
from xblcore import XBLDLoss, cam, explaining, losses, metrics
from xblcore.distance import to_grid
from xblcore.module import narrowed_field

IMAGES, LABELS = toys.images(4), torch.tensor([0, 1, 2, 0])
OBJECT = torch.zeros(4, 8, 8, dtype=torch.bool)
OBJECT[:, 2:4, 2:4] = True


def loss_of(model: nn.Module | None = None, **options) -> XBLDLoss:
    options = {"weight": 2.0, "ramp_steps": 0} | options
    return XBLDLoss(model or toys.fc_net(), layer="features", **options)


def test_ramp_and_every_scale_the_penalty_of_the_same_signs() -> None:
    plain, ramped = loss_of(), loss_of(ramp_steps=4)
    values = [
        [loss(IMAGES, LABELS, OBJECT)[1].item() for _ in range(6)] for loss in (plain, ramped)
    ]
    expected = [
        value * share for value, share in zip(values[0], (0.25, 0.5, 0.75, 1, 1, 1), strict=True)
    ]
    assert values[1] == pytest.approx(expected)
    lazy = loss_of(every=3)
    found = [lazy(IMAGES, LABELS, OBJECT)[1].item() for _ in range(6)]
    assert found == pytest.approx([3 * values[0][0], 0, 0, 3 * values[0][1], 0, 0])


def test_a_saved_state_continues_with_the_same_step_and_signs() -> None:
    loss, other = loss_of(ramp_steps=50), loss_of(ramp_steps=50, seed=9)
    for _ in range(3):
        loss(IMAGES, LABELS, OBJECT)
    other.load_state_dict(loss.state_dict())
    one, two = (each(IMAGES, LABELS, OBJECT)[1] for each in (loss, other))
    assert one == two > 0
    assert loss.step == other.step == 4


def test_the_model_is_not_a_part_of_the_loss() -> None:
    loss = loss_of()
    assert list(loss.parameters()) == []
    assert [*loss.state_dict()] == ["_extra_state"]


@pytest.mark.parametrize("which", ["model", "loss"])
def test_in_eval_mode_the_penalty_is_full_and_repeatable(which: str) -> None:
    model = toys.gap_net()
    loss = loss_of(model, ramp_steps=10**6, every=7)
    (model if which == "model" else loss).eval()
    model.features[1].eval(), model.features[4].eval()
    with torch.no_grad():
        first, again = (loss(IMAGES, LABELS, OBJECT) for _ in range(2))
    assert first[1] == again[1] > 1e-3
    assert not first[0].requires_grad
    assert not first[1].requires_grad
    assert loss.step == 0


def test_a_model_in_eval_mode_can_be_trained_with_new_signs() -> None:
    """As with frozen batch norm: fixed signs would never penalise some images of three classes."""
    model = toys.gap_net()
    loss = loss_of(model)
    model.eval()
    values = {loss(IMAGES[:1], LABELS[:1], OBJECT[:1])[1].item() for _ in range(20)}
    assert len(values) > 2
    assert loss.step == 0


@pytest.mark.parametrize("head", [None, "softmax"])
def test_two_classes_have_the_mean_penalty_over_all_signs_in_every_step(head) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    loss = XBLDLoss(model, layer="1", weight=1.0, ramp_steps=0, head=head)
    found = {loss(IMAGES[:1], LABELS[:1], OBJECT[:1])[1].item() for _ in range(5)}
    cells = loss_cells((6, 6))
    with cam.capture(model, "1") as captured:
        logits = model(IMAGES[:1])
    by_signs = []
    for signs in ([1, 1], [1, -1], [-1, 1], [-1, -1]):
        centred = logits - logits.mean(1, keepdim=True)
        score = (torch.tensor(signs) * centred).sum(1)
        signed = cam.hires_cam(captured.output(), score, create_graph=True)
        by_signs.append((signed.abs() * cells).sum().item())
    assert [*found] == [pytest.approx(sum(by_signs) / 4)]


def test_a_trained_network_is_measured_on_its_own_images() -> None:
    """Random images may excite no cell of it."""
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    nn.init.constant_(model[0].weight, 1.0)
    nn.init.constant_(model[0].bias, -1e4)
    with pytest.raises(ValueError, match="layer must respond to random images, got no gradient"):
        XBLDLoss(model, layer="1", weight=1.0)(IMAGES, LABELS % 2, None, OBJECT)
    _, penalty = XBLDLoss(model, layer="1", weight=1.0)(1e4 * IMAGES, LABELS % 2, None, OBJECT)
    assert penalty > 0


def loss_cells(grid: tuple[int, int]) -> Tensor:
    """Distance map of the first image on a grid."""
    return toys.to_distance(torch.from_numpy(to_grid(OBJECT[:1].numpy(), grid)))


class Transposed(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)


def test_a_class_token_is_reported_once() -> None:
    model = toys.torchvision_models().VisionTransformer(
        image_size=8, patch_size=2, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8,
        num_classes=2,
    )  # fmt: skip
    nn.init.normal_(model.heads.head.weight)
    loss = XBLDLoss(model, layer="encoder.layers.encoder_layer_1.ln_1", weight=1.0)
    with pytest.warns(UserWarning, match="class token, which can carry a shortcut"):
        loss(IMAGES, LABELS % 2, OBJECT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(IMAGES, LABELS % 2, OBJECT)
        patches = nn.Sequential(nn.Conv2d(3, 6, 2, 2), nn.Flatten(2), Transposed(), nn.Flatten(),
                                nn.Linear(96, 2))  # fmt: skip
        patches.cls_token, patches.num_prefix_tokens = None, 0  # as timm's models without one
        XBLDLoss(patches, layer="2", weight=1.0)(IMAGES, LABELS % 2, OBJECT)


def test_the_suggested_weight_depends_on_the_head_and_not_on_the_form_of_the_labels() -> None:
    loss = loss_of(head="softmax")
    expected = loss.suggest_weight(IMAGES, LABELS, OBJECT)
    one_hot = functional.one_hot(LABELS, 3).float()
    assert loss.suggest_weight(IMAGES, one_hot, OBJECT) == pytest.approx(expected)
    assert loss.training


@pytest.mark.parametrize(
    "masks", [(), (None, None), (OBJECT & False,), (OBJECT.float() * 0, OBJECT & False)]
)
def test_without_annotations_penalty_and_gradient_are_zero(masks: tuple) -> None:
    model = toys.fc_net()
    _, penalty = loss_of(model)(IMAGES, LABELS, *masks)
    penalty.backward()
    assert penalty == 0
    assert all((one.grad is None) or (one.grad == 0).all() for one in model.parameters())


def test_an_empty_batch() -> None:
    logits, penalty = loss_of()(IMAGES[:0], LABELS[:0], OBJECT[:0])
    assert logits.shape == (0, 3)
    assert penalty == 0
    assert cam.explain(toys.fc_net(), IMAGES[:0], layer="features").shape == (0, 4, 4)


def test_wrong_regions_are_widened_by_the_receptive_field_of_each_size() -> None:
    """The layer sees 5 pixels beyond its cell; at most a quarter of the image counts."""
    model = toys.gap_net()
    for side in (16, 32, 64):
        loss = loss_of(model)
        images, wrong = torch.rand(2, 3, side, side), torch.zeros(2, side, side)
        wrong[:, 0, 0] = 1
        loss(images, LABELS[:2], None, wrong)
        full = cam.receptive_field(model, "features", (3, side, side)).margin
        assert [*loss._margins.values()] == [full]
        given = loss_of(model, margin=full)
        loss.step = given.step = 0
        torch.testing.assert_close(
            *(one.eval()(images, LABELS[:2], None, wrong)[1] for one in (loss, given))
        )


def test_the_margin_is_at_most_a_quarter_of_the_image() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.Flatten(), nn.LazyLinear(3)
    )
    model(IMAGES)
    loss = XBLDLoss(model, layer="1", weight=1.0)
    loss(IMAGES, LABELS, None, OBJECT)
    assert max(loss._margins.values()) <= 2
    again = XBLDLoss(model, layer="1", weight=1.0)  # measured once, also if training is resumed
    again.load_state_dict(loss.state_dict())
    assert again._margins == loss._margins
    deep = nn.Sequential(*(nn.Conv2d(1, 1, 5, padding=2) for _ in range(8)))
    assert cam.receptive_field(deep, "7", (1, 32, 32)).margin == 16
    assert narrowed_field(deep, "7", (1, 32, 32)).margin <= 8


def test_the_suggested_weight_balances_the_norms_of_the_gradients() -> None:
    model = toys.fc_net()
    loss = loss_of(model, weight=123.0, ramp_steps=40)
    weight = loss.suggest_weight(IMAGES, LABELS, OBJECT)
    assert loss.step == 0
    assert loss.weight == 123.0
    logits, penalty = loss_of(model, weight=weight).eval()(IMAGES, LABELS, OBJECT)
    norms = []
    for value in (functional.cross_entropy(logits, LABELS), penalty):
        model.zero_grad()
        value.backward(retain_graph=True)
        slopes = [one.grad.flatten() for one in model.parameters() if one.grad is not None]
        norms.append(torch.cat(slopes).norm())
    torch.testing.assert_close(*norms)


@pytest.mark.parametrize("margin", [0.0, 40.0, 80.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_prob_of_a_confident_prediction(margin: float, dtype: torch.dtype) -> None:
    """``d log p_t / dz = 1 - p_t = 1 / (1 + exp(margin))``; computed as 1 - p it would be 0."""
    logits = torch.tensor([[margin, 0.0]], dtype=dtype, requires_grad=True)
    score = cam.class_scores(logits, 0, kind="log_prob")
    (gradient,) = torch.autograd.grad(score.sum(), logits)
    share = 1 / (1 + np.exp(margin))
    torch.testing.assert_close(
        gradient, torch.tensor([[share, -share]], dtype=dtype), rtol=1e-5, atol=0
    )


def test_the_energy_of_a_confident_prediction() -> None:
    """All attribution is on the object, although the margin of the logits is 40."""
    model = toys.hand_net()
    with torch.no_grad():
        model.head[1].weight.copy_(torch.tensor([[40.0, 0, 0, 0], [0, 0, 0, 0]]))
        model.head[1].bias.zero_()
    for kind in ("log_prob", "logit"):
        maps = cam.explain(model, toys.HAND_IMAGE, layer="features", score=kind)
        assert losses.energy(maps, torch.tensor([[[True, False]]])).item() == 0


@pytest.mark.parametrize(
    ("kind", "head", "expected"),
    [
        ("logit", None, [-1.5, 1.5]),
        ("log_prob", None, [-np.log1p(np.exp(1.5)), -np.log1p(np.exp(-1.5))]),
        ("projection", "sigmoid", [1.5, 1.5]),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_single_logits_by_hand(kind, head, expected: list, shape: tuple) -> None:
    """A logit of 1.5 for both classes; a projection up to its sign."""
    logits = torch.full(shape, 1.5, dtype=torch.float64)
    found = cam.class_scores(
        logits, torch.tensor([0, 1]), kind=kind, head=head, generator=toys.seeded()
    )
    found = found.abs() if kind == "projection" else found
    assert found.tolist() == pytest.approx(expected)


def test_the_scores_of_a_sigmoid_head_by_hand() -> None:
    """``log sigmoid z_t``; the projection keeps the mean, so ``sum_c z_c`` up to signs."""
    logits = torch.tensor([[1.0, 4.0]], dtype=torch.float64)
    score = cam.class_scores(logits, 1, kind="log_prob", head="sigmoid")
    assert score.item() == pytest.approx(-np.log1p(np.exp(-4)))
    options = {"kind": "projection", "head": "sigmoid"}
    found = {
        cam.class_scores(logits, None, generator=toys.seeded(n), **options).abs().item()
        for n in range(20)
    }
    assert found == {3.0, 5.0}


class Stream(IterableDataset):
    def __iter__(self):
        return iter([IMAGES])


def test_maps_of_batches() -> None:
    model = toys.fc_net()
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=3)
    found = list(
        explaining.explain_batches(
            model, loader, layer="features", methods=("grad_cam", "hires_cam"), upsample=True
        )
    )
    for method in cam.CAM_METHODS:
        maps = cam.explain(model, IMAGES, layer="features", method=method)
        expected = explaining.enlarged(maps, (8, 8))
        torch.testing.assert_close(torch.cat([one[method] for one in found]), expected)
    torch.testing.assert_close(torch.cat([one["logits"] for one in found]), model(IMAGES).detach())
    stream = DataLoader(Stream(), batch_size=None)  # whose length is unknown
    fixed = explaining.explain_batches(model, stream, layer="features", target=2)
    torch.testing.assert_close(
        next(fixed)["hires_cam"], cam.explain(model, IMAGES, 2, layer="features")
    )


def test_overlays_and_files(tmp_path) -> None:
    """No heat keeps the grey image, full heat is white; a third of it is red."""
    pixels = explaining.overlay(
        torch.full((1, 1, 1, 3), 0.5), torch.tensor([[[0.0, 1.0, 3.0]]]), strength=1
    )
    expected = torch.tensor([[0.5, 1 / 3 + 1 / 3, 1], [0.5, 1 / 3, 1], [0.5, 1 / 3, 1]])
    torch.testing.assert_close(pixels[0, :, 0], expected)
    explaining.save(tmp_path / "maps.npy", pixels)
    assert np.load(tmp_path / "maps.npy").shape == (1, 3, 1, 3)
    image = pytest.importorskip("PIL.Image")
    explaining.save(tmp_path / "map.png", pixels[0])
    with image.open(tmp_path / "map.png") as read:
        assert np.array(read)[0].tolist() == [[128, 128, 128], [170, 85, 85], [255, 255, 255]]


def test_threads_that_explain_one_model_do_not_mix_their_features() -> None:
    """Both wait for each other inside of the network, which is in training mode."""
    model = toys.gap_net().train()
    barrier = threading.Barrier(2, timeout=60)
    waiting = model.features.register_forward_hook(lambda *_: (barrier.wait(), None)[1])
    found: dict[int, Tensor] = {}

    def run(number: int) -> None:
        found[number] = cam.explain(model, IMAGES[number : number + 2], layer="features.3")

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting.remove()
    expected = cam.explain(model, IMAGES, layer="features.3")
    torch.testing.assert_close(torch.cat([found[0], found[2]]), expected)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", metrics.METRICS)
def test_an_average_is_the_mean_over_batches(name: str) -> None:
    generator, average = toys.seeded(), metrics.Average(name)
    metric, batches = metrics.METRICS[name], []
    for count in (3, 5, 1):
        region = torch.rand(count, 3, 3, generator=generator) < 0.4
        region[0] = False
        maps = torch.rand(count, 3, 3, generator=generator) - 0.3
        logits = torch.randn(count, 3, generator=generator)
        values = {"cam": maps.relu(), "object_mask": region, "decoy_mask": region, "logits": logits,
                  "distance": torch.where(region.any(2, True).any(1, True), maps.relu(), torch.nan),
                  "swapped_logits": logits.roll(1, 1), "labels": torch.zeros(count)}  # fmt: skip
        arguments = [values[need] for need in metric.needs]
        average.update(*arguments)
        batches.append(metric.function(*arguments))
    together = torch.cat(batches)
    torch.testing.assert_close(average.compute(), together.nanmean())
    assert average.undefined == pytest.approx(together.isnan().float().mean().item())
    assert average.higher_is_better == metric.higher_is_better
    average.reset()
    assert average.compute().isnan()
    torch.testing.assert_close(average(*arguments), batches[-1].nanmean(), equal_nan=True)


def test_the_package_imports_its_parts_when_they_are_used() -> None:
    assert set(xblcore.__all__) < set(dir(xblcore))
    assert all(getattr(xblcore, name) for name in xblcore.__all__)
    assert sys.modules["xblcore.cam"] is xblcore.cam
    with pytest.raises(AttributeError, match="has no attribute 'grad'"):
        xblcore.grad  # noqa: B018
