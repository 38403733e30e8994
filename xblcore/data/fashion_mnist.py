"""Fashion-MNIST from its original IDX files.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST" (MIT licence).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch

from xblcore.data.sources import RawData, RawFile
from xblcore.data.splits import DataConfig, Drawn, clean_examples, draw_splits
from xblcore.decoys import Pixels

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

FOLDER = "fashion-mnist"
SOURCES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "apt:dataset-fashion-mnist",
)
FILES = tuple(
    RawFile(FOLDER, f"{name}-ubyte.gz", sha256, SOURCES)
    for name, sha256 in (
        ("train-images-idx3", "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
        ("train-labels-idx1", "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
        ("t10k-images-idx3", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
        ("t10k-labels-idx1", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
    )
)
RAW = RawData("Fashion-MNIST", (FILES,))


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits; the object is every pixel that is not black."""
    pools = []
    for part in ("train", "t10k"):
        images = read_idx(raw / FOLDER / f"{part}-images-idx3-ubyte.gz", ndim=3)
        labels = read_idx(raw / FOLDER / f"{part}-labels-idx1-ubyte.gz", ndim=1)
        examples = clean_examples(images[:, None], labels, images > 0)
        pools.append(Drawn(examples, torch.arange(len(labels))))
    return draw_splits(pools[0], pools[1], config)


def read_idx(path: Path, *, ndim: int) -> Pixels:
    """Read a gzipped IDX file of unsigned bytes with ``ndim`` dimensions."""
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()
