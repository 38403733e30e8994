"""Small networks, annotations and images that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xblcore import distance, losses
from xblcore.examples import Cells, Examples
from xblcore.methods import METHODS, Step
from xblcore.study import models
from xblcore.study.models import CellFlatten, SplitNet
from xblcore.study.train import forward, mean_distance_plus


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def last_column(cam: Tensor) -> Tensor:
    """A decoy mask of the shape of the CAM."""
    mask = torch.zeros_like(cam, dtype=torch.bool)
    mask[..., -1] = True
    return mask


def _gated(cam: Tensor, distance_map: Tensor, *, reduction: losses.Reduction = "mean") -> Tensor:
    return losses.xbl_d_gated(cam, distance_map, last_column(cam), reduction=reduction)


# Every loss of a CAM, called as `loss(cam, annotation(name, mask), reduction=...)`.
CAM_LOSSES: dict[str, Callable[..., Tensor]] = {
    "xbl_d mass": losses.xbl_d,
    "xbl_d share": partial(losses.xbl_d, form="share"),
    "xbl_d gated": _gated,
    "overlap": losses.overlap,
    "rrr_g": losses.rrr_g,
    "energy": losses.energy,
    "hint": losses.hint,
    "l1": losses.l1,
    "ppce": losses.ppce,
}


def annotation(loss: str, mask: Tensor) -> Tensor:
    """The second argument of the loss, from a bool mask ``(N, h, w)``."""
    return to_distance(mask) if loss.startswith("xbl_d") else mask


def marks(*rows: str) -> Tensor:
    """Bool masks ``(N, 1, W)`` from strings, with ``x`` where set."""
    return torch.tensor([[[cell == "x" for cell in row]] for row in rows])


def to_distance(mask: Tensor) -> Tensor:
    return torch.from_numpy(distance.distance_map(mask.numpy()))


def random_masks(*shape: int, seed: int = 0) -> Tensor:
    """Bool masks, each with at least one cell set and one not set."""
    mask = torch.rand(shape, generator=seeded(seed)) < 0.4
    mask[:, 0, 0], mask[:, -1, -1] = True, False
    return mask


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with large random weights and random batch statistics."""
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
    """For an image ``[[x, y]]``: ``A = ([x, y], [x + 1, y + 1])`` and two logits.

    ``z_0 = 2 A_0[0] - A_1[1] + 13``, ``z_1 = A_0[1] + 4 A_1[0]``. For ``[[1, 3]]``, A is
    ``([1, 3], [2, 4])`` and both logits are 11.
    """
    features, head = nn.Conv2d(1, 2, 1), nn.Linear(4, 2)
    with torch.no_grad():
        features.weight.copy_(torch.tensor([1.0, 1.0]).view(2, 1, 1, 1))
        features.bias.copy_(torch.tensor([0.0, 1.0]))
        head.weight.copy_(torch.tensor([[2.0, 0.0, 0.0, -1.0], [0.0, 1.0, 4.0, 0.0]]))
        head.bias.copy_(torch.tensor([13.0, 0.0]))
    return SplitNet(features, nn.Sequential(nn.Flatten(), head))


HAND_IMAGE = torch.tensor([[[[1.0, 3.0]]]])


def pooled_net() -> SplitNet:
    """A tiny network of the study's layers, in float64; images ``(N, 1, 5, 5)``, grid 4x4."""
    features = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU())
    head = nn.Sequential(
        nn.MaxPool2d(2), CellFlatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 3)
    )
    return positive_head(randomised(SplitNet(features, head), seed=2).double())


def small_net() -> SplitNet:
    """A network of the study for :func:`shortcut`."""
    return positive_head(models.build("small_cnn", channels=1, classes=2, size=12, seed=0))


def positive_head(model: SplitNet) -> SplitNet:
    """The model with non-negative weights in its head, so that no map of a logit is all zero."""
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.abs_()
    return model


def fc_net(*, inplace: bool = False) -> SplitNet:
    """Convolutions and a fully connected head; images ``(N, 3, 8, 8)``, grid 4x4."""
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


def gap_net() -> SplitNet:
    """Batch norm, in-place ReLU, global average pooling; images with 3 channels of any size."""
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


def torchvision_models():
    """The module; without torchvision, the test is skipped."""
    import xblcore._torchvision  # noqa: F401  declares what a CPU build of PyTorch lacks

    return pytest.importorskip("torchvision.models")


def images(count: int = 4, *, seed: int = 0) -> Tensor:
    """For :func:`fc_net` and :func:`gap_net`."""
    return torch.rand(count, 3, 8, 8, generator=seeded(seed))


def shortcut(count: int, *, seed: int = 0, size: int = 12) -> Examples:
    """Upright (1) or flat (0) bars on noise, with a corner patch as bright as the label.

    The annotations are on the grid of :func:`small_net`, not widened.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 0.4, (count, 1, size, size)).astype(np.float32)
    labels = rng.integers(0, 2, count)
    object_mask = np.zeros((count, size, size), bool)
    decoy_mask = np.zeros((count, size, size), bool)
    for n, label in enumerate(labels):
        row, column = rng.integers(3, size - 6, 2)
        bar = np.s_[row : row + 4, column] if label else np.s_[row, column : column + 4]
        object_mask[n][bar] = True
        pixels[n, 0][bar] = 0.6
        corner = rng.integers(0, 2, 2) * (size - 2)
        decoy_mask[n, corner[0] : corner[0] + 2, corner[1] : corner[1] + 2] = True
    pixels[:, 0][decoy_mask] = np.repeat(labels, 4)
    masks = (torch.from_numpy(object_mask), torch.from_numpy(decoy_mask))
    examples = Examples(torch.from_numpy(pixels), torch.from_numpy(labels), *masks)
    return examples.on_grid((size // 2, size // 2))


def step_of(model: nn.Module, data: Examples, name: str) -> Step:
    """A training step of the method, up to its forward pass."""
    return forward(
        model, data, METHODS[name], layer="features", generator=seeded(1),
        mean_penalty=mean_distance_plus(data),
    )  # fmt: skip


def cells(object_mask: Tensor, decoy_mask: Tensor) -> Cells:
    return Cells(object_mask, decoy_mask, to_distance(object_mask))
