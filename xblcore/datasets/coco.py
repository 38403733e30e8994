"""Decoy MS-COCO from images and a COCO annotation file: one loader for original and stand-in.

A collection of either is a folder with ``instances_train.json``, ``instances_test.json``, both in
the format of COCO, and ``images/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xblcore import decoys
from xblcore.datasets.coco_format import read_instances
from xblcore.datasets.coco_pixels import read_image, resized, resized_mask, union_mask
from xblcore.datasets.collection import REMEDY, Manifest, read_manifest, read_verified
from xblcore.datasets.drawing import Drawn, Pool, draw_splits
from xblcore.datasets.settings import DataConfig

# Levels of red and blue in the released decoys, which are any from 50 to 255 and without green. A
# few of them, so that the mutual information with the label can be estimated.
RELEASED_LEVELS = (50, 118, 187, 255)


def annotation_file(which: str) -> str:
    """Name of the annotation file of ``train`` or ``test``."""
    return f"instances_{which}.json"


def request(config: DataConfig) -> Manifest:
    """What a config asks of a collection: as many images of each class as the splits can need.

    Raises:
        ValueError: the config has no size to bring the images to.
    """
    if config.image_size is None:
        raise ValueError("image_size must be a number of pixels for decoy_coco, got None")
    return {
        "images_per_class": {
            "train": -(-(config.n_train + config.n_val) // 2),  # rounded up
            "test": config.n_test,  # half of two splits
        },
        "image_size": config.image_size,
        "seed": config.seed,
    }


def released_palette() -> decoys.Pixels:
    """Colours like those of the authors' released script, uint8 ``(16, 3)``."""
    red, blue = np.meshgrid(RELEASED_LEVELS, RELEASED_LEVELS)
    return np.stack([red, np.zeros_like(red), blue], axis=-1).reshape(-1, 3).astype(np.uint8)


def read_pool(folder: Path, which: str, *, categories: Sequence[int], size: int) -> Pool:
    """All images of a collection's ``train`` or ``test``, each with the mask of its own instances.

    Args:
        folder: of the collection.
        which: ``train`` or ``test``.
        categories: ids; their order numbers the labels.
        size: side in pixels that images and masks are brought to.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not what was gathered, or not in the format of COCO.
    """
    manifest, name = read_manifest(folder), annotation_file(which)
    content = read_verified(folder, manifest, name)
    images = read_instances(content, name=name, categories=categories)
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    masks = np.empty((len(images), size, size), bool)
    for n, image in enumerate(images):
        packed = read_verified(folder, manifest, f"images/{image.picture.file_name}")
        pixels[n] = resized(read_image(packed, image.picture), size)
        masks[n] = resized_mask(union_mask(image), size)
    labels = np.array([image.label for image in images], np.int64)
    source = np.array([image.picture.id for image in images], np.int64)
    return Pool(pixels, labels, masks, source)


def draw(folder: Path, categories: Sequence[int], config: DataConfig) -> dict[str, Drawn]:
    """Decoy MS-COCO: a patch in a random corner, in training of its class's colour or ``released``.

    Args:
        folder: of the collection.
        categories: ids of the two classes.
        config: counts, seed, decoy and image size.

    Returns:
        The four disjoint splits of :func:`draw_splits`.

    Raises:
        FileNotFoundError: the collection is not there.
        ValueError: it was gathered for another config, a file of it was altered or is broken.
    """
    wanted, gathered = request(config), read_manifest(folder)["request"]
    if gathered != wanted:
        raise ValueError(f"{folder} must be gathered for {wanted}, got {gathered}; {REMEDY}")
    train, test = (
        read_pool(folder, which, categories=categories, size=wanted["image_size"])
        for which in ("train", "test")
    )
    released = config.decoy.kind == "released"
    palette = released_palette() if released else decoys.colour_palette(len(categories))
    return draw_splits(train, test, palette=palette, config=config)
