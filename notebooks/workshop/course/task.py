"""Garments and photographs with a decoy, and networks that train in seconds on one core."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from xblcore import methods, metrics, project
from xblcore.data import DataConfig, fetch
from xblcore.data.tasks import CIFAR10, FASHION_MNIST
from xblcore.decoys import Decoy, add_decoys, grey_palette, put_patch
from xblcore.examples import Cells, Examples
from xblcore.methods import Method, Penalty
from xblcore.study import models
from xblcore.study.evaluate import predict
from xblcore.study.train import EpochLog, TrainConfig, fit

GARMENTS, PHOTOS = "decoy_fashion_mnist", "decoy_cifar10"
RECIPES = {GARMENTS: FASHION_MNIST, PHOTOS: CIFAR10}
CLASSES = FASHION_MNIST.classes
PATCH = 4  # side of the decoy in pixels
MARGIN = 3  # pixels that a cell of `small_cnn` sees beyond its own; notebook 3 derives it
CORNERS = ("top left", "top right", "bottom left", "bottom right")
EPOCHS, BATCH, LEARNING_RATE = 6, 64, 0.003

Data = dict[str, Examples]  # by split, as in xblcore.data.SPLITS


@dataclass(frozen=True)
class Scores:
    """Behaviour of a network; each value is in [0, 1]."""

    with_decoy: float  # accuracy on validation images, whose decoy reveals the class
    clean: float  # accuracy on test images without a decoy
    flip_rate: float  # share of test images whose prediction changes if only the decoy changes


def load(name: str = GARMENTS, *, n_train: int = 3000) -> Data:
    """Fetch the images of a task if they are missing, and draw the splits in memory."""
    torch.set_num_threads(1)  # as fast for a network this small, and the results repeat
    raw = project.root() / "data" / "raw"
    config = DataConfig(n_train=n_train, n_val=1000, n_test=1000, source="original")
    fetch(name, config)
    recipe = RECIPES[name]
    clean = {split: drawn.examples for split, drawn in recipe.draw(raw, config).items()}
    train, val, test = (
        add_decoys(clean[split], Decoy(size=PATCH), recipe.palette, predictive=n < 2, seed=[n])
        for n, split in enumerate(("train", "val", "test_decoy"))
    )
    return {
        "train": train.examples,
        "train_clean": clean["train"],
        "val": val.examples,
        "test_decoy": test.examples,
        "test_decoy_swapped": test.swapped,
        "test_clean": clean["test_clean"],
    }


def is_here(name: str) -> bool:
    """Whether the raw files of a task are on this computer."""
    config = DataConfig(n_train=1, n_val=1, n_test=1)
    return RECIPES[name].sources(project.root() / "data" / "raw", config) is not None


def load_photos() -> Data:
    """Photographs of CIFAR-10 with a decoy; garments if CIFAR-10 is not on this computer."""
    if is_here(PHOTOS):
        return load(PHOTOS, n_train=4000)
    print("CIFAR-10 is not on this computer, so this notebook uses garments instead.")
    return load()


def names(examples: Examples) -> list[str]:
    """Class of each image, of garments or of photographs."""
    recipe = FASHION_MNIST if examples.images.shape[1] == 1 else CIFAR10
    return [recipe.classes[label] for label in examples.labels.tolist()]


def cells(examples: Examples, *, margin: int = 0) -> Cells:
    """Annotations on the CAM grid, with masks of wrong regions widened by ``margin`` pixels."""
    found = examples.on_grid(grid(examples.images), margin=margin).cells
    assert found is not None
    return found


def grid(images: Tensor) -> tuple[int, int]:
    """Cells of a CAM: a network of the workshop pools once, by 2 pixels, before it."""
    height, width = images.shape[2:]
    return height // 2, width // 2


def new_model(name: str = "small_cnn", *, channels: int = 1, size: int = 28) -> models.SplitNet:
    """Build an untrained network of the study for ten classes."""
    return models.build(name, channels=channels, classes=len(CLASSES), size=size, seed=0)


def train(
    examples: Examples,
    method: str | Method = "erm",
    *,
    weight: float | None = None,
    margin: int = MARGIN,
    network: str = "small_cnn",
    start: nn.Module | None = None,
    epochs: int = EPOCHS,
    progress: bool = True,
) -> models.SplitNet:
    """Train a network; a few seconds on one core.

    Args:
        examples: images ``(N, C, H, W)`` with labels and masks.
        method: a name in :data:`xblcore.methods.METHODS`, or the result of :func:`own_method`.
        weight: of the explanation loss; the method's default if None.
        margin: pixels by which masks of wrong regions are widened.
        network: a name in :data:`xblcore.study.models.MODELS`.
        start: a network to copy and train further; None starts from random weights.
        epochs, progress: passes over the images; show a bar.
    """
    chosen = methods.get(method) if isinstance(method, str) else method
    _, channels, size, _ = examples.images.shape
    model = new_model(network, channels=channels, size=size)
    if start is not None:
        model.load_state_dict(start.state_dict())
    config = TrainConfig(
        weight=chosen.default_weight if weight is None else weight, epochs=epochs,
        batch_size=BATCH, learning_rate=LEARNING_RATE, seed=0,
        ramp_epochs=1.0 if start is None else 0.0,
    )  # fmt: skip
    prepared = examples.on_grid(grid(examples.images), margin=margin)
    # On stdout, because JupyterLab colours stderr like an error.
    with tqdm(total=epochs, desc=chosen.label, disable=not progress, file=sys.stdout) as bar:

        def advance(_: EpochLog) -> None:
            bar.update()

        fit(model, prepared, chosen, config, on_epoch=advance)
    return model.eval()


def own_method(name: str, penalty: Penalty, *, weight: float) -> Method:
    """Make a method for :func:`train` from a function of :class:`xblcore.methods.Step`."""
    return Method(name, name, "", "", "blue", "o", penalty=penalty, default_weight=weight)


def scores(model: nn.Module, data: Data) -> Scores:
    """Measure the behaviour of a network, without any explanation."""
    logits = predict(model, data["test_decoy"].images)
    swapped = predict(model, data["test_decoy_swapped"].images)
    flips = metrics.decoy_flip_rate(logits, swapped).mean().item()
    return Scores(accuracy(model, data["val"]), accuracy(model, data["test_clean"]), flips)


def accuracy(model: nn.Module, examples: Examples) -> float:
    """Share of the images that a network classifies correctly."""
    return metrics.accuracy(predict(model, examples.images), examples.labels).mean().item()


def recovery(method: Scores, erm: Scores, oracle: Scores) -> float:
    """Share of the clean accuracy lost to the decoy that a method recovers."""
    return (method.clean - erm.clean) / (oracle.clean - erm.clean)


def patch_greys(examples: Examples) -> Tensor:
    """Grey value of each image's decoy, int64 ``(N,)``."""
    return (examples.images[:, 0] * examples.decoy_mask).amax((1, 2)).long()


def read_patches(examples: Examples) -> Tensor:
    """Class of which each image has the decoy, int64 ``(N,)``."""
    return (255 - patch_greys(examples)) // 25


def with_each_decoy(image: Tensor, *, corner: int = 0) -> Tensor:
    """A clean image, uint8 ``(1, H, W)``, with the decoy of each class; ``(classes, 1, H, W)``.

    >>> with_each_decoy(torch.zeros(1, 28, 28, dtype=torch.uint8))[:3, 0, 0, 0]
    tensor([255, 230, 205], dtype=torch.uint8)
    """
    palette = grey_palette(len(CLASSES))
    copies = image.numpy()[None].repeat(len(palette), axis=0)
    position = np.array(divmod(corner, 2)) * (np.array(image.shape[1:]) - PATCH)
    return torch.from_numpy(put_patch(copies, palette, np.tile(position, (10, 1)), PATCH)[0])
