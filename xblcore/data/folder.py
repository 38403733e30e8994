"""Read folders of images, and read and write their masks as PNG files.

Images lie in one sub-folder for each class, or all in the folder itself. The mask of
``zebra/001.jpg`` is ``annotations/<layer>/zebra/001.png``, where the layer is ``wrong`` or
``object``. Without ``annotations``, a folder ``masks`` is used, and the folder of the class can be
left out: ``masks/object/001.png``.

A mask has the size of its image as viewers show it, turned as EXIF says. Black and transparent
pixels are unmarked, all others are marked, whether stored as 1, as 255 or as a colour of a palette.
If all visible pixels are black, the opacity is the mask. For training, a mask without marks is the
same as no mask; the annotator counts such an image as done.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import struct
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from xblcore import distance
from xblcore.decoys import Pixels
from xblcore.distance import Mask
from xblcore.examples import Examples
from xblcore.project import write_atomic

Layer = Literal["wrong", "object"]
Key = tuple[str, Layer]  # an image and one of its layers
LAYERS: tuple[Layer, ...] = get_args(Layer)
ANNOTATIONS, MASKS = "annotations", "masks"
SUFFIXES = [".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"]
# What Pillow raises for a damaged file.
DAMAGED = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
BITS, PHOTOMETRIC, SAMPLES = 258, 262, 339  # tags of TIFF


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images of a folder; in ``examples``, ``decoy_mask`` is the layer ``wrong``."""

    examples: Examples  # uint8; labels are positions in classes, all 0 for a flat folder
    names: tuple[str, ...]  # path of each image below the folder, such as zebra/001.jpg
    classes: tuple[str, ...]  # empty for a flat folder
    skipped: dict[str, str]  # what is wrong with images and masks that were not read, by path


def masks_of(examples: Examples) -> dict[Layer, torch.Tensor]:
    """Return the masks ``(N, H, W)`` of each layer."""
    return {"wrong": examples.decoy_mask, "object": examples.object_mask}


def read_folder(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    classes: Sequence[str] | None = None,
    annotations: str | Path | None = None,
) -> FolderImages:
    """Read all images of a folder at one size, and the masks drawn on them.

    Masks have the size of their image; with a smaller ``size``, a pixel is marked if any pixel that
    it covers is. Files that cannot be read are left out, with a warning, and listed in ``skipped``.

    Args:
        folder: with one sub-folder for each class, or with images only.
        size: height and width; None: that of the images, which must all be the same.
        grey: one channel instead of three.
        classes: names of the sub-folders in the order of the model's logits; None: sorted.
        annotations: folder of the masks; None: ``annotations`` in the folder, or ``masks``.
    """
    if size is not None and (np.size(size) != 2 or np.min(size) < 1):
        raise ValueError(f"size must be a height and a width of at least 1, got {size}")
    if classes is not None and (not classes or len({*classes}) < len(classes)):
        raise ValueError(f"classes must be different names, or None, got {tuple(classes)}")
    root, home = Path(folder), annotations_folder(folder, annotations)
    if annotations is not None and not home.is_dir():
        warnings.warn(f"annotations: no folder {str(annotations)!r}, so no masks", stacklevel=2)
    names, skipped = find_images(root, annotations=home)
    images: dict[str, Pixels] = {}
    for name in names:
        try:
            images[name] = read_image(root / name, size=size, grey=grey)
        except DAMAGED as error:
            skipped[name] = _reason(error)
    shapes = {pixels.shape[1:] for pixels in images.values()}
    if len(shapes) != 1:
        if shapes:
            sizes = sorted(shapes)
            raise ValueError(f"folder must hold images of one size, got {sizes}; pass size=(H, W)")
        raise ValueError(f"folder must hold readable images, got {skipped}; save them as PNG")
    shape = shapes.pop()
    found = [class_of(name) for name in images]
    known = tuple(classes) if classes is not None else tuple(sorted({*found} - {""}))
    if classes is None and MASKS in known:
        like = mask_path(Path(MASKS), names[0], "object").as_posix()
        warnings.warn(
            f"folder {MASKS!r} is read as a class; masks are named like {like}", stacklevel=2
        )
    if known and (unknown := {*found} - {*known}):
        if "" in unknown:
            raise ValueError(f"classes must be None for a folder without sub-folders, got {known}")
        raise ValueError(f"classes must name every sub-folder, got {known}; add {sorted(unknown)}")

    masks = {layer: torch.zeros(len(images), *shape, dtype=torch.bool) for layer in LAYERS}
    numbers = {name: n for n, name in enumerate(images)}
    paths, stray = find_masks(home, names)
    for (name, layer), path in paths.items():
        if name not in images:
            continue
        try:
            mask = read_mask(path, image_size(root / name), image=root / name)
        except ValueError as error:
            stray[path] = str(error)
        else:
            if mask.any():
                grid = distance.to_grid(mask[None], shape)[0]
                masks[layer][numbers[name]] = torch.from_numpy(grid)
    for path, reason in stray.items():
        skipped[str(path.relative_to(root) if path.is_relative_to(root) else path)] = reason
    if skipped:
        first = ": ".join(next(iter(skipped.items())))
        warnings.warn(f"files listed in `skipped`: {len(skipped)}, such as {first}", stacklevel=2)
    examples = Examples(
        images=torch.from_numpy(np.stack(list(images.values()))),
        labels=torch.tensor([known.index(name) if known else 0 for name in found]),
        object_mask=masks["object"],
        decoy_mask=masks["wrong"],
    )
    return FolderImages(examples, tuple(images), known, skipped)


