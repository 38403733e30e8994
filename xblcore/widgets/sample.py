"""A sample of what a person brings: a plain folder of images, one folder a class, and its flaw.

Made of Fashion-MNIST, with a grey patch in a corner that tells the class; the clean test images
beside them have none. Where patch and garment truly are is kept apart, for simulated strokes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from xblcore import datasets, evaluate, methods, metrics, project
from xblcore.datasets.fashion_mnist import CLASSES, decoy_fashion_mnist
from xblcore.methods import Annotations
from xblcore.train import EpochLog, TrainConfig, TrainingSet, fit
from xblcore.widgets import exchange
from xblcore.widgets.folder import write_images
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.simulated import simulate
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import Layer, Mask

TASK = "decoy_fashion_mnist"
PATCH = 4  # pixels a side


@dataclass(frozen=True)
class Sample:
    """Where the sample lies.

    Attributes:
        images: folder of the images to learn from, with the patch.
        test: folder of clean test images.
        truth: COCO file of where the patch (``wrong``) and the garment (``object``) are.
    """

    images: Path
    test: Path
    truth: Path


def make_sample(
    folder: str | Path | None = None, *, count: int = 2000, tests: int = 1000, seed: int = 0
) -> Sample:
    """Make the sample, or find it made; what was drawn on it stays.

    Args:
        folder: where; None: ``build/your_own_data`` of the project.
        count: images to learn from.
        tests: clean test images.
        seed: of the choice of images and of the corners.

    Raises:
        FileNotFoundError: Fashion-MNIST is not to be had; the message says what helps.
        ValueError: the folder has a sample that was made with other numbers, or damaged ones.
    """
    home = project.root() / "build" / "your_own_data" if folder is None else Path(folder)
    sample = Sample(home / "images", home / "test", home / "truth.json")
    numbers, known = {"count": count, "tests": tests, "seed": seed}, home / "sample.json"
    if sample.truth.is_file():  # written last
        made = _numbers(known) if known.is_file() else numbers
        if made != numbers:
            raise ValueError(
                f"count, tests and seed must be those that {home} was made with, {made}, "
                f"got {numbers}; take another folder, or delete this one with what was drawn in it"
            )
        return sample
    config = datasets.DataConfig(
        n_train=count, n_val=1, n_test=tests, seed=seed, decoy=datasets.DecoyConfig(PATCH)
    )
    raw_root = project.root() / "data" / "raw"
    datasets.fetch_task(TASK, config, raw_root=raw_root)
    drawn = decoy_fashion_mnist(raw_root, config)
    train, test = drawn["train"].render("decoy"), drawn["test_clean"].render("clean")
    names = _write(sample.images, train)
    _write(sample.test, test)
    masks: dict[tuple[str, Layer], Mask] = {}
    for n, name in enumerate(names):
        masks[name, "wrong"], masks[name, "object"] = train.decoy_mask[n], train.object_mask[n]
    height, width = train.images.shape[2:]
    known.write_text(json.dumps(numbers) + "\n", encoding="utf-8")
    with project.write_atomic(sample.truth) as temporary:
        temporary.write_bytes(exchange.coco_file(masks, dict.fromkeys(names, (height, width))))
    return sample


def train_plainly(
    model: nn.Module,
    data: MarkedImages,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 0.002,
    seed: int = 0,
) -> None:
    """Train a model in place by its classes alone, with nothing said about where to look.

    Args:
        model: maps images ``(N, C, H, W)`` in [0, 1] to logits.
        data: images and classes; marks are not looked at.
        epochs, batch_size, learning_rate, seed: as in :class:`~xblcore.train.TrainConfig`.

    Raises:
        ValueError: a number outside its range, a class that the model does not have.
    """
    config = TrainConfig(
        weight=0.0, ramp_epochs=0.0, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    unused = torch.zeros(len(data.images), 1, 1, dtype=torch.bool)
    marks = Annotations(unused, unused, unused.float(), unused)
    with tqdm(total=epochs, unit="epoch", desc="train") as bar:

        def each_epoch(log: EpochLog) -> None:
            bar.set_postfix(accuracy=f"{log.accuracy:.3f}")
            bar.update()

        training = TrainingSet(data.images, data.labels, marks)
        fit(model, training, methods.get("erm"), config, on_epoch=each_epoch)
    model.eval()


def trained_network(sample: Sample, *, epochs: int = 10) -> nn.Module:
    """A network as a person may have one: plain PyTorch, trained on the sample's images.

    Args:
        sample: from :func:`make_sample`.
        epochs: passes over its images.

    Returns:
        It takes grey images of 28 x 28 pixels, and is in eval mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, len(CLASSES)),
        )  # fmt: skip
    train_plainly(model, MarkedImages.of(AnnotationStore(sample.images), grey=True), epochs=epochs)
    return model


def accuracy(model: nn.Module, data: MarkedImages) -> float:
    """Share of the images whose class the model gets right."""
    logits = evaluate.predict(model, data.images)
    return metrics.accuracy(logits, data.labels).mean().item()


def simulate_marks(
    store: AnnotationStore,
    truth: Path,
    *,
    layer: Layer = "wrong",
    count: int = 25,
    seed: int = 0,
    jitter: float = 0.2,
) -> int:
    """Draw what a quick person would, where no person has begun: for a run without one.

    A simulation that was interrupted goes on where it stopped.

    Args:
        store: images to draw on.
        truth: COCO file of where things are.
        layer: what is drawn.
        count: how many images.
        seed: of the choice and the hand.
        jitter: as in :func:`~xblcore.widgets.simulated.simulate`.

    Returns:
        How many images were drawn on; 0 where all is drawn, or a person has begun.

    Raises:
        ValueError: a truth that does not belong to the images.
    """
    found = exchange.read_coco(truth, store.images.sizes)
    names = [name for name, kind in found if kind == layer]
    masks = np.stack([found[name, layer] for name in names])
    strokes = simulate(
        masks, layer, generator=np.random.default_rng(seed), count=count, jitter=jitter
    )
    simulated = {names[n]: tuple(drawn) for n, drawn in strokes.items()}
    begun = {name: store.drawing(name).done for name in store.names}
    if any(done != simulated.get(name, ())[: len(done)] for name, done in begun.items()):
        return 0
    rest = {name: drawn[len(begun[name]) :] for name, drawn in simulated.items()}
    for name, drawn in rest.items():
        for stroke in drawn:
            store.add(name, stroke)
    return sum(map(bool, rest.values()))


def _numbers(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be JSON, the numbers that the sample was made with, got: {error}; "
            "delete that file to take the images as they are, or take another folder"
        ) from error


def _write(folder: Path, split: datasets.Split) -> list[str]:
    """Grey PNG files ``<class>/<number>.png``; a class may have a slash, a folder may not."""
    folders = [CLASSES[label].replace("/", "-") for label in split.labels]
    names = [f"{folder}/{n:05d}.png" for n, folder in enumerate(folders)]
    pixels = (split.images[:, 0] * 255).round().astype(np.uint8)  # (N, H, W)
    write_images(folder, dict(zip(names, pixels, strict=True)))
    return names
