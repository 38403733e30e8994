"""The small networks of the study, each a ``features`` trunk and a ``head``.

A CAM explains the output of ``features``; its grid is that output's height and width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

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


def small_cnn(channels: int, classes: int, size: int) -> SplitNet:
    """Two convolutions and two fully connected layers; the CAM has half the image's resolution."""
    features = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),  # commutes with the pooling, and is a quarter of the work behind it
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
    )  # (N, 32, size / 2, size / 2)
    head = nn.Sequential(
        nn.MaxPool2d(2),
        CellFlatten(),
        nn.Linear(32 * (size // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
    return SplitNet(features, head)


MODELS: dict[str, Callable[[int, int, int], SplitNet]] = {"small_cnn": small_cnn}


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
    if size < 4:
        raise ValueError(f"size must be at least 4 pixels, got {size}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPU's too
        model = MODELS[name](channels, classes, size)
    # 1.5 times as fast on a CPU; the stubs of Module.to do not know the argument.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def grid_size(model: SplitNet, images: Tensor) -> tuple[int, int]:
    """Height and width of the CAM's grid for images of this shape."""
    trunk = copy.deepcopy(model.features).eval()  # batch norm would learn from this one image
    with torch.no_grad():
        features = trunk(images[:1])
    return features.shape[2], features.shape[3]
