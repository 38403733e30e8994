"""Reading Fashion-MNIST and CIFAR-10 in the formats of the originals."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.tiny import make_raw, write_idx, write_package
from xblcore import data
from xblcore.data import cifar10, fashion_mnist


def test_idx_by_hand(tmp_path: Path) -> None:
    header = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]
    (tmp_path / "images.gz").write_bytes(gzip.compress(bytes([*header, 1, 2, 3, 4, 5, 6])))
    images = fashion_mnist.read_idx(tmp_path / "images.gz", ndim=3)
    assert images.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_object_of_fashion_mnist_is_what_is_not_black(tmp_path: Path) -> None:
    make_raw(tmp_path, n_train=20, n_test=20)
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, 13, 14] = np.arange(1, 21)
    write_idx(tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz", images)
    drawn = fashion_mnist.draw(tmp_path, data.DataConfig(n_train=10, n_val=10, n_test=10))["train"]
    assert drawn.examples.object_mask.sum((1, 2)).tolist() == [1] * 10
    assert torch.equal(drawn.examples.images[:, 0, 13, 14], (drawn.source + 1).to(torch.uint8))


def write_archive(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write images ``(12, 32, 32, 3)`` in the format of the original archive."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)  # channel, row, column
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    with tarfile.open(path, "w:gz") as archive:
        for n, name in enumerate(names):
            part = np.s_[2 * n : 2 * n + 2]
            content = pickle.dumps({b"data": rows[part], b"labels": labels[part].tolist()})
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["ARCHIVE", "PACKAGE"])
def test_archive_and_package_are_read_alike(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (12, 32, 32, 3), np.uint8)
    labels = generator.integers(0, 10, 12)
    (tmp_path / "cifar10").mkdir()
    if name == "ARCHIVE":
        write_archive(cifar10.ARCHIVE.path(tmp_path), images, labels)
    else:
        write_package(
            cifar10.PACKAGE.path(tmp_path), (images[:10], labels[:10]), (images[10:], labels[10:])
        )
    monkeypatch.setattr(cifar10.RawFile, "is_valid", lambda file, raw: file.path(raw).is_file())
    train, test = cifar10.read(tmp_path)
    both = torch.cat([train.examples.images, test.examples.images])
    assert np.array_equal(both.numpy(), images.transpose(0, 3, 1, 2))
    assert torch.cat([train.examples.labels, test.examples.labels]).tolist() == labels.tolist()
    assert not train.examples.object_mask.any()
