"""Sample data for ``your_own_data.ipynb``: images with a shortcut, and a network that learnt it.

The images are Fashion-MNIST with a grey patch in a corner whose grey value gives the class away.
The test images have no patch. Everything is cached in ``build/sample`` of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn

from xblcore import data, methods, project
from xblcore.data import folder as folders
from xblcore.distance import widen
from xblcore.examples import Examples
from xblcore.lab.annotator import Annotator
from xblcore.study.train import TrainConfig, fit

TASK = "decoy_fashion_mnist"
EPOCHS = 10


class Sample(NamedTuple):
    """Where the sample lies."""

    images: Path  # images to learn from, with the patch
    test: Path  # test images without it
    truth: Path  # true masks of the patch (``wrong``) and the garment (``object``)


def make_sample(*, count: int = 2000, tests: int = 1000) -> Sample:
    """Make ``count`` images to learn from and ``tests`` test images, unless they are there.

    Existing masks are kept.
    """
    home = project.root() / "build" / "sample"
    sample = Sample(home / "images", home / "test", home / "truth")
    if not (home / "complete").is_file():
        config = data.DataConfig(n_train=count, n_val=1, n_test=tests)
        data.fetch(TASK, config)
        built = data.build(TASK, config, out=home / "data").parent
        classes = [name.replace("/", "-") for name in data.info(TASK, root=built)["classes"]]
        _write(data.load(TASK, split="train", root=built), classes, sample.images, sample.truth)
        _write(data.load(TASK, split="test_clean", root=built), classes, sample.test, None)
        (home / "complete").touch()
    return sample


def trained_network(sample: Sample) -> nn.Module:
    """Return a network for grey images of 28 x 28 pixels, trained on the sample, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
    cache = sample.images.parent / "network.pt"
    if cache.is_file():
        model.load_state_dict(torch.load(cache))
    else:
        config = TrainConfig(weight=0, epochs=EPOCHS, batch_size=64, learning_rate=0.002, seed=0)
        found = folders.read_folder(sample.images, grey=True)
        fit(model, found.examples, methods.get("erm"), config)
        with project.write_atomic(cache) as temporary:
            torch.save(model.state_dict(), temporary)
    return model.eval()


def simulate_marks(annotator: Annotator, sample: Sample, *, count: int = 25) -> None:
    """Mark images with their true patch, drawn too wide as by a thick brush, until ``count`` are.

    For a run of the notebook without a person. Existing marks are kept.
    """
    marked = annotator.marked
    others = [name for name in annotator.names if name not in marked]
    for name in others[: max(0, count - len(marked))]:
        shape = annotator.mask(name, "wrong").shape
        true = folders.read_mask(folders.mask_path(sample.truth, name, "wrong"), shape)
        annotator.mark(name, "wrong", widen(true[None], 1)[0])


def _write(examples: Examples, classes: list[str], images: Path, truth: Path | None) -> None:
    for n, label in enumerate(examples.labels.tolist()):
        name = f"{classes[label]}/{n:05d}.png"
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(examples.images[n, 0].numpy()).save(images / name)
        if truth is not None:
            for layer, masks in folders.masks_of(examples).items():
                folders.write_mask(folders.mask_path(truth, name, layer), masks[n].numpy())
