"""The small networks of the study, each a ``features`` trunk and a ``head``.

A CAM explains the output of ``features``; its grid is that output's height and width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn


class SplitNet(nn.Module):
    """``head(features(images))``; the explained layer is called ``features``."""

    cam_layer = "features"

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, C, H, W)``."""
        logits: Tensor = self.head(self.features(images))
        return logits


class CellFlatten(nn.Module):
    """``(N, K, h, w)`` to ``(N, h * w * K)``, channels last: no copy in the layout they lie in."""

    def forward(self, features: Tensor) -> Tensor:
        """Flatten cell by cell."""
        return features.permute(0, 2, 3, 1).flatten(1)


def _convolution(channels: int, filters: int, *, pooled: bool, normalised: bool) -> list[nn.Module]:
    """3x3 convolution, halved where ``pooled``, batch norm where ``normalised``, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(channels, filters, 3, padding=1)]
    if pooled:
        # Before what follows, which then has a quarter of the work; with ReLU it commutes.
        layers.append(nn.MaxPool2d(2))
    if normalised:
        layers.append(nn.BatchNorm2d(filters))
    return [*layers, nn.ReLU()]


def _trunk(channels: int, filters: Sequence[int], *, pools: int, normalised: bool) -> nn.Sequential:
    """One convolution for each of ``filters``, the first ``pools`` of them pooled."""
    layers: list[nn.Module] = []
    for n, (before, after) in enumerate(pairwise([channels, *filters])):
        layers += _convolution(before, after, pooled=n < pools, normalised=normalised)
    return nn.Sequential(*layers)


def _connected(filters: int, classes: int, grid: int) -> nn.Sequential:
    """Pooling and two fully connected layers on a CAM grid of ``grid`` cells a side."""
    return nn.Sequential(
        nn.MaxPool2d(2),
        CellFlatten(),
        nn.Linear(filters * (grid // 2) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def _averaged(filters: int, classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer: there Grad-CAM and HiResCAM are the same."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters, classes))


class Architecture(Protocol):
    """What an entry of :data:`MODELS` must have."""

    @property
    def smallest(self) -> int:
        """Least side of the images, in pixels."""

    def make(self, channels: int, classes: int, size: int) -> SplitNet:
        """The network for images of ``size`` pixels a side, weights from the global generator."""


@dataclass(frozen=True)
class Network:
    """One network of the study.

    Attributes:
        filters: of each 3x3 convolution.
        pools: how many convolutions, from the first on, are followed by pooling; each halves the
            CAM's resolution.
        normalised: batch norm after each convolution.
        averaged: global average pooling before the last layer, instead of fully connected ones.
    """

    filters: tuple[int, ...]
    pools: int
    normalised: bool
    averaged: bool = False

    @property
    def smallest(self) -> int:
        """Least side of the images: pooled throughout, they keep one pixel."""
        return int(2 ** (self.pools + 1))

    def make(self, channels: int, classes: int, size: int) -> SplitNet:
        """The network for images of ``size`` pixels a side, weights from the global generator."""
        trunk = _trunk(channels, self.filters, pools=self.pools, normalised=self.normalised)
        if self.averaged:
            return SplitNet(trunk, _averaged(self.filters[-1], classes))
        return SplitNet(trunk, _connected(self.filters[-1], classes, size >> self.pools))


# In the search space of the authors' released scripts: 3x3 convolutions, some of them pooled, then
# fully connected layers. Each has its like under global average pooling.
_CONNECTED = {
    "small_cnn": Network((16, 32), pools=1, normalised=False),
    "three_conv_cnn": Network((16, 16, 32), pools=1, normalised=False),
    "four_conv_cnn": Network((8, 16, 32, 32), pools=3, normalised=True),
}
MODELS: dict[str, Architecture] = {
    **_CONNECTED,
    **{f"{name}_gap": replace(network, averaged=True) for name, network in _CONNECTED.items()},
}


def build(name: str, *, channels: int, classes: int, size: int, seed: int) -> SplitNet:
    """A network of the study with weights drawn from ``seed``; the global generator is left alone.

    Args:
        name: a key of ``MODELS``.
        channels: of the images.
        classes: number of logits.
        size: height and width of the images.
        seed: of the initial weights.

    Raises:
        ValueError: unknown name, or images too small for the network.

    >>> build("small_cnn", channels=1, classes=10, size=28, seed=0).features(
    ...     torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 32, 14, 14])
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
    network = MODELS[name]
    if size < network.smallest:
        raise ValueError(f"size must be at least {network.smallest} pixels for {name}, got {size}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPU's too
        model = network.make(channels, classes, size)
    if not isinstance(model, SplitNet):
        kind = type(model).__name__
        raise ValueError(f"make of model {name!r} must return a SplitNet, got {kind}")
    # 1.5 times as fast on a CPU; the stubs of Module.to do not know the argument.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def grid_size(model: SplitNet, images: Tensor) -> tuple[int, int]:
    """Height and width of the CAM's grid for images of this shape.

    Raises:
        ValueError: a grid of one cell.
    """
    trunk = copy.deepcopy(model.features).eval()  # batch norm would learn from this one image
    with torch.no_grad():
        features = trunk(images[:1])
    height, width = features.shape[2:]
    if height * width == 1:
        raise ValueError(
            "the CAM's grid must have more than one cell, got 1 x 1: a CAM can point nowhere; "
            "pool less, or take larger images"
        )
    return height, width
