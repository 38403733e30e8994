"""Scenes with a decoy beside or far, and evidence from networks, without training any."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from xblcore import metrics, models
from xblcore.workshop import course, gaming, hand_maps, small_scenes


def garments(count: int = 3) -> torch.Tensor:
    images = torch.zeros(count, 1, 28, 28)
    images[:, :, 4:24, 4:28] = 0.5  # to the right edge, so the decoy beside touches it
    return images


@pytest.mark.parametrize(("place", "nearest"), [("beside", 1.0), ("far", math.hypot(7, 6))])
def test_where_the_decoy_lies(place, nearest):
    scene = small_scenes.draw(garments(), torch.tensor([0, 5, 9]), place)
    cells = scene.distance[0] * math.hypot(14, 14)
    shown = cells[scene.decoy_mask[0]]
    assert scene.object_mask[0].sum() == 5 * 6  # rows 1 to 5, columns 1 to 6 of half the size
    assert shown.min().item() == pytest.approx(nearest)
    greys = scene.images[:, 0][:, small_scenes.patch_mask(place)].mul(255).round()
    assert greys[:, 0].tolist() == [255, 130, 30] and bool((greys == greys[:, :1]).all())


def test_without_a_decoy_there_is_none():
    scene = small_scenes.draw(garments(), torch.tensor([0, 5, 9]), "honest")
    assert not scene.decoy_mask.any() and scene.images.max() == 0.5
    with pytest.raises(ValueError, match="place must be one of beside, far, honest, got 'below'"):
        small_scenes.patch_mask("below")


def test_the_maps_by_hand_are_what_the_notebook_says():
    near, far = hand_maps.NEAR[None], hand_maps.FAR[None]
    inside, away = hand_maps.OBJECT[None], hand_maps.DISTANCE[None]
    assert near.sum() == far.sum() == 10
    for metric in (metrics.energy_pointing_game, metrics.pointing_game, metrics.iou):
        assert metric(near, inside) == metric(far, inside)
    assert away[0, 0].tolist() == [0, 1, 2, 3]
    assert metrics.distance_focus(near, away).item() == pytest.approx(1 - 0.2 / 3)
    assert metrics.distance_focus(far, away).item() == pytest.approx(0.8)
    with pytest.raises(ValueError, match="column must be 1, 2 or 3, got 0"):
        hand_maps.with_rest_at(0)


class Corner(nn.Module):
    """Answers by the brightness of the upper left corner, whatever else there is."""

    cam_layer = "features"

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = self.features(images)[:, 0, 0, 0]
        return torch.stack([corner, 0.5 - corner], 1)


def test_evidence_is_of_the_network_and_its_maps():
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    images[:, :, :4, :4] = 0.9
    decoy = torch.zeros(4, 14, 14, dtype=torch.bool)
    decoy[:, :2, :2] = True
    marked = small_scenes.Marked(
        images, torch.zeros(4).long(), ~decoy, decoy, torch.where(decoy, 0.2, 0.0)
    )
    maps = gaming.maps_of({"corner": Corner()}, marked, "hires_cam")
    assert gaming.mean_wrong(maps, marked)["corner"] == 0.25  # one of the decoy's four cells
    assert gaming.mean_focus(maps, marked)["corner"] == 0
    by = gaming.wrong_by_explainer({"corner": Corner()}, marked, ("hires_cam", "input_x_gradient"))
    assert list(by) == ["hires_cam", "input_x_gradient"]
    assert by["hires_cam"] == {"corner": 0.25}
    assert gaming.without_flips(gaming.Evidence(0.1, 0.0, 0.2, 0.5)).flip_rate is None


def test_a_network_agrees_with_itself():
    network = models.build("small_cnn", channels=1, classes=10, size=28, seed=0)
    splits = {"test_decoy": small_scenes.draw(garments(5), torch.arange(5), "far")}
    data = course.Data(splits, {}, course.Settings())
    assert gaming.agreement(network, network, data) == 1
