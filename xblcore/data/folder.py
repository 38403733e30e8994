"""Images of a folder, and masks drawn on them, as files that any program can read.

Images lie in one sub-folder for each class, or all in the folder itself. Masks lie in
``annotations/<layer>/<class>/<name>.png``: one PNG for each image and layer, at the resolution of
the image, 0 where nothing is marked. The layers are ``wrong`` and ``object``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from xblcore import distance, project
from xblcore.decoys import Mask, Pixels
from xblcore.examples import Examples

Layer = Literal["wrong", "object"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
ANNOTATIONS = "annotations"
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What Pillow raises for a damaged file.
DAMAGED = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images of a folder; in ``examples``, ``decoy_mask`` is the layer ``wrong``."""

    examples: Examples  # uint8; labels are positions in classes, all 0 for a flat folder
    names: tuple[str, ...]  # path of each image below the folder, such as zebra/001.jpg
    classes: tuple[str, ...]  # empty for a flat folder
    skipped: dict[str, str]  # why a file was not read, by its path below the folder


def read_folder(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    classes: Sequence[str] | None = None,
    annotations: str | Path | None = None,
) -> FolderImages:
    """Read all images of a folder at one size, and the masks drawn on them.

    A pixel of a smaller mask is marked if any pixel that it covers is.

    Args:
        folder: with one sub-folder for each class, or with images only.
        size: height and width; None: that of the images, which must all be the same.
        grey: one channel instead of three.
        classes: names of the sub-folders in the order of the model's logits; None: sorted.
        annotations: folder of the masks; None: ``annotations`` in the folder.
    """
    root, home = Path(folder), Path(annotations or Path(folder) / ANNOTATIONS)
    names, skipped = find_images(root)
    images: dict[str, Pixels] = {}
    for name in names:
        try:
            images[name] = read_image(root / name, size=size, grey=grey)
        except DAMAGED as error:
            skipped[name] = _reason(error)
    shapes = {pixels.shape[1:] for pixels in images.values()}
    if len(shapes) != 1:
        raise ValueError(
            "folder must hold images of one size, or size must be given, "
            f"got {len(shapes)} sizes" + (f"; skipped: {skipped}" if skipped else "")
        )
    shape = shapes.pop()
    found = [class_of(name) for name in images]
    known = tuple(classes) if classes is not None else tuple(sorted({*found} - {""}))
    if known and (unknown := {*found} - {*known}):
        raise ValueError(f"classes must have every sub-folder, got {known} without {unknown}")

    def masks(layer: Layer) -> Tensor:
        layers = torch.zeros(len(images), *shape, dtype=torch.bool)
        for n, name in enumerate(images):
            mask = read_mask(mask_path(home, name, layer), image_size(root / name))
            if mask.any():
                layers[n] = torch.as_tensor(distance.to_grid(mask[None], shape)[0])
        return layers

    examples = Examples(
        images=torch.from_numpy(np.stack(list(images.values()))),
        labels=torch.tensor([known.index(name) if known else 0 for name in found]),
        object_mask=masks("object"),
        decoy_mask=masks("wrong"),
    )
    return FolderImages(examples, tuple(images), known, skipped)


def find_images(folder: str | Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """List the images of a folder by their paths below it, and the files skipped, with reasons."""
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"folder must be an existing folder, got {str(root)!r}")
    below = sorted(p for p in root.iterdir() if p.is_dir() and p.name != ANNOTATIONS)
    flat = _files(root)
    in_classes = [path for one in below if not one.name.startswith(".") for path in _files(one)]
    skipped = {path.name: "not in the folder of a class" for path in flat if in_classes}
    names: dict[Path, str] = {}
    for path in in_classes or flat:
        name = path.relative_to(root).as_posix()
        try:
            image_size(path)
        except DAMAGED as error:
            skipped[name] = _reason(error)
            continue
        first = names.setdefault(path.with_suffix(""), name)
        if first != name:
            skipped[name] = f"would share its masks with {first}; rename it"
    if not names:
        raise ValueError(
            "folder must hold images, directly or in one sub-folder for each class, "
            f"got {str(root)!r}" + (f"; skipped: {skipped}" if skipped else "")
        )
    return tuple(names.values()), skipped


def read_image(
    path: str | Path, *, size: tuple[int, int] | None = None, grey: bool = False
) -> Pixels:
    """Read an image as uint8 ``(C, H, W)``, turned as EXIF says, on white, scaled to 8 bits."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):  # Pillow would clip at 255
            values = (np.asarray(image).astype(int) + 128) // 257
            image = Image.fromarray(values.astype(np.uint8))
        if image.mode in ("I", "F"):
            raise ValueError("32 bits for each pixel; save it with 8 or 16")
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return as_array(image.convert("RGB"), size=size, grey=grey)


def as_array(image: Image.Image, *, size: tuple[int, int] | None, grey: bool) -> Pixels:
    """Return an RGB image as uint8 ``(C, H, W)``, resized if a height and width are given."""
    image = image.convert("L") if grey else image
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    values = np.asarray(image).reshape(image.height, image.width, -1)  # (H, W, C)
    return values.transpose(2, 0, 1).copy()


def image_size(path: str | Path) -> tuple[int, int]:
    """Return height and width from the header; orientations 5 to 8 of EXIF exchange them."""
    with Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def class_of(name: str) -> str:
    """Return the folder in the name of an image, ``""`` in a flat folder."""
    return name.rpartition("/")[0]


def mask_path(home: Path, name: str, layer: Layer) -> Path:
    """Return the path of a mask.

    >>> mask_path(Path("annotations"), "zebra/001.jpg", "wrong").as_posix()
    'annotations/wrong/zebra/001.png'
    """
    return home / layer / PurePosixPath(name).with_suffix(".png")


def read_mask(path: Path, shape: tuple[int, int]) -> Mask:
    """Read a mask, bool ``(H, W)``; all False if there is no file."""
    if not path.is_file():
        return np.zeros(shape, bool)
    try:
        with Image.open(path) as opened:
            mask: Mask = np.asarray(opened.convert("L")) > 0
    except DAMAGED as error:
        raise ValueError(f"{path} must be a PNG, got: {_reason(error)}; delete it") from error
    if mask.shape != shape:
        raise ValueError(f"{path} must be {shape} like its image, got {mask.shape}; resize it")
    return mask


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as PNG, 0 and 255, atomically; an empty mask has no file."""
    if not mask.any():
        path.unlink(missing_ok=True)
        return
    with project.write_atomic(path) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)


def _files(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return [path for path in paths if path.suffix.lower() in SUFFIXES]


def _reason(error: BaseException) -> str:
    return "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
