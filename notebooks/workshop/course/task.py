"""A small Decoy Fashion-MNIST, and networks that train on it in seconds on one core."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from xblcore import methods, metrics, project
from xblcore.data import TASKS, DataConfig, fetch
from xblcore.decoys import Decoy, add_decoys, grey_palette, put_patch
from xblcore.examples import Cells, Examples
from xblcore.methods import Method, Penalty
from xblcore.study import models
from xblcore.study.evaluate import predict
from xblcore.study.train import EpochLog, TrainConfig, fit

TASK = "decoy_fashion_mnist"
CLASSES = TASKS[TASK].original.classes
PATCH = 4  # side of the decoy in pixels
GRID = (14, 14)  # cells of a CAM of the network
MARGIN = 3  # pixels that a cell sees beyond its own; notebook 3 derives it
CORNERS = ("top left", "top right", "bottom left", "bottom right")
EPOCHS, BATCH, LEARNING_RATE = 6, 64, 0.003

Data = dict[str, Examples]  # by split, as in xblcore.data.SPLITS


@dataclass(frozen=True)
class Scores:
    """Behaviour of a network; each value is in [0, 1].

    Attributes:
        with_decoy: accuracy on validation images, whose decoy reveals the class.
        clean: accuracy on test images without a decoy.
        flip_rate: share of test images whose prediction changes if only the decoy changes.
    """

    with_decoy: float
    clean: float
    flip_rate: float


def load(*, n_train: int = 3000, n_test: int = 1000) -> Data:
    """Fetch Fashion-MNIST if it is missing, and draw the splits in memory."""
    torch.set_num_threads(1)  # as fast for a network this small, and the results repeat
    raw = project.root() / "data" / "raw"
    config = DataConfig(n_train=n_train, n_val=n_test, n_test=n_test, source="original")
    fetch(TASK, config)
    recipe = TASKS[TASK].original
    clean = {name: drawn.examples for name, drawn in recipe.draw(raw, config).items()}
    train, val, test = (
        add_decoys(clean[name], Decoy(size=PATCH), recipe.palette, predictive=n < 2, seed=[n])
        for n, name in enumerate(("train", "val", "test_decoy"))
    )
    return {
        "train": train.examples,
        "train_clean": clean["train"],
        "val": val.examples,
        "test_decoy": test.examples,
        "test_decoy_swapped": test.swapped,
        "test_clean": clean["test_clean"],
    }


def cells(examples: Examples, *, margin: int = 0) -> Cells:
    """Annotations on the CAM grid, with masks of wrong regions widened by ``margin`` pixels."""
    found = examples.on_grid(GRID, margin=margin).cells
    assert found is not None
    return found


def new_model(name: str = "small_cnn", *, seed: int = 0) -> models.SplitNet:
    """Build an untrained network of the study."""
    return models.build(name, channels=1, classes=len(CLASSES), size=28, seed=seed)


def train(
    examples: Examples,
    method: str | Method = "erm",
    *,
    weight: float | None = None,
    margin: int = MARGIN,
    start: nn.Module | None = None,
    epochs: int = EPOCHS,
    seed: int = 0,
    progress: bool = True,
) -> models.SplitNet:
    """Train a network; a few seconds on one core.

    Args:
        examples: images ``(N, 1, 28, 28)`` with labels and masks.
        method: a name in :data:`xblcore.methods.METHODS`, or the result of :func:`own_method`.
        weight: of the explanation loss; the method's default if None.
        margin: in pixels, by which masks of wrong regions are widened.
        start: a network to copy and train further; None starts from random weights.
        epochs: passes over the images.
        seed: of the weights and of the order of the images.
        progress: show a progress bar.
    """
    chosen = methods.get(method) if isinstance(method, str) else method
    model = new_model(seed=seed)
    if start is not None:
        model.load_state_dict(start.state_dict())
    config = TrainConfig(
        weight=chosen.default_weight if weight is None else weight, epochs=epochs,
        batch_size=BATCH, learning_rate=LEARNING_RATE, seed=seed,
        ramp_epochs=1.0 if start is None else 0.0,
    )  # fmt: skip
    prepared = examples.on_grid(GRID, margin=margin)
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


def with_each_decoy(image: Tensor, *, corner: int = 0) -> Tensor:
    """A clean image, uint8 ``(1, H, W)``, with the decoy of each class; ``(classes, 1, H, W)``.

    >>> with_each_decoy(torch.zeros(1, 28, 28, dtype=torch.uint8))[:3, 0, 0, 0]
    tensor([255, 230, 205], dtype=torch.uint8)
    """
    palette = grey_palette(len(CLASSES))
    copies = image.numpy()[None].repeat(len(palette), axis=0)
    position = np.array(divmod(corner, 2)) * (np.array(image.shape[1:]) - PATCH)
    return torch.from_numpy(put_patch(copies, palette, np.tile(position, (10, 1)), PATCH)[0])
