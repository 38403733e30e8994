"""The networks of the study: shapes, explained grid, seeds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xblcore.cam import explain, receptive_field
from xblcore.study import models
from xblcore.study.models import CellFlatten

# Cells per side of the explained layer and its receptive field in pixels, for images of 64 pixels.
# By hand: a 3x3 convolution adds 2 strides, a pooling 1; each stride-2 layer doubles the stride.
EXPECTED = {
    "small_cnn": (32, 3 + 1 + 4),
    "three_conv_cnn": (32, 3 + 1 + 4 + 4),
    "four_conv_cnn": (8, 3 + 1 + 4 + 2 + 8 + 4 + 16),
    "resnet8": (16, 3 + 2 + 2 + 2 + 4 + 4 + 8),
}


@pytest.mark.parametrize("name", models.MODELS)
def test_shapes_grid_and_receptive_field(name: str) -> None:
    model = models.build(name, channels=3, classes=5, size=64, seed=0).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (2, 5)
    torch.testing.assert_close(model.head(model.features(images)), logits)
    grid, extent = EXPECTED[name.removesuffix("_gap")]
    maps = explain(model, images, layer=model.cam_layer, method="hires_cam")
    assert maps.shape == (2, grid, grid)
    found = receptive_field(model, model.cam_layer, (3, 64, 64))
    assert (found.grid, found.extent) == ((grid, grid), extent)
    expected = nn.AdaptiveAvgPool2d if name.endswith("_gap") or name == "resnet8" else nn.MaxPool2d
    assert isinstance(model.head[0], expected)


def test_weights_depend_on_the_seed_only() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (
        models.build("resnet8", channels=1, classes=2, size=28, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is untouched
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.features[0].weight, other.features[0].weight)
    with pytest.raises(ValueError, match="network must be one of small_cnn, .*, got 'vgg'"):
        models.build("vgg", channels=1, classes=2, size=28, seed=0)


def test_cells_are_flattened_one_by_one() -> None:
    features = torch.arange(12.0).view(1, 3, 2, 2)  # channel k of cell c has the value 4 k + c
    expected = [[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
    assert CellFlatten()(features).tolist() == expected
