"""CIFAR-10 archives in the original format: a .tar.gz of pickles as Python 2 wrote them."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np

TOC = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]


class Python2Pickler(pickle._Pickler):
    """Protocol 2 with str as byte strings and arrays under the names of old NumPy."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def save_byte_string(self, text):
        content = text.encode("latin-1")
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
        else:
            self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    def save_array(self, array):
        self.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n")
        self.save((0,))
        self.save("b")
        self.write(pickle.TUPLE3 + pickle.REDUCE)
        self.memoize(array)
        self.write(pickle.MARK)
        self.save(1)
        self.save(array.shape)
        self.write(b"cnumpy\ndtype\n")
        self.save((array.dtype.str[1:], 0, 1))
        self.write(pickle.REDUCE)
        self.save((3, "|", None, None, None, -1, -1, 0))
        self.write(pickle.BUILD)
        self.save(bool(array.flags.f_contiguous and not array.flags.c_contiguous))
        self.save(array.tobytes("A").decode("latin-1"))
        self.write(pickle.TUPLE + pickle.BUILD)

    dispatch[str] = save_byte_string
    dispatch[np.ndarray] = save_array


def dump(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file).dump(value)
    return file.getvalue()


def batch(pixels: np.ndarray, labels: list[int], title: str = "training batch 1 of 5") -> bytes:
    """Pixels ``(N, 3072)``, red first."""
    names = [f"image_{n:06d}.png" for n in range(len(labels))]
    return dump({"batch_label": title, "labels": labels, "data": pixels, "filenames": names})


def archive(members: dict[str, bytes], *, folder: str = "cifar-10-batches-py") -> bytes:
    """Members of one folder, and the readme that the original has."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in {**members, "readme.html": b"<meta>"}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def small(count: int = 24, seed: int = 0) -> tuple[bytes, dict[str, tuple[np.ndarray, list[int]]]]:
    """An archive of six batches of ``count`` random images, and what is in it."""
    generator = np.random.default_rng(seed)
    batches = {
        name: (
            generator.integers(0, 256, (count, 3072), dtype=np.uint8),
            generator.permutation(np.arange(count) % 10).tolist(),
        )
        for name in TOC
    }
    return archive({name: batch(*content) for name, content in batches.items()}), batches
