"""The study's networks: shapes, seeds, and a global generator left alone."""

from __future__ import annotations

import copy

import pytest
import torch
import toys

from xblcore import cam, models


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 10, 28), (3, 2, 32), (3, 5, 19)])
def test_every_network_is_its_head_on_its_features(name, channels, classes, size):
    model = models.build(name, channels=channels, classes=classes, size=size, seed=0)
    images = torch.rand(2, channels, size, size, generator=toys.seeded())
    features = model.features(images)
    assert features.ndim == 4
    assert models.grid_size(model, images) == features.shape[2:]
    assert model(images).shape == (2, classes)
    torch.testing.assert_close(model(images), model.head(features))
    assert model.get_submodule(model.cam_layer) is model.features


@pytest.mark.parametrize("name", models.MODELS)
def test_a_batch_gives_what_its_images_give_one_by_one(name):
    model = models.build(name, channels=3, classes=4, size=20, seed=0).eval()
    images = torch.rand(3, 3, 20, 20, generator=toys.seeded())
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), alone)
    assert not torch.allclose(alone[0], alone[1])


@pytest.mark.parametrize("name", models.MODELS)
def test_weights_come_from_the_seed_and_from_nothing_else(name):
    options = {"channels": 1, "classes": 3, "size": 16}
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat([w.flatten() for w in models.build(name, **options, seed=seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_asking_for_the_grid_changes_no_batch_statistics_and_no_mode():
    model = toys.gap_net().train()
    before = copy.deepcopy(model.state_dict())
    assert models.grid_size(model, torch.rand(5, 3, 8, 8)) == (3, 3)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet", 28, "model must be one of small_cnn.*, got 'resnet'"),
        ("small_cnn", 3, "size must be at least 4 pixels for small_cnn, got 3"),
        ("four_conv_cnn", 15, "size must be at least 16 pixels for four_conv_cnn, got 15"),
    ],
)
def test_rejections(name, size, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, channels=1, classes=2, size=size, seed=0)


@pytest.mark.parametrize("name", models.MODELS)
def test_the_smallest_images_still_pass(name):
    size = models.MODELS[name].smallest
    model = models.build(name, channels=1, classes=2, size=size, seed=0).eval()
    logits = model(torch.rand(2, 1, size, size, generator=toys.seeded()))
    assert logits.shape == (2, 2) and logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "share"), [("small_cnn", 2), ("three_conv_cnn", 2), ("four_conv_cnn", 8)]
)
def test_a_cam_has_the_stated_share_of_the_resolution(name, share):
    for own in (name, f"{name}_gap"):
        model = models.build(own, channels=3, classes=2, size=64, seed=0)
        assert models.grid_size(model, torch.zeros(1, 3, 64, 64)) == (64 // share, 64 // share)


@pytest.mark.parametrize("name", [name for name in models.MODELS if name.endswith("_gap")])
def test_under_global_average_pooling_grad_cam_is_hires_cam(name):
    model = models.build(name, channels=3, classes=4, size=32, seed=0).eval()
    images = torch.rand(2, 3, 32, 32, generator=toys.seeded())
    grad, hires = (
        cam.explain(model, images, layer="features", method=method)
        for method in ("grad_cam", "hires_cam")
    )
    torch.testing.assert_close(grad, hires)
    assert grad.any()


def test_an_own_network_is_taken_and_one_that_is_no_split_net_is_told(monkeypatch):
    class Own:
        smallest = 4

        def __init__(self, whole):
            self.whole = whole

        def make(self, channels, classes, size):
            head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(classes))
            net = models.SplitNet(torch.nn.Conv2d(channels, 2, 3), head)
            net(torch.zeros(1, channels, size, size))
            return net if self.whole else torch.nn.Sequential(head)

    monkeypatch.setitem(models.MODELS, "own", Own(whole=True))
    model = models.build("own", channels=1, classes=3, size=8, seed=0)
    assert models.grid_size(model, torch.zeros(1, 1, 8, 8)) == (6, 6)
    monkeypatch.setitem(models.MODELS, "own", Own(whole=False))
    with pytest.raises(ValueError, match="make of model 'own' must return a SplitNet, got Seq"):
        models.build("own", channels=1, classes=3, size=8, seed=0)


def test_a_grid_of_one_cell_is_refused():
    model = models.SplitNet(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(ValueError, match="must have more than one cell, got 1 x 1"):
        models.grid_size(model, torch.zeros(1, 1, 8, 8))
