"""Trains and zebras from MS-COCO 2014: the annotations, and only the images that are needed.

Source: Lin et al. 2014, "Microsoft COCO: Common Objects in Context".
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from PIL import Image
from pycocotools.coco import COCO
from tqdm import tqdm

from xblcore.data.sources import TIMEOUT, DataUnavailableError, RawData, RawFile
from xblcore.data.splits import COCO_SEED, DataConfig, Drawn, clean_examples, draw_splits
from xblcore.distance import Mask
from xblcore.project import write_atomic

CLASSES = ("train", "zebra")
IDS = (7, 24)  # in the original annotation files
ANNOTATIONS = RawFile(
    "coco",
    "annotations_trainval2014.zip",
    "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    ("http://images.cocodataset.org/annotations/",),
)
RAW = RawData("MS-COCO", ((ANNOTATIONS,),))
# COCO's own test images have no annotations, so the test splits use its validation images.
PARTS = {"train": "train2014", "test": "val2014"}
DEFAULT_SIZE = 224

Entry = dict[str, Any]  # of an annotation file


def sources(raw: Path, config: DataConfig) -> dict[str, str] | None:
    """Checksum of the annotations, or None if these or some images are missing."""
    found = RAW.checksums(raw, config)
    return None if found is None or _absent(raw, config) else found


def fetch(raw: Path, config: DataConfig) -> None:
    """Download the annotations and as many images of each class as the config needs."""
    RAW.fetch(raw, config)
    absent = _absent(raw, config)
    try:
        with ThreadPoolExecutor(16) as workers:
            done = workers.map(lambda image: _download(raw, image), absent)
            list(tqdm(done, "images of MS-COCO", len(absent)))
    except OSError as error:
        raise DataUnavailableError(
            f"MS-COCO is not complete: {error}\nRun this again; what has arrived is kept. "
            f"Or put the images into {raw / 'coco' / 'images'}."
        ) from error


def draw(raw: Path, config: DataConfig) -> dict[str, Drawn]:
    """Draw the splits from equally many images of each class, resized to a square."""
    pools = []
    for part in PARTS:
        chosen = choose(raw, part, config)
        images = []
        for entry, mask in chosen:
            with Image.open(_path(raw, entry)) as file:
                image = file.convert("RGB").resize(mask.shape, Image.Resampling.BICUBIC)
            images.append(np.asarray(image).transpose(2, 0, 1))  # (3, size, size)
        masks = np.stack([mask for _, mask in chosen])
        examples = clean_examples(np.stack(images), np.repeat([0, 1], len(chosen) // 2), masks)
        pools.append(Drawn(examples, torch.tensor([entry["id"] for entry, _ in chosen])))
    return draw_splits(pools[0], pools[1], config)


def choose(raw: Path, part: str, config: DataConfig) -> list[tuple[Entry, Mask]]:
    """Choose as many images of each class as the config needs, with their masks, class by class.

    Images that show both classes are left out, and those whose object is too small to be seen.
    """
    coco = _read(ANNOTATIONS.path(raw), PARTS[part])
    # The test part serves two splits.
    count = config.n_test if part == "test" else -(-(config.n_train + config.n_val) // 2)
    shown = [set(coco.getImgIds(catIds=[category])) for category in IDS]
    chosen: list[tuple[Entry, Mask]] = []
    for label, category in enumerate(IDS):
        ids = sorted(shown[label] - shown[1 - label])
        generator = np.random.default_rng([config.seed, COCO_SEED, label, list(PARTS).index(part)])
        entries = coco.loadImgs([ids[n] for n in generator.permutation(len(ids))])
        size = config.image_size or DEFAULT_SIZE
        tried = ((entry, _mask(coco, entry, category, size)) for entry in entries)
        usable = list(itertools.islice((pair for pair in tried if pair[1].any()), count))
        if len(usable) < count:
            raise ValueError(
                f"images of {CLASSES[label]} in {part} must be at most {len(usable)} for MS-COCO, "
                f"got {count}; lower n_train, n_val or n_test"
            )
        chosen += usable
    return chosen


@functools.cache
def _read(path: Path, part: str) -> COCO:
    """Annotations of the two classes."""

    def ours(entry: Entry) -> Entry | None:  # the others would fill gigabytes of memory
        return entry if entry.get("category_id", IDS[0]) in IDS else None

    with zipfile.ZipFile(path) as archive:
        content = archive.read(f"annotations/instances_{part}.json")
    coco = COCO()
    coco.dataset = json.loads(content, object_hook=ours)
    coco.dataset["annotations"] = [one for one in coco.dataset["annotations"] if one is not None]
    with contextlib.redirect_stdout(io.StringIO()):  # COCO prints its progress
        coco.createIndex()
    return coco


def _mask(coco: COCO, entry: Entry, category: int, size: int) -> Mask:
    """Union of all instances of a category in an image, resized."""
    mask = np.zeros((entry["height"], entry["width"]), bool)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[entry["id"]], catIds=[category])):
        if annotation["segmentation"]:
            mask |= coco.annToMask(annotation).astype(bool)
    small = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(small, bool)


def _absent(raw: Path, config: DataConfig) -> list[Entry]:
    entries = [entry for part in PARTS for entry, _ in choose(raw, part, config)]
    return [entry for entry in entries if not _path(raw, entry).is_file()]


def _path(raw: Path, entry: Entry) -> Path:
    return raw / "coco" / "images" / str(entry["file_name"])


def _download(raw: Path, entry: Entry) -> None:
    answer = requests.get(entry["coco_url"], timeout=TIMEOUT)
    answer.raise_for_status()
    with write_atomic(_path(raw, entry)) as temporary:
        temporary.write_bytes(answer.content)
