"""Train against zebra from MS-COCO 2014: the annotations, and only the images that are needed.

Source: Lin et al. 2014, "Microsoft COCO: Common Objects in Context".
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from PIL import Image
from pycocotools.coco import COCO

from xblcore.data.sources import TIMEOUT, RawFile, download, unavailable
from xblcore.data.splits import COCO_SEED, DataConfig, Drawn, clean_examples, draw_splits
from xblcore.decoys import Mask, Pixels
from xblcore.project import sha256_of, write_atomic

log = logging.getLogger(__name__)

CLASSES = ("train", "zebra")
IDS = (7, 24)  # in the original annotation files
ANNOTATIONS = RawFile(
    "coco",
    "annotations_trainval2014.zip",
    "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    ("http://images.cocodataset.org/annotations/",),
)
# COCO's own test images have no annotations, so the test splits use its validation images.
PARTS = {"train": "train2014", "test": "val2014"}
DEFAULT_SIZE = 224
SPARE = 1.05  # a few more images than needed, in case some cannot be used

Entry = dict[str, Any]  # of an annotation file


def sources(raw: Path, config: DataConfig) -> dict[str, str] | None:
    """Checksums of annotations and image list, or None if there are too few images."""
    found = {}
    for part, count in _needed(config).items():
        path = raw / "coco" / f"instances_{part}.json"
        if not path.is_file():
            return None
        _, candidates = read_candidates(path, part, config.seed)
        names = [
            [image["file_name"] for image in images if _path(raw, image).is_file()]
            for images in candidates
        ]
        if min(map(len, names)) < count:
            return None
        found[path.name] = sha256_of(path)
        found[f"images of {part}"] = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return found


def fetch(raw: Path, config: DataConfig, progress: bool) -> None:
    """Download the annotations and as many images of each class as the config needs."""
    remedies = (
        "connect to the internet and run this again; what has arrived is kept",
        f"put {ANNOTATIONS.name} into {raw / 'coco'} and the images into {raw / 'coco' / 'images'}",
    )
    if not all((raw / "coco" / f"instances_{part}.json").is_file() for part in PARTS):
        tried = [] if ANNOTATIONS.is_valid(raw) else download(ANNOTATIONS, raw, progress=progress)
        if not ANNOTATIONS.is_valid(raw):
            raise unavailable("MS-COCO", tried, remedies)
        for part in PARTS:
            _extract(raw, part)
    wanted = []
    for part, count in _needed(config).items():
        _, candidates = read_candidates(raw / "coco" / f"instances_{part}.json", part, config.seed)
        most = min(map(len, candidates))
        if count > most:
            raise ValueError(
                f"images of each class in {part} must be at most {most} for MS-COCO, got {count}; "
                "lower n_train, n_val or n_test"
            )
        wanted += [image for images in candidates for image in images[: round(SPARE * count) + 1]]
    absent = [image for image in wanted if not _path(raw, image).is_file()]
    log.info("MS-COCO: downloading %d images", len(absent))
    # Without an answer for the first image, the others are not asked for.
    failures = [_download_image(raw, image) for image in absent[:1]]
    if not any(failures):
        with ThreadPoolExecutor(16) as workers:
            failures += workers.map(lambda image: _download_image(raw, image), absent[1:])
    if sources(raw, config) is None:
        raise unavailable("MS-COCO", [line for line in failures if line][:3], remedies)


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits from equally many images of each class.

    The object is the union of all instances of the class.
    """
    pools = []
    for part, count in _needed(config).items():
        coco, candidates = read_candidates(
            raw / "coco" / f"instances_{part}.json", part, config.seed
        )
        found = []
        for label, of_class in enumerate(candidates):
            size = config.image_size or DEFAULT_SIZE
            tried = (read_image(raw, coco, image, label, size) for image in of_class)
            usable = list(itertools.islice((image for image in tried if image), count))
            if len(usable) < count:
                raise ValueError(
                    f"usable images of {CLASSES[label]} in {part} must be at least {count}, "
                    f"got {len(usable)}; fetch again, or lower n_train, n_val or n_test"
                )
            found += usable
        images, masks, ids = zip(*found, strict=True)
        examples = clean_examples(np.stack(images), np.repeat([0, 1], count), np.stack(masks))
        pools.append(Drawn(examples, torch.tensor(ids)))
    return draw_splits(pools[0], pools[1], config)


