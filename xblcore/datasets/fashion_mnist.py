"""Fashion-MNIST from its original IDX files, and Decoy Fashion-MNIST made of it.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST" (MIT licence).
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import numpy as np

from xblcore import decoys
from xblcore.datasets.drawing import Drawn, Pool, draw_splits
from xblcore.datasets.settings import DataConfig
from xblcore.datasets.sources import Source, read_verified

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

SOURCE = Source(
    name="fashion-mnist",
    files={
        "train-images-idx3-ubyte.gz": (
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
        ),
        "train-labels-idx1-ubyte.gz": (
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
        ),
    },
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    debian_package="dataset-fashion-mnist",
    debian_folder=Path("/usr/share/datasets/fashion-mnist"),
)

# The training images alone are 47 MB; a header that asks for more than this is a broken one.
MOST_BYTES = 1 << 28


def read_idx(packed: bytes, *, name: str, ndim: int) -> decoys.Pixels:
    """Array in a gzipped IDX file of unsigned bytes.

    Never unpacks more than the header announces, nor more than 256 MiB.

    Args:
        packed: content of the .gz file.
        name: of the file, for error messages.
        ndim: number of dimensions it should have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape in the header.

    Raises:
        ValueError: not gzip, another magic number, too large, too short, or trailing bytes.

    >>> packed = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    >>> read_idx(packed, name="labels.gz", ndim=1)
    array([7, 9], dtype=uint8)
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            magic = file.read(4)
            if magic != bytes([0, 0, 8, ndim]):
                raise ValueError(
                    f"magic number of {name} must be {bytes([0, 0, 8, ndim]).hex()}, "
                    f"got {magic.hex() or 'an empty file'}"
                )
            header = file.read(4 * ndim)
            if len(header) < 4 * ndim:
                raise ValueError(f"{name} must hold {ndim} dimensions, got a truncated header")
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
            size = int(np.prod(shape, dtype=object))
            if max(*shape, size) > MOST_BYTES:  # each side too, for one may be 0
                raise ValueError(f"{name} must hold at most {MOST_BYTES} bytes, got shape {shape}")
            body = file.read(size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{name} must be a whole gzip file, got: {error}") from error
    if len(body) < size:
        raise ValueError(f"{name} must hold {size} bytes for shape {shape}, got {len(body)}")
    if len(body) > size:
        raise ValueError(f"{name} must end after {size} bytes for shape {shape}, got more")
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_pool(raw_root: Path, which: str, *, first: int = 0) -> Pool:
    """All images of ``train`` or ``t10k``; the object is every pixel that is not black.

    Args:
        raw_root: folder that holds ``fashion-mnist``.
        which: ``train`` or ``t10k``.
        first: identity of the first image.

    Raises:
        FileNotFoundError, ValueError: a file that is not there, or not the original one.
    """
    arrays = []
    for kind, ndim in (("images-idx3", 3), ("labels-idx1", 1)):
        name = f"{which}-{kind}-ubyte.gz"
        arrays.append(read_idx(read_verified(SOURCE, raw_root, name), name=name, ndim=ndim))
    return checked_pool(*arrays, first=first)


def read_pools(raw_root: Path) -> tuple[Pool, Pool]:
    """The 60,000 training and the 10,000 test images, with distinct identities.

    Raises:
        FileNotFoundError, ValueError: a file that is not there, or not the original one.
    """
    train = read_pool(raw_root, "train")
    return train, read_pool(raw_root, "t10k", first=len(train.labels))


def checked_pool(images: decoys.Pixels, labels: decoys.Pixels, *, first: int) -> Pool:
    """A :class:`Pool` of grey images ``(N, H, W)`` and labels ``(N,)``.

    Raises:
        ValueError: another number of labels than of images, or a label outside the classes.
    """
    if len(labels) != len(images):
        raise ValueError(f"labels must be as many as images, {len(images)}, got {len(labels)}")
    if labels.max(initial=0) >= len(CLASSES):
        raise ValueError(f"labels must be in [0, {len(CLASSES)}), got {labels.max()}")
    source = np.arange(first, first + len(images), dtype=np.int64)
    return Pool(images[..., None], labels.astype(np.int64), images > 0, source)


def decoy_fashion_mnist(raw_root: Path, config: DataConfig) -> dict[str, Drawn]:
    """Decoy Fashion-MNIST: a grey patch in a random corner, ``255 - 25 * label`` in training.

    Source: Ross et al. 2017 for MNIST; Teso and Kersting 2019 for Fashion-MNIST.

    Args:
        raw_root: folder that holds ``fashion-mnist``.
        config: counts, seed and decoy.

    Returns:
        The four disjoint splits of :func:`draw_splits`.
    """
    train, test = read_pools(raw_root)
    return draw_splits(train, test, palette=decoys.grey_palette(len(CLASSES)), config=config)
