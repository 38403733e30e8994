"""Receptive fields, against the closed form for stacks of convolutions and poolings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.core import toys
from xblcore.cam import ReceptiveField, receptive_field


def closed_form(network: nn.Sequential, size: tuple[int, int, int]) -> ReceptiveField:
    """Extent of the central cell and margin of all, axis by axis, clipped to the image.

    Cell ``i`` sees the pixels from ``i * jump + start``, ``extent`` of them (Araujo et al. 2019).
    """
    grid, extents, margins = [], [], []
    for axis, side in enumerate(size[1:]):
        cells, jump, start, extent = side, 1, 0, 1
        for layer in network:
            if not isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
                continue
            kernel, stride, padding, dilation = (
                value[axis] if isinstance(value, tuple) else value
                for value in (
                    layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1)
                )
            )  # fmt: skip
            reach = dilation * (kernel - 1)
            cells = (cells + 2 * padding - reach - 1) // stride + 1
            start, extent = start - padding * jump, extent + reach * jump
            jump *= stride
        grid.append(cells)
        for i in range(cells):
            first = max(0, i * jump + start)
            last = min(side, i * jump + start + extent)  # exclusive
            own = (i * side // cells, -(-(i + 1) * side // cells))
            margins.append(max(own[0] - first, last - own[1], 0))
            if i == cells // 2:
                extents.append(last - first)
    return ReceptiveField((grid[0], grid[1]), max(extents), max(margins))


STACKS = {
    "one convolution": ([nn.Conv2d(1, 2, 3, padding=1)], (1, 9, 9)),
    "convolution and pooling": (
        [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1)],
        (1, 20, 20),
    ),
    "stride": ([nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)], (3, 32, 24)),
    "dilation": (
        [nn.Conv2d(1, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(4, 2, 3, 1, 4, 4)],
        (1, 31, 31),
    ),
    "no padding": (
        [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU()],
        (1, 22, 22),
    ),
    "even and oblong kernels": ([nn.Conv2d(1, 2, (2, 6)), nn.AvgPool2d((1, 2))], (1, 15, 30)),
    "LeNet-5": (
        [
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ],
        (1, 32, 32),
    ),
    "odd side": ([nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)], (1, 33, 33)),
    "overlapping pooling": ([nn.Conv2d(1, 4, 3, 1, 1), nn.MaxPool2d(3, 2, 1)], (1, 16, 16)),
    "wider than the image": ([nn.Conv2d(1, 2, 9, padding=4)] * 1, (1, 5, 7)),
}


@pytest.mark.parametrize("name", STACKS)
def test_stacks_agree_with_the_closed_form(name: str) -> None:
    layers, size = STACKS[name]
    network = toys.randomised(nn.Sequential(*layers))
    expected = closed_form(network, size)
    assert receptive_field(network, str(len(layers) - 1), size) == expected


@pytest.mark.parametrize(
    ("share", "extent", "margin"), [(0.92, 1, 0), (0.93, 3, 1), (0.998, 3, 1), (0.999, 5, 2)]
)
def test_share_of_the_squared_gradient_by_hand(share: float, extent: int, margin: int) -> None:
    """Weights 1, 0.1 and 0.01 on 1, 8 and 16 pixels: 1 of 1.0816, then 1.08 of it, then all."""
    layer = nn.Conv2d(1, 1, 5, padding=2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.01)
        layer.weight[..., 1:4, 1:4] = 0.1
        layer.weight[..., 2, 2] = 1.0
    found = receptive_field(nn.Sequential(layer), "0", (1, 9, 9), share=share)
    assert found == ReceptiveField((9, 9), extent, margin)


def test_channels_that_no_image_in_0_to_1_activates_are_seen() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU())
    nn.init.constant_(network[0].weight, -1.0)
    assert receptive_field(network, "1", (1, 9, 9)) == ReceptiveField((9, 9), 3, 1)


def test_a_normalisation_over_the_image_sees_all_of_it() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2))
    assert receptive_field(network, "1", (1, 9, 9)) == ReceptiveField((9, 9), 9, 8)
    assert receptive_field(network, "0", (1, 9, 9)) == ReceptiveField((9, 9), 3, 1)


def test_measuring_changes_nothing() -> None:
    model, random = toys.gap_net().train(), torch.get_rng_state()
    before, statistics = toys.state_of(model), model.features[1].running_mean.clone()
    first, again = (receptive_field(model, "features", (3, 16, 16)) for _ in range(2))
    assert first == again
    assert toys.state_of(model) == before
    assert torch.equal(model.features[1].running_mean, statistics)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
