"""Masks to and from other programs: PNG files, and the format of MS-COCO.

What is read may come from anywhere: all of it is checked before any of it is used.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from xblcore.datasets.coco_format import Entry, checked
from xblcore.datasets.coco_pixels import BROKEN, encode
from xblcore.widgets.journal import mask_of
from xblcore.widgets.strokes import LAYERS, Layer, Mask, checked_layer, shown

Masks = Mapping[tuple[str, Layer], Mask]
Sizes = Mapping[str, tuple[int, int]]

CATEGORIES: dict[Layer, int] = {"object": 1, "wrong": 2}
MOST_BYTES = 2**28  # of a COCO file


def png_path(name: str, layer: Layer) -> str:
    """Where a mask lies below its folder.

    >>> png_path("zebra/001.jpg", "wrong")
    'wrong/zebra/001.jpg.png'
    """
    return f"{layer}/{name}.png"


def png_files(masks: Masks) -> dict[str, bytes]:
    """Each mask as a PNG file, 0 and 255, by :func:`png_path`."""
    files = {}
    for (name, layer), mask in masks.items():
        content = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG")
        files[png_path(name, layer)] = content.getvalue()
    return files


def read_png(folder: Path, sizes: Sizes) -> dict[tuple[str, Layer], Mask]:
    """Masks that lie by :func:`png_path`.

    Raises:
        ValueError: as :meth:`xblcore.widgets.store.AnnotationStore.import_png`.
    """
    inside = folder.resolve()
    paths = {(path, layer) for layer in LAYERS for path in (folder / layer).rglob("*.png")}
    if not paths:
        raise ValueError(
            f"folder must hold masks as <layer>/<image name>.png, layers {', '.join(LAYERS)}, "
            f"got none in {str(folder)!r}"
        )
    masks: dict[tuple[str, Layer], Mask] = {}
    for path, layer in sorted(paths):
        where = path.relative_to(folder).as_posix()
        name = path.relative_to(folder / layer).as_posix().removesuffix(".png")
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{where} must lie in the folder, got a link that leads out of it")
        size = sizes[_known(name, sizes, where)]
        masks[name, layer] = _read_mask(path, size, where)
    return masks


def coco_file(masks: Masks, sizes: Sizes) -> bytes:
    """All masks as one COCO file, each layer of an image one annotation in run lengths."""
    ids = {name: number for number, name in enumerate(sizes, start=1)}
    annotations: list[Entry] = []
    for (name, layer), mask in masks.items():
        if not mask.any():
            continue
        runs = encode(mask)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": ids[name],
                "category_id": CATEGORIES[layer],
                "segmentation": runs,
                "area": int(mask.sum()),
                "bbox": [float(side) for side in coco_mask.toBbox(runs)],
                "iscrowd": 1,  # COCO's word for a mask in run lengths
            }
        )
    images = [
        {"id": ids[name], "file_name": name, "height": height, "width": width}
        for name, (height, width) in sizes.items()
    ]
    categories = [{"id": number, "name": layer} for layer, number in CATEGORIES.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(document).encode()


def read_coco(path: Path, sizes: Sizes) -> dict[tuple[str, Layer], Mask]:
    """Masks of a COCO file by image name and layer, those of several annotations united.

    Raises:
        ValueError: as :meth:`xblcore.widgets.store.AnnotationStore.import_coco`.
    """
    document = checked(
        _parsed(path), {"images": list, "annotations": list, "categories": list}, path.name
    )
    layers: dict[int, Layer] = {}
    for entry in document["categories"]:
        category = checked(entry, {"id": int, "name": str}, f"category of {path.name}")
        try:
            layer = checked_layer(category["name"])
        except ValueError as error:
            raise ValueError(f"category of {path.name} must name a layer: {error}") from error
        if layers.setdefault(category["id"], layer) != layer:
            raise ValueError(
                f"category of {path.name} must have an id of its own, "
                f"got {category['id']} for {layers[category['id']]} and for {layer}"
            )
    names: dict[int, str] = {}
    for position, entry in enumerate(document["images"]):
        where = f"images[{position}] of {path.name}"
        image = checked(entry, {"id": int, "file_name": str, "width": int, "height": int}, where)
        name = _known(image["file_name"], sizes, where)
        if (image["height"], image["width"]) != sizes[name]:
            got = image["height"], image["width"]
            raise ValueError(f"size of {where} must be that of {name}, {sizes[name]}, got {got}")
        if image["id"] in names or name in names.values():
            raise ValueError(f"{where} must be there once, got {image['id']}, {name} again")
        names[image["id"]] = name
    masks: dict[tuple[str, Layer], Mask] = {}
    for position, entry in enumerate(document["annotations"]):
        where = f"annotations[{position}] of {path.name}"
        annotation = checked(entry, {"id": int, "image_id": int, "category_id": int}, where)
        for key, there in (("image_id", names), ("category_id", layers)):
            if annotation[key] not in there:
                raise ValueError(f"{key} of {where} must be one of the file, got {annotation[key]}")
        name, layer = names[annotation["image_id"]], layers[annotation["category_id"]]
        mask = mask_of(annotation.get("segmentation"), sizes[name], where)
        masks[name, layer] = mask | masks.get((name, layer), False)
    return masks


def _parsed(path: Path) -> object:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no file, or one of more than {MOST_BYTES} bytes")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} must be a COCO annotation file, got: {error}") from error


def _known(name: str, sizes: Sizes, where: str) -> str:
    """No path is made of a name that is not one of the images', so none leaves the folder."""
    if name not in sizes:
        raise ValueError(
            f"{where} must belong to one of the {len(sizes)} images, got {shown(name)}"
        )
    return name


def _read_mask(path: Path, size: tuple[int, int], where: str) -> Mask:
    try:
        if not path.is_file():  # of a pipe, for one, there would be no end
            raise ValueError("no plain file")
        with Image.open(path, formats=("PNG",)) as image:
            found, mode = (image.height, image.width), image.mode
            frames = getattr(image, "n_frames", 1)
            plain = mode in ("1", "L", "P") and frames == 1
            values = np.asarray(image) if found == size and plain else None
    except BROKEN as error:
        raise ValueError(f"{where} must be a whole PNG image, got: {error}") from error
    if found != size:
        raise ValueError(f"{where} must be of its image's size {size}, got {found}")
    if values is None:
        raise ValueError(
            f"{where} must be a mask in one channel and one frame, got mode {mode!r} and {frames}"
        )
    levels = sorted(np.unique(values).tolist())
    if len(levels) > 2 or (levels[0] != 0 and levels not in ([1], [255])):
        raise ValueError(
            f"{where} must hold 0 for unmarked and one other value for marked, got "
            f"{shown(levels)}; binarise it first"
        )
    marked: Mask = values != 0
    return marked
