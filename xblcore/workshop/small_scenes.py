"""A small garment in a large picture, with a decoy right beside it, far away, or none.

Garments of Fashion-MNIST fill their picture, so that no decoy is far from them. At half the size
there is room, and where the decoy lies can be changed with all else the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from xblcore import decoys, metrics, models
from xblcore.distance import distance_map, to_grid
from xblcore.evaluate import Marked, predict
from xblcore.workshop import course
from xblcore.workshop.gaming import by_explainer
from xblcore.workshop.task import Data

Place = Literal["beside", "far", "honest"]
PLACES: tuple[Place, ...] = ("beside", "far", "honest")

PATCH = 4  # pixels of the decoy's side
GRID = (14, 14)  # of the CAM of ``small_cnn``
EPOCHS = 6


def patch_mask(place: Place, size: int = 28) -> Tensor:
    """Where the decoy lies, bool ``(size, size)``.

    ``beside``: its left edge on the edge of the garment's quarter; ``far``: in the corner
    opposite the garment; ``honest``: nowhere.

    Raises:
        ValueError: another place.

    >>> patch_mask("far").nonzero()[0].tolist(), int(patch_mask("honest").sum())
    ([24, 24], 0)
    """
    half = size // 2
    corners = {"beside": (half // 2 - PATCH // 2, half), "far": (size - PATCH, size - PATCH)}
    mask = torch.zeros(size, size, dtype=torch.bool)
    if place == "honest":
        return mask
    if place not in corners:
        raise ValueError(f"place must be one of beside, far, honest, got {place!r}")
    row, column = corners[place]
    mask[row : row + PATCH, column : column + PATCH] = True
    return mask


def draw(images: Tensor, codes: Tensor, place: Place) -> Marked:
    """Half-size garments in the upper left quarter, with a decoy in the grey of each code.

    Args:
        images: clean garments ``(N, 1, H, H)`` in [0, 1].
        codes: ``(N,)``, the class that each decoy speaks for; also the ``labels`` of the result.
        place: of the decoy.

    Returns:
        The scenes with their object mask, decoy mask and distance map on the CAM's grid.

    Raises:
        ValueError: a place that is none.

    >>> scene = draw(torch.ones(1, 1, 28, 28), torch.tensor([0]), "far")
    >>> scene.images.shape, int(scene.object_mask.sum()), int(scene.decoy_mask.sum())
    (torch.Size([1, 1, 28, 28]), 49, 4)
    """
    size = images.shape[2]
    small = pad(avg_pool2d(images, 2), (0, size - size // 2, 0, size - size // 2))
    patch = patch_mask(place, size)  # (H, H)
    greys = torch.from_numpy(decoys.grey_palette(10)[:, 0].astype(np.float32) / 255)
    scenes = torch.where(patch, greys[codes][:, None, None, None], small)  # (N, 1, H, H)
    objects = to_grid((small[:, 0] > 0).numpy(), GRID)
    wrong = to_grid(patch.expand(len(images), -1, -1).numpy(), GRID)
    return Marked(
        scenes,
        codes,
        torch.from_numpy(objects),
        torch.from_numpy(wrong),
        torch.from_numpy(distance_map(objects)),
    )


def train(
    data: Data, images: Tensor, labels: Tensor, place: Place, *, seed: int = 0
) -> models.SplitNet:
    """Plain training on scenes with the workshop's settings, a few seconds on one core.

    Args:
        data: for its settings.
        images: clean garments ``(N, 1, H, H)``.
        labels: ``(N,)``.
        place: of the decoy.
        seed: of the weights and of the order of the images.
    """
    drawn = replace(data, splits={**data.splits, "train": draw(images, labels, place)})
    pixels = patch_mask(place, images.shape[2]).expand(len(images), -1, -1)
    drawn = replace(drawn, decoy_pixels={**data.decoy_pixels, "train": pixels})
    return course.train(drawn, "erm", epochs=EPOCHS, seed=seed, progress=False).model


def compare(
    networks: Mapping[Place, models.SplitNet], data: Data, *, explainer: str, count: int = 300
) -> dict[str, dict[str, float]]:
    """Measure networks on test scenes with a lying decoy; one without a decoy gets the far one.

    Args:
        networks: by the place of the decoy that they were trained with.
        data: whose clean test garments are drawn.
        explainer: a key of :data:`xblcore.explainers.EXPLAINERS`.
        count: of the images to explain; the answers are counted on all.

    Returns:
        IoU, energy, distance focus and the share of answers that follow the decoy, each by place.
    """
    clean = data.splits["test_clean"].images
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(10, (len(clean),), generator=generator)
    others = (codes + torch.randint(1, 10, (len(clean),), generator=generator)) % 10
    found: dict[str, dict[str, float]] = {}
    for place, network in networks.items():
        where: Place = "far" if place == "honest" else place
        scene, swapped = draw(clean, codes, where), draw(clean, others, where)
        few = scene.first(count)
        cam = by_explainer(network, few, (explainer,))[explainer]
        flips = metrics.decoy_flip_rate(
            predict(network, scene.images), predict(network, swapped.images)
        )
        for name, values in (
            ("iou", metrics.iou(cam, few.object_mask)),
            ("energy_pointing_game", metrics.energy_pointing_game(cam, few.object_mask)),
            ("distance_focus", metrics.distance_focus(cam, few.distance)),
            ("follows the decoy", flips),
        ):
            found.setdefault(name, {})[place] = values.nanmean().item()
    return found