def find_images(
    folder: str | Path, *, annotations: str | Path | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """List the images of a folder by their paths below it, and the files skipped, with reasons."""
    root, home = Path(folder), annotations_folder(folder, annotations)
    if not root.is_dir():
        raise ValueError(f"folder must be an existing folder, got {str(root)!r}")
    below = [p for p in _folders(root) if p.name != ANNOTATIONS and p.resolve() != home.resolve()]
    flat, in_classes = _files(root), [path for one in below for path in _files(one)]
    skipped: dict[str, str] = {}
    if in_classes or not flat:
        misplaced = [*flat, *(path for one in below for path in _folders(one))]
        reason = "not in the folder of a class; move its images there"
        skipped = {path.relative_to(root).as_posix(): reason for path in misplaced}
    names: dict[Path, str] = {}
    for path in in_classes or flat:
        name = path.relative_to(root).as_posix()
        try:
            if path.suffix.lower() not in SUFFIXES:
                raise ValueError(f"{path.suffix} files are not read; save it as PNG")
            if name.encode(errors="ignore").decode() != name:  # cannot be shown or exported
                raise ValueError("its name is not valid Unicode; rename it")
            image_size(path)
        except DAMAGED as error:
            skipped[name] = _reason(error)
        else:
            first = names.setdefault(path.with_suffix(""), name)
            if first != name:
                skipped[name] = f"would share its masks with {first}; rename it"
    if not names:
        raise ValueError(
            "folder must hold images, directly or in one sub-folder for each class, "
            f"got {str(root)!r}" + (f"; skipped: {skipped}" if skipped else "")
        )
    return tuple(names.values()), skipped


def annotations_folder(folder: str | Path, annotations: str | Path | None = None) -> Path:
    """Return the folder of the masks: the given one, ``annotations``, or ``masks`` if it exists."""
    if annotations is not None:
        return Path(annotations)
    usual, other = Path(folder) / ANNOTATIONS, Path(folder) / MASKS
    has_masks = any((other / layer).is_dir() for layer in LAYERS)
    return other if has_masks and not usual.exists() else usual


def find_masks(home: Path, names: Sequence[str]) -> tuple[dict[Key, Path], dict[Path, str]]:
    """Find the masks of images, and list the other image files in their folder with the reason."""
    images: dict[str, list[str]] = {}  # by path without suffix, with and without the class
    for name in names:
        for stem in {_stem(name), _stem(name).rpartition("/")[2]}:
            images.setdefault(stem, []).append(name)
    found: dict[Key, Path] = {}
    skipped: dict[Path, str] = {}
    # The mask in the folder of the class comes first.
    for path in sorted(home.rglob("*"), key=lambda path: (-len(path.parts), path)):
        top, *below = path.relative_to(home).parts
        if any(part.startswith(".") for part in (top, *below)) or not _is_image(path):
            continue
        layer = next((layer for layer in LAYERS if layer == top), None)
        match = images.get(_stem("/".join(below)), [])
        if layer is None or len(match) != 1 or path.suffix.lower() != ".png":
            like = mask_path(Path(), names[0], "object").as_posix()
            skipped[path] = f"not the mask of one image that was read; name it like {like}"
        elif found.setdefault((match[0], layer), path) != path:
            skipped[path] = f"{found[match[0], layer]} is the mask of the same image; delete one"
    return found, skipped


def read_image(
    path: str | Path, *, size: tuple[int, int] | None = None, grey: bool = False
) -> Pixels:
    """Read an image as uint8 ``(C, H, W)``, rotated by its EXIF orientation, on a white ground."""
    with _opened(path) as opened:
        tags = getattr(opened, "tag_v2", {})  # of a TIFF
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("I", "F") or tags.get(SAMPLES) == (2,):
            raise ValueError("its values are 32-bit, signed or fractions; save it with 8 bits")
        if image.mode.startswith("I;16"):  # Pillow would clip at 255
            if image.has_transparency_data:
                raise ValueError("transparent with 16 bits; save it with 8 bits")
            largest = 2 ** tags.get(BITS, (16,))[0] - 1  # a TIFF may have 12 bits
            values = (np.asarray(image).astype(int) * 255 + largest // 2) // largest
            values = 255 - values if tags.get(PHOTOMETRIC) == 0 else values  # 0 is white
            image = Image.fromarray(values.astype(np.uint8))
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
    with _opened(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        if turned and image.format == "TIFF":  # turned by Pillow once it is loaded
            image.load()
            turned = False
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


def read_mask(path: Path, shape: tuple[int, int], *, image: Path | None = None) -> Mask:
    """Read a mask, bool ``(H, W)``; all False if there is no file.

    Args:
        path: of the mask.
        shape: ``(H, W)`` of its image, turned as EXIF says.
        image: path of the image. If given, a mask of the image as stored, drawn by a program that
            ignores EXIF, is turned with it. The shape shows this, unless the rotation is by 180
            degrees.
    """
    if not path.is_file():
        return np.zeros(shape, bool)
    try:
        with _opened(path) as opened:
            mask = _marked(ImageOps.exif_transpose(opened))
        if mask.shape == shape[::-1] != shape and image is not None:
            with _opened(image) as turned:
                orientation = turned.getexif().get(ExifTags.Base.Orientation, 1)
            stored = Image.fromarray(mask.astype(np.uint8))
            stored.getexif()[ExifTags.Base.Orientation] = orientation
            mask = np.asarray(ImageOps.exif_transpose(stored)) > 0
    except DAMAGED as error:
        raise ValueError(f"{path} must be a mask, got: {_reason(error)}") from error
    if mask.shape != shape:
        raise ValueError(f"{path} must be {shape} like its image, got {mask.shape}; resize it")
    return mask


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as PNG, 0 and 255, atomically."""
    with write_atomic(path) as temporary:
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(temporary, format="PNG")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    # With a path, Pillow maps the file into memory, which scrambles a TIFF that EXIF turns.
    with Path(path).open("rb") as file, Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a photo with a preview or a depth map
            raise ValueError(f"it has {frames} frames or pages; save one as a file of its own")
        yield image


def _marked(image: Image.Image) -> Mask:
    """Return which pixels of a mask are neither black nor transparent, bool ``(H, W)``."""
    if image.mode.startswith(("I", "F")):  # converting would round or clip
        values = np.asarray(image)
        mask: Mask = values > 0
    else:
        values = np.asarray(image.convert("RGBA"))  # (H, W, 4)
        visible = values[..., 3] > 0
        mask = visible & values[..., :3].any(-1)
        if not mask.any() and not visible.all():
            mask = visible
    if mask.all() and (values != values[0, 0]).any():
        raise ValueError("no pixel is black or transparent; save unmarked pixels as black")
    return mask


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    """List what looks like an image by its suffix, broken links included."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and _is_image(p))


def _is_image(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0] or ""
    known = path.suffix.lower() in SUFFIXES or kind.startswith("image/")
    return known and (path.is_file() or path.is_symlink()) and not path.is_dir()


def _stem(name: str) -> str:
    """Return a name without suffix; some systems store é as two characters."""
    return os.path.splitext(unicodedata.normalize("NFC", name))[0]


def _reason(error: BaseException) -> str:
    """Return what is wrong with a file, and the remedy."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read; save it as PNG, or remove it"
    text = str(error) or repr(error)
    return text if ";" in text else f"{text}; save or copy it again"
