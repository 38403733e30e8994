"""Stand-in for MS-COCO: sneakers and ankle boots in scenes, written in COCO's own format.

Made of Fashion-MNIST, for machines without the original; the same loader reads both.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from xblcore.datasets import coco, fashion_mnist, scenes
from xblcore.datasets.coco_format import Annotated, Picture, dump
from xblcore.datasets.coco_pixels import encode
from xblcore.datasets.collection import Collection, write_manifest
from xblcore.datasets.drawing import Drawn, Pool
from xblcore.datasets.settings import DataConfig

# As Fashion-MNIST numbers them.
CATEGORIES = (7, 9)
CLASSES = tuple(fashion_mnist.CLASSES[category] for category in CATEGORIES)
COCO_LIKE = scenes.Style(side=64, scales=(1.0, 2.0), octaves=(3, 6, 12, 24, 48), flipped=True)


def decoy_coco(raw_root: Path, config: DataConfig) -> dict[str, Drawn]:
    """Stand-in for Decoy MS-COCO; see :func:`xblcore.datasets.coco.draw`."""
    return coco.draw(raw_root / COLLECTION.name, CATEGORIES, config)


def gather(raw_root: Path, config: DataConfig, progress: bool) -> None:
    """Write the scenes as PNG images and COCO annotation files with run-length masks.

    Training scenes show garments from the training images, test scenes from the test images, each
    garment once.

    Raises:
        ValueError: more scenes asked for than there are garments; scenes too small for a garment.
        FileNotFoundError: Fashion-MNIST was not fetched.
    """
    folder, request = raw_root / COLLECTION.name, coco.request(config)
    smallest = round(28 * COCO_LIKE.scales[1])
    if request["image_size"] < smallest:
        raise ValueError(f"image_size must be at least {smallest}, got {request['image_size']}")
    style = replace(COCO_LIKE, side=request["image_size"])
    shutil.rmtree(folder, ignore_errors=True)  # other scenes, of another config
    (folder / "images").mkdir(parents=True)
    files = []
    for which, pool in zip(("train", "test"), fashion_mnist.read_pools(raw_root), strict=True):
        count = request["images_per_class"][which]
        written = [
            _write(folder, which, pool, n, style, config.seed)
            for category in CATEGORIES
            for n in _garments(pool, category, count, config.seed)
        ]
        entries = [{"id": category, "name": fashion_mnist.CLASSES[category]}
                   for category in CATEGORIES]  # fmt: skip
        (folder / coco.annotation_file(which)).write_bytes(dump(written, entries))
        files += [coco.annotation_file(which)]
        files += [f"images/{image.picture.file_name}" for image in written]
    write_manifest(folder, request, {"left_out": {"images": 0, "why": {}}}, files)


COLLECTION = Collection("coco-stand-in", coco.request, gather)


def _garments(pool: Pool, category: int, count: int, seed: int) -> list[int]:
    """Positions of the first ``count`` garments of a shuffled class."""
    of_class = np.flatnonzero(pool.labels == category)
    if count > len(of_class):
        raise ValueError(
            f"scenes of a class must be at most {len(of_class)}, got {count}; "
            "lower n_train, n_val or n_test"
        )
    shuffled = np.random.default_rng([seed, 4, category]).permutation(of_class)
    return [int(n) for n in shuffled[:count]]


def _write(
    folder: Path, which: str, pool: Pool, n: int, style: scenes.Style, seed: int
) -> Annotated:
    """One scene as a file; what the annotation file is to say of it."""
    identity, category = int(pool.source[n]), int(pool.labels[n])
    generator = np.random.default_rng([seed, 5, identity])
    pixels, mask = scenes.scene(pool.images[n, ..., 0], style, generator)
    name = f"{which}_{identity:05d}.png"
    Image.fromarray(pixels).save(folder / "images" / name, compress_level=1)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    instance = {
        "id": identity,
        "image_id": identity,
        "category_id": category,
        "segmentation": encode(mask),
        "area": int(mask.sum()),
        "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
        "iscrowd": 0,
    }
    entry = {"id": identity, "file_name": name, "width": style.side, "height": style.side}
    picture = Picture(identity, name, style.side, style.side, entry)
    return Annotated(picture, CATEGORIES.index(category), [instance])
