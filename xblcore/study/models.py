"""The small networks of the study, each a ``features`` trunk and a ``head``.

A CAM explains the output of ``features``; its grid is the height and width of that output.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn


class SplitNet(nn.Sequential):
    """``head(features(images))``; the explained layer is ``features``."""

    cam_layer = "features"

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__(OrderedDict(features=features, head=head))


class CellFlatten(nn.Flatten):
    """``(N, K, h, w)`` to ``(N, h * w * K)``, which needs no copy in channels-last layout."""

    def forward(self, features: Tensor) -> Tensor:
        """Flatten cell by cell."""
        return features.permute(0, 2, 3, 1).flatten(1)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm and a skip connection (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.skip = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the body to the skip connection."""
        return (self.body(inputs) + self.skip(inputs)).relu()


def _trunk(channels: int, filters: Sequence[int], *, pools: int, normalised: bool) -> nn.Sequential:
    """One 3x3 convolution for each of ``filters``; the first ``pools`` are pooled by 2."""
    layers: list[nn.Module] = []
    for n, (before, after) in enumerate(pairwise([channels, *filters])):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        if n < pools:
            layers.append(nn.MaxPool2d(2))  # commutes with the ReLU, which then has less to do
        if normalised:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _average_head(filters: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters, classes))


def _cnn(
    channels: int, classes: int, size: int, *, filters: tuple[int, ...], pools: int,
    normalised: bool = False, averaged: bool = False,
) -> SplitNet:  # fmt: skip
    trunk = _trunk(channels, filters, pools=pools, normalised=normalised)
    if averaged:
        return SplitNet(trunk, _average_head(filters[-1], classes))
    grid = (size >> pools) // 2
    head = nn.Sequential(
        nn.MaxPool2d(2),
        CellFlatten(),
        nn.Linear(filters[-1] * grid**2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
    return SplitNet(trunk, head)


def _resnet8(channels: int, classes: int, _size: int) -> SplitNet:
    trunk = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
    )
    return SplitNet(trunk, _average_head(64, classes))


Build = Callable[[int, int, int], SplitNet]

# The first three lie in the search space of the released scripts: 3x3 convolutions, some of them
# pooled, then fully connected layers. `_gap` has global average pooling instead of those.
MODELS: dict[str, Build] = {
    "small_cnn": partial(_cnn, filters=(16, 32), pools=1),
    "three_conv_cnn": partial(_cnn, filters=(16, 16, 32), pools=1),
    "four_conv_cnn": partial(_cnn, filters=(8, 16, 32, 32), pools=3, normalised=True),
    "small_cnn_gap": partial(_cnn, filters=(16, 32), pools=1, averaged=True),
    "three_conv_cnn_gap": partial(_cnn, filters=(16, 16, 32), pools=1, averaged=True),
    "four_conv_cnn_gap": partial(
        _cnn, filters=(8, 16, 32, 32), pools=3, normalised=True, averaged=True
    ),
    "resnet8": _resnet8,
}


def build(name: str, *, channels: int, classes: int, size: int, seed: int) -> SplitNet:
    """Build a network of the study; the global random generator is left alone.

    Args:
        name: a key of :data:`MODELS`.
        channels: of the images.
        classes: number of logits.
        size: height and width of the images in pixels.
        seed: of the initial weights.

    >>> build("small_cnn", channels=1, classes=10, size=28, seed=0).features(
    ...     torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 32, 14, 14])
    """
    if name not in MODELS:
        raise ValueError(f"network must be one of {', '.join(MODELS)}, got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPU
        model = MODELS[name](channels, classes, size)
    # 1.5 times as fast on a CPU; the stubs of Module.to do not know the argument.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