def read_candidates(path: Path, part: str, seed: int) -> tuple[COCO, list[list[Entry]]]:
    """Read an annotation file: its index, and for each class its images in random order.

    Images that show both classes are left out.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints its progress
        coco = COCO(path)
    shown = [set(coco.getImgIds(catIds=coco.getCatIds(catNms=[name]))) for name in CLASSES]
    candidates = []
    for label in range(len(CLASSES)):
        ids = sorted(shown[label] - shown[1 - label])
        generator = np.random.default_rng([seed, COCO_SEED, label, list(PARTS).index(part)])
        candidates.append(coco.loadImgs([ids[n] for n in generator.permutation(len(ids))]))
    return coco, candidates


def read_image(
    raw: Path, coco: COCO, image: Entry, label: int, size: int
) -> tuple[Pixels, Mask, int] | None:
    """Read one image, ``(3, size, size)``, its object mask, ``(size, size)``, and its id.

    None if the image is missing, broken or not of the annotated size, or if the mask is empty.
    """
    mask = np.zeros((image["height"], image["width"]), bool)
    category = coco.getCatIds(catNms=[CLASSES[label]])
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]], catIds=category)):
        if annotation.get("segmentation"):
            mask |= coco.annToMask(annotation).astype(bool)
    small = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)
    object_mask = np.asarray(small, bool)
    try:
        with Image.open(_path(raw, image)) as file:
            rgb = file.convert("RGB")
    except OSError:
        return None
    if rgb.size != (image["width"], image["height"]) or not object_mask.any():
        return None
    pixels = np.asarray(rgb.resize((size, size), Image.Resampling.BICUBIC))  # (H, W, C)
    return pixels.transpose(2, 0, 1), object_mask, image["id"]


def _needed(config: DataConfig) -> dict[str, int]:
    """Images of each class for each part; the test part serves two splits."""
    return {"train": -(-(config.n_train + config.n_val) // 2), "test": config.n_test}


def _path(raw: Path, image: Entry) -> Path:
    return raw / "coco" / "images" / str(image["file_name"])


def _extract(raw: Path, part: str) -> None:
    """Write the annotations of the two classes to a file of their own."""

    def ours(entry: Entry) -> Entry | None:  # the other annotations would fill gigabytes of memory
        return entry if entry.get("category_id", IDS[0]) in IDS else None

    with zipfile.ZipFile(ANNOTATIONS.path(raw)) as archive:
        content = archive.read(f"annotations/instances_{PARTS[part]}.json")
    document = json.loads(content, object_hook=ours)
    annotations = [entry for entry in document["annotations"] if entry is not None]
    shown = {entry["image_id"] for entry in annotations}
    document = {
        "images": [entry for entry in document["images"] if entry["id"] in shown],
        "annotations": annotations,
        "categories": [entry for entry in document["categories"] if entry["id"] in IDS],
    }
    with write_atomic(raw / "coco" / f"instances_{part}.json") as temporary:
        temporary.write_text(json.dumps(document))


def _download_image(raw: Path, image: Entry) -> str | None:
    """Download an image; None, or why it failed."""
    try:
        answer = requests.get(image["coco_url"], timeout=TIMEOUT)
        answer.raise_for_status()
        with Image.open(io.BytesIO(answer.content)) as file:
            file.load()
    except (requests.RequestException, OSError) as error:
        return f"{image['coco_url']}: {error}"[:200]
    with write_atomic(_path(raw, image)) as temporary:
        temporary.write_bytes(answer.content)
    return None
