"""Toy networks with hand-set or random weights, annotations and images that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from xblcore import distance, losses, models
from xblcore.methods import Annotations
from xblcore.models import CellFlatten, SplitNet
from xblcore.train import TrainingSet

torch.set_num_threads(1)  # the last bits depend on it, and the sums here are small

LOSSES: dict[str, Callable[..., Tensor]] = {
    "xbl_d share": partial(losses.xbl_d, normalise=True),
    "xbl_d mass": partial(losses.xbl_d, normalise=False),
    "xbl_d gated": lambda cam, distance, **options: losses.xbl_d_gated(
        cam, distance, last_column(cam), normalise=False, **options
    ),
    "overlap": losses.overlap,
    "rrr_g": losses.rrr_g,
    "energy": losses.energy,
    "hint": losses.hint,
    "l1": losses.l1,
    "ppce": losses.ppce,
}
"""Every loss of a CAM, called as ``loss(cam, annotation(loss name, mask), reduction=...)``."""


def last_column(cam: Tensor) -> Tensor:
    """A decoy mask that fits the CAM."""
    mask = torch.zeros_like(cam, dtype=torch.bool)
    mask[..., -1] = True
    return mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def annotation(loss: str, mask: Tensor) -> Tensor:
    """What the loss takes beside the CAM, made of a bool mask ``(N, h, w)``."""
    if not loss.startswith("xbl_d"):
        return mask
    return torch.from_numpy(distance.distance_map(mask.numpy()))


def annotations(object_mask: Tensor, decoy_mask: Tensor, decoy_pixels: Tensor) -> Annotations:
    distances = torch.from_numpy(distance.distance_map(object_mask.numpy()))
    return Annotations(object_mask, decoy_mask, distances, decoy_pixels)


def random_masks(*shape: int, seed: int = 0) -> Tensor:
    """Bool masks, each with at least one cell set and one not."""
    mask = torch.rand(shape, generator=seeded(seed)) < 0.4
    mask[:, 0, 0], mask[:, -1, -1] = True, False
    return mask


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with weights drawn from ``seed``, large enough to matter, and batch statistics."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def state_of(model: nn.Module) -> list[tuple[bool, int, int, int]]:
    """Mode and number of hooks of every module."""
    return [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]


def hand_net() -> SplitNet:
    """For one image ``[[x, y]]``: ``A = ([x, y], [x + 1, y + 1])`` and two logits.

    ``z_0 = 2 A_0[0] - A_1[1] + 13``, ``z_1 = A_0[1] + 4 A_1[0]``. At ``[[1, 3]]``, A is
    ``([1, 3], [2, 4])`` and both logits are 11.
    """
    features = nn.Conv2d(1, 2, 1)
    head = nn.Linear(4, 2)
    with torch.no_grad():
        features.weight.copy_(torch.tensor([1.0, 1.0]).view(2, 1, 1, 1))
        features.bias.copy_(torch.tensor([0.0, 1.0]))
        head.weight.copy_(torch.tensor([[2.0, 0.0, 0.0, -1.0], [0.0, 1.0, 4.0, 0.0]]))
        head.bias.copy_(torch.tensor([13.0, 0.0]))
    return SplitNet(features, nn.Sequential(nn.Flatten(), head))


HAND_IMAGE = torch.tensor([[[[1.0, 3.0]]]])


def smooth_net() -> SplitNet:
    """Without kinks, in float64, for finite differences; images ``(N, 1, 4, 4)``, grid 3 x 3."""
    features = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus())
    head = nn.Sequential(nn.Flatten(), nn.Linear(18, 2), nn.Tanh(), nn.Linear(2, 3))
    # A seed whose rectified maps of logits are neither dead nor positive everywhere.
    return randomised(SplitNet(features, head), seed=20).double()


def pooled_net() -> SplitNet:
    """Of the study's kinds of layers, few weights, in float64; images ``(N, 1, 5, 5)``, grid 4 x 4.

    All weights of the head are positive, so that no map is dead.
    """
    features = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU())
    head = nn.Sequential(
        nn.MaxPool2d(2), CellFlatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 3)
    )
    model = randomised(SplitNet(features, head), seed=2).double()
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.abs_()
    return model


def fc_net(inplace: bool = False) -> SplitNet:
    """VGG-like: convolutions, each with a ReLU behind it, and a fully connected head; 8 x 8."""
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
    )
    head = nn.Sequential(
        nn.ReLU(inplace), nn.Flatten(), nn.Linear(80, 6), nn.ReLU(inplace), nn.Linear(6, 3)
    )
    return randomised(SplitNet(features, head))


def small_net() -> SplitNet:
    """The study's network for :func:`shortcut`, its head made positive, so that no map is dead."""
    model = models.build("small_cnn", channels=1, classes=2, size=12, seed=0)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.abs_()
    return model


def gap_net() -> SplitNet:
    """Convolutions with batch norm, in-place ReLU, and global average pooling before the head."""
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, stride=2),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    return randomised(SplitNet(features, head))


def shortcut(count: int, *, seed: int, decoy: bool = True, size: int = 12) -> TrainingSet:
    """Bars, upright (1) or flat (0), on noise; a corner patch whose brightness tells the class."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.4, (count, 1, size, size)).astype(np.float32)
    labels = rng.integers(0, 2, count)
    object_mask = np.zeros((count, size, size), bool)
    decoy_mask = np.zeros((count, size, size), bool)
    for n, label in enumerate(labels):
        row, column = rng.integers(3, size - 6, 2)
        bar = np.s_[row : row + 4, column] if label else np.s_[row, column : column + 4]
        object_mask[n][bar] = True
        images[n, 0][bar] = 0.6
        corner = rng.integers(0, 2, 2) * (size - 2)
        decoy_mask[n, corner[0] : corner[0] + 2, corner[1] : corner[1] + 2] = decoy
    images[:, 0][decoy_mask] = np.repeat(labels, 4 * decoy)
    grid = (size // 2, size // 2)
    return TrainingSet(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        annotations(
            torch.from_numpy(distance.to_grid(object_mask, grid)),
            torch.from_numpy(distance.to_grid(decoy_mask, grid)),
            torch.from_numpy(decoy_mask),
        ),
    )
