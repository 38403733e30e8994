"""A folder of images, as a person has it: which there are, how large, read with care."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from xblcore import project
from xblcore.datasets.coco_format import Picture
from xblcore.datasets.coco_pixels import BROKEN, read_image
from xblcore.decoys import Pixels

SUFFIXES = (".jpg", ".jpeg", ".png")
MOST_SIDE = 8192  # pixels of an image's side
JOURNAL = "journal"  # folder of a store's journals, below its home


@dataclass(frozen=True)
class ImageFolder:
    """The JPEG and PNG images in a folder and in the folders below it.

    Attributes:
        root: the folder.
        sizes: height and width of each image by its name, in the order of the names; a name is the
            path below ``root`` with ``/`` between the folders, as in ``zebra/001.jpg``.
        unreadable: names of files that look like images by their ending but cannot be read, and of
            folders that are left out for the annotations in them, and why.
    """

    root: Path
    sizes: dict[str, tuple[int, int]]
    unreadable: dict[str, str]

    @classmethod
    def open(cls, root: str | Path, *, without: Path | None = None) -> ImageFolder:
        """List the images of a folder; only their headers are read.

        Hidden files and folders are left out, and so are links that lead out of the folder and
        annotations, whoever made them: what was exported there would be taken for images. The
        annotations of others are told as unreadable, in case there are images beside them.

        Args:
            root: the folder.
            without: a folder below it that is no part of the images, though nothing is in it yet.

        Raises:
            ValueError: no such folder, or no image in it.
        """
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"images must be a folder that is there, got {str(root)!r}")
        inside = root.resolve()
        sizes: dict[str, tuple[int, int]] = {}
        unreadable: dict[str, str] = {}
        for path in sorted(_files(root, without), key=lambda path: path.relative_to(root).parts):
            raw = os.fsencode(path.relative_to(root).as_posix())
            name = raw.decode("utf-8", "backslashreplace")
            if path.is_dir():
                unreadable[name] = (
                    f"left out with all in it, for the annotations in its folder {JOURNAL!r}; "
                    "move that elsewhere if there are images to annotate"
                )
                continue
            if name.encode() != raw:
                unreadable[name] = "its name is not UTF-8, so no page can show it; rename it"
                continue
            if not path.resolve().is_relative_to(inside):
                unreadable[name] = "a link that leads out of the folder"
                continue
            try:
                sizes[name] = _size(path)
            except BROKEN as error:
                unreadable[name] = str(error)
        if not sizes:
            why = f"; {next(iter(unreadable.items()))}" if unreadable else ""
            raise ValueError(
                f"images must be a folder with at least one {', '.join(SUFFIXES)} file, "
                f"got {str(root)!r}{why}"
            )
        return cls(root, sizes, unreadable)

    def checked(self, name: object) -> str:
        """``name`` if it is that of an image here; nothing else is ever opened.

        Raises:
            ValueError: it is not.
        """
        if not isinstance(name, str) or name not in self.sizes:
            raise ValueError(
                f"image must be one of the {len(self.sizes)} in the folder, got {name!r}"
            )
        return name

    def read(self, name: str) -> Pixels:
        """An image as uint8 ``(H, W, 3)``.

        Raises:
            ValueError: unknown name, a broken file, or no longer of its size.
        """
        height, width = self.sizes[self.checked(name)]
        picture = Picture(0, name, width, height, {})
        return np.asarray(read_image((self.root / name).read_bytes(), picture))

    def class_of(self, name: str) -> str:
        """The folder that an image lies in, which names its class; ``""`` at the top."""
        parent = PurePosixPath(self.checked(name)).parent
        return "" if parent == PurePosixPath() else parent.as_posix()


def as_input(
    pixels: Pixels, size: tuple[int, int] | None, *, grey: bool
) -> npt.NDArray[np.float32]:
    """An image as a network takes it, ``(C, H, W)`` in [0, 1].

    Args:
        pixels: uint8 ``(H, W, 3)``.
        size: height and width; None: as the image is.
        grey: one channel instead of three.

    >>> as_input(np.full((4, 4, 3), 255, np.uint8), (2, 3), grey=True).shape
    (1, 2, 3)
    """
    picture = Image.fromarray(pixels).convert("L" if grey else "RGB")
    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BICUBIC)
    values = np.asarray(picture, np.float32).reshape(picture.height, picture.width, -1)
    scaled: npt.NDArray[np.float32] = values.transpose(2, 0, 1) / np.float32(255)
    return np.ascontiguousarray(scaled)


def _files(root: Path, without: Path | None) -> list[Path]:
    """What looks like an image by its ending, and the folders left out for their annotations."""
    found = []
    for folder, below, files in os.walk(root):
        here = Path(folder)
        folders = [
            here / name
            for name in below
            if not name.startswith(".")
            and (without is None or (here / name).resolve() != without.resolve())
        ]
        homes = [path for path in folders if _holds_annotations(path)]
        below[:] = [path.name for path in folders if path not in homes]
        found += homes
        found += [
            here / name
            for name in files
            if not name.startswith(".") and name.lower().endswith(SUFFIXES)
        ]
    return found


def _holds_annotations(folder: Path) -> bool:
    """Whether a folder is the home of an annotation store, which a first stroke makes."""
    # Ours end in .png.jsonl, say; others, as a camera's, may lie in a folder of that name too.
    journals = (folder / JOURNAL).rglob("*.jsonl")
    return any(path.stem.lower().endswith(SUFFIXES) for path in journals)


def _size(path: Path) -> tuple[int, int]:
    if not path.is_file():  # of a pipe, for one, there would be no end
        raise ValueError("no plain file")
    with Image.open(path, formats=("JPEG", "PNG")) as image:
        width, height = image.size
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE):
        raise ValueError(f"sides must be in [1, {MOST_SIDE}], got {width} x {height}")
    return height, width


def write_images(folder: str | Path, images: Mapping[str, Pixels]) -> Path:
    """Write arrays as PNG files, to be annotated like any folder of images.

    Args:
        folder: made where it is missing.
        images: uint8 ``(H, W, 3)`` or ``(H, W)`` by name; a name ends in ``.png`` and may begin
            with a folder, which :meth:`ImageFolder.class_of` takes for the class.

    Returns:
        The folder.

    Raises:
        ValueError: a name that is no PNG file below the folder, or pixels that are no image.
    """
    for name, pixels in images.items():
        parts = PurePosixPath(name).parts
        if not name.endswith(".png") or any(p in ("/", "..") or p.startswith(".") for p in parts):
            raise ValueError(f"name must be that of a .png file below the folder, got {name!r}")
        if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
            raise ValueError(
                f"{name} must be uint8 (H, W) or (H, W, 3), got {pixels.dtype} of {pixels.shape}"
            )
        with project.write_atomic(Path(folder) / name) as temporary:
            Image.fromarray(pixels).save(temporary)
    return Path(folder)
