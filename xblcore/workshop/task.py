"""The data of the workshop: a small Decoy Fashion-MNIST, made in memory from the raw files.

It is the task ``decoy_fashion_mnist`` of the study with fewer images, so nothing but the raw files
is needed, and they are fetched if they are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xblcore import datasets, decoys, distance, models, project
from xblcore.datasets.drawing import VIEWS
from xblcore.datasets.fashion_mnist import CLASSES
from xblcore.evaluate import Marked
from xblcore.methods import Annotations
from xblcore.train import TrainingSet

TASK = "decoy_fashion_mnist"


@dataclass(frozen=True)
class Settings:
    """Every number of the workshop's training; small enough for seconds on one core.

    Attributes:
        n_train, n_val, n_test: images of the splits.
        data_seed: of the choice of images, corners and decoys.
        decoy_size: side of the patch in pixels.
        model: a name in :data:`xblcore.models.MODELS`.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: of Adam.
        ramp_epochs: the weight of an explanation loss rises from 0 over that many epochs.
        threads: of torch; the results depend on it in their last bits.
    """

    n_train: int = 3000
    n_val: int = 1000
    n_test: int = 1000
    data_seed: int = 0
    decoy_size: int = 4
    model: str = "small_cnn"
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.003
    ramp_epochs: float = 1.0
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Data:
    """Every split of the task as tensors, with what is marked in it.

    Attributes:
        splits: by name, as in :data:`xblcore.datasets.SPLITS`; annotations on the CAM's grid.
        decoy_pixels: by name, bool ``(N, H, W)``, the decoy at the images' resolution.
        settings: they were made with.
    """

    splits: dict[str, Marked]
    decoy_pixels: dict[str, Tensor]
    settings: Settings

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the CAM's grid."""
        height, width = self.splits["train"].object_mask.shape[1:]
        return height, width

    def training(self, split: str = "train") -> TrainingSet:
        """``train`` or ``train_clean`` for a training loop.

        Args:
            split: its name.
        """
        marked = self.splits[split]
        annotations = Annotations(
            marked.object_mask, marked.decoy_mask, marked.distance, self.decoy_pixels[split]
        )
        return TrainingSet(marked.images, marked.labels, annotations)


def load(settings: Settings | None = None, *, raw_root: Path | None = None) -> Data:
    """Fetch Fashion-MNIST if need be, and make the task of it in memory.

    Args:
        settings: None: the workshop's.
        raw_root: folder of the raw files; None: ``data/raw`` of the project.

    Raises:
        FileNotFoundError: the files are not to be had; the message says what helps.
        ValueError: a raw file that is not the original one.
    """
    settings = settings or Settings()
    raw_root = raw_root or project.root() / "data" / "raw"
    config = datasets.DataConfig(
        n_train=settings.n_train,
        n_val=settings.n_val,
        n_test=settings.n_test,
        seed=settings.data_seed,
        decoy=datasets.DecoyConfig(settings.decoy_size),
        data="original",
    )
    datasets.fetch_task(TASK, config, raw_root=raw_root)
    drawn = datasets.TASKS[TASK]["original"].draw(raw_root, config)
    splits = {name: drawn[base].render(view) for name, (base, view) in VIEWS.items()}
    images = torch.from_numpy(splits["train"].images)
    grid = models.grid_size(new_model(settings, seed=0), images)
    return Data(
        {name: marked(split, grid) for name, split in splits.items()},
        {name: torch.from_numpy(split.decoy_mask) for name, split in splits.items()},
        settings,
    )


def marked(split: datasets.Split, grid: tuple[int, int]) -> Marked:
    """A split as tensors, its annotations brought to a grid ``(h, w)``."""
    object_mask = distance.to_grid(split.object_mask, grid)
    return Marked(
        torch.from_numpy(split.images),
        torch.from_numpy(split.labels),
        torch.from_numpy(object_mask),
        torch.from_numpy(distance.to_grid(split.decoy_mask, grid)),
        torch.from_numpy(distance.distance_map(object_mask)),
    )


def new_model(settings: Settings, *, seed: int) -> models.SplitNet:
    """The workshop's network before training."""
    return models.build(settings.model, channels=1, classes=len(CLASSES), size=28, seed=seed)


def patch_greys(data: Data, split: str) -> npt.NDArray[np.int64]:
    """Grey value of each image's decoy, ``(N,)`` in 0 to 255.

    Args:
        data: from :func:`load`.
        split: one whose images have a decoy.
    """
    pixels, mask = data.splits[split].images[:, 0], data.decoy_pixels[split]
    mean = (pixels * mask).sum((1, 2)) / mask.sum((1, 2))
    return (mean * 255).round().long().numpy()


def with_each_decoy(image: Tensor, *, corner: int = 0, size: int = 4) -> Tensor:
    """One clean image with the decoy of each class in turn, ``(classes, 1, H, W)``.

    Args:
        image: ``(1, H, W)`` in [0, 1], from ``test_clean``.
        corner: 0 to 3, see :data:`xblcore.decoys.CORNERS`.
        size: side of the patch in pixels.

    >>> with_each_decoy(torch.zeros(1, 28, 28))[:, 0, 0, 0].mul(255).round().int().tolist()
    [255, 230, 205, 180, 155, 130, 105, 80, 55, 30]
    """
    palette = decoys.grey_palette(len(CLASSES))
    clean = (image.numpy() * 255).round().astype(np.uint8)  # (1, H, W)
    copies = clean.repeat(len(palette), axis=0)
    patched, _ = decoys.add_corner_patch(copies, palette, np.full(len(palette), corner), size)
    return torch.from_numpy(patched[:, None].astype(np.float32) / 255)


def cells_that_see(model: models.SplitNet, data: Data) -> tuple[Tensor, Tensor]:
    """Which cells carry information on a decoy at the top left, found by changing it.

    Args:
        model: any network of the workshop.
        data: from :func:`load`.

    Returns:
        Bool ``(h, w)`` each: the cells marked as decoy, and those whose features change in any of
        the test images when only the decoy's value does.
    """
    changed = torch.zeros(data.grid, dtype=torch.bool)
    for image in data.splits["test_clean"].images[:50]:
        with torch.no_grad():
            features = model.features(with_each_decoy(image, size=data.settings.decoy_size))
        changed |= (features != features[:1]).any(0).any(0)  # over decoys and feature maps
    rows, columns = data.grid
    pixels = np.zeros((1, 28, 28), bool)
    pixels[:, : data.settings.decoy_size, : data.settings.decoy_size] = True
    return torch.from_numpy(distance.to_grid(pixels, (rows, columns)))[0], changed
