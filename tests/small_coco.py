"""A small COCO in the original format: annotation archive and JPEG images, made of rectangles."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
from PIL import Image

from xblcore.datasets import coco_2014
from xblcore.datasets.coco_pixels import encode

TRAIN, ZEBRA = coco_2014.CATEGORIES
PERSON = 1


class SmallCoco:
    """Images of train, zebra, both or neither, of different sizes, in no order.

    Attributes:
        archive: the .zip of annotations.
        files: address below the mirror to content, the archive among them.
        masks: file name to the union of the instances of its category, ``(H, W)``.
        labels: file name to 0 or 1, of the images that show one category alone.
        documents: ``train2014`` and ``val2014`` to their annotations.
    """

    def __init__(self, *, train: int = 7, test: int = 4):
        self.generator = np.random.default_rng(0)
        self.files: dict[str, bytes] = {}
        self.masks: dict[str, np.ndarray] = {}
        self.labels: dict[str, int] = {}
        self.documents = {}
        for folder, count, first in (("train2014", train, 500), ("val2014", test, 100)):
            shown = [(TRAIN,)] * count + [(ZEBRA,)] * count + [(TRAIN, ZEBRA), (PERSON,)]
            ids = self.generator.permutation(np.arange(first, first + len(shown)))
            entries, instances = [], []
            for number, categories in zip(ids.tolist(), shown, strict=True):
                entry, own = self._image(folder, number, categories)
                entries.append(entry)
                instances += own
            self.generator.shuffle(instances)
            self.documents[folder] = {
                "info": {"year": 2014},
                "images": entries,
                "annotations": instances,
                "categories": [{"id": i, "name": str(i)} for i in (PERSON, TRAIN, ZEBRA)],
            }
        self.archive = pack(self.documents)
        self.files[f"annotations/{coco_2014.ARCHIVE}"] = self.archive
        self.sha256 = hashlib.sha256(self.archive).hexdigest()

    def _image(self, folder, number, categories):
        width, height = self.generator.integers(40, 90, 2).tolist()
        name = f"COCO_{folder}_{number:012d}.jpg"
        pixels = self.generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.convert("L" if number % 5 == 0 else "RGB").save(file, "JPEG", quality=95)
        self.files[f"{folder}/{name}"] = file.getvalue()
        union, instances = np.zeros((height, width), bool), []
        for category in (*categories, categories[0], PERSON):
            form = ("polygon", "counts", "packed")[len(self.masks) % 3 - len(instances) % 3]
            segmentation, mask = self._rectangle(width, height, form)
            instances.append(
                {
                    "id": 1000 * number + len(instances),
                    "image_id": number,
                    "category_id": category,
                    "segmentation": segmentation,
                    "iscrowd": int(form == "counts"),
                    "area": int(mask.sum()),
                    "bbox": [0, 0, width, height],
                }
            )
            if category == categories[0]:
                union |= mask
        if len(categories) == 1 and categories[0] != PERSON:
            self.labels[name] = coco_2014.CATEGORIES.index(categories[0])
        self.masks[name] = union
        entry = {"id": number, "file_name": name, "width": width, "height": height, "license": 1}
        return entry, instances

    def _rectangle(self, width, height, form):
        x, y = self.generator.integers(0, (width - 25, height - 25)).tolist()
        right, bottom = (np.array([x, y]) + self.generator.integers(10, 25, 2)).tolist()
        mask = np.zeros((height, width), bool)
        mask[y:bottom, x:right] = True
        if form == "polygon":
            return [[x, y, right, y, right, bottom, x, bottom]], mask
        return (
            encode(mask) if form == "packed" else {"size": [height, width], "counts": runs(mask)}
        ), mask


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths, column by column, of zeros first."""
    flat = np.concatenate([[False], mask.T.ravel()])
    ends = [*np.flatnonzero(np.diff(flat)), mask.size]
    return np.diff([0, *ends]).tolist()


def pack(documents: dict[str, object]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, document in documents.items():
            archive.writestr(f"annotations/instances_{folder}.json", json.dumps(document))
            archive.writestr(f"annotations/captions_{folder}.json", "{}")
    return file.getvalue()
