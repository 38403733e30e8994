"""MS-COCO: a small collection in its format with what goes wrong in practice."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from xblcore import data
from xblcore.data import cifar10, coco

TRAIN, ZEBRA, PERSON = 7, 24, 1
CATEGORIES = [
    {"id": ZEBRA, "name": "zebra"},
    {"id": PERSON, "name": "person"},
    {"id": TRAIN, "name": "train"},
]
CONFIG = data.DataConfig(n_train=4, n_val=2, n_test=1, image_size=20)
SQUARE = [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]]  # columns and rows 10 to 29
SQUARE_SMALL = torch.zeros(20, 20, dtype=torch.bool)
SQUARE_SMALL[5:15, 5:15] = True


class Collection:
    """A collection under construction; images have 40x40 pixels."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self.parts: dict[str, dict[str, list[Any]]] = {
            part: {"images": [], "annotations": [], "categories": CATEGORIES}
            for part in ("train", "test")
        }
        (raw / "coco" / "images").mkdir(parents=True)
        self.next_id = 100

    def add(self, part: str, *instances: tuple[int, Any], mode: str = "RGB", crowd: int = 0,
            on_disk: bool = True) -> int:  # fmt: skip
        """Add an image that shows instances, each a category and a segmentation."""
        number, self.next_id = self.next_id, self.next_id + 7
        name = f"COCO_{number:012d}.jpg"
        self.parts[part]["images"].append(
            {"id": number, "file_name": name, "width": 40, "height": 40,
             "coco_url": f"http://127.0.0.1:9/{name}"}
        )  # fmt: skip
        for category, segmentation in instances:
            self.parts[part]["annotations"].append(
                {"id": len(self.parts[part]["annotations"]) + 1, "image_id": number, "area": 400.0,
                 "category_id": category, "segmentation": segmentation, "iscrowd": crowd}
            )  # fmt: skip
        if on_disk:
            colour = 200 if mode == "L" else (200, 100, 0)
            Image.new(mode, (40, 40), colour).save(self.raw / "coco" / "images" / name)
        return number

    def write(self) -> None:
        with zipfile.ZipFile(coco.ANNOTATIONS.path(self.raw), "w") as archive:
            for part, name in coco.PARTS.items():
                content = json.dumps(self.parts[part])
                archive.writestr(f"annotations/instances_{name}.json", content)


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Two trains and three zebras for training, one of each for each test split."""
    monkeypatch.setattr(coco.RawFile, "is_valid", lambda file, raw: file.path(raw).is_file())
    made = Collection(tmp_path)
    for part, trains, zebras in (("train", 2, 3), ("test", 1, 1)):
        for _ in range(trains):
            made.add(part, (TRAIN, SQUARE))
        for _ in range(zebras):
            made.add(part, (ZEBRA, SQUARE))
    return made


def column_runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths, column by column, starting with those outside."""
    flat = mask.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def square() -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    return mask


@pytest.mark.parametrize(
    ("segmentation", "options"),
    [
        (SQUARE, {}),
        (SQUARE, {"mode": "L"}),
        (column_runs(square()), {"crowd": 1}),
        ([[10, 10, 20, 10, 20, 30, 10, 30], [20, 10, 30, 10, 30, 30, 20, 30]], {}),
    ],
    ids=["polygon", "grey JPEG", "crowd run lengths", "two polygons"],
)
def test_mask_and_image_are_read(
    collection: Collection, segmentation: Any, options: dict[str, Any]
) -> None:
    number = collection.add(
        "train", (TRAIN, segmentation), (PERSON, [[0, 0, 9, 0, 9, 9]]), **options
    )
    collection.write()
    splits = coco.draw(collection.raw, CONFIG)
    drawn = [splits[name] for name in ("train", "val") if number in splits[name].source]
    index = drawn[0].source.tolist().index(number)
    examples = drawn[0].examples.take(torch.tensor([index]))
    assert examples.labels.tolist() == [0]
    assert torch.equal(examples.object_mask[0], SQUARE_SMALL)
    colour = [200, 200, 200] if "mode" in options else [200, 100, 0]
    assert examples.images.float().mean((0, 2, 3)).tolist() == pytest.approx(colour, abs=3)


def test_unusable_images_are_left_out(collection: Collection) -> None:
    usable = collection.add("train", (TRAIN, SQUARE))
    left_out = {
        collection.add("train", (TRAIN, [])),  # no segmentation
        collection.add("train", (TRAIN, [[0.0, 0.0, 0.4, 0.0, 0.4, 0.4]])),  # smaller than a pixel
        collection.add("train", (TRAIN, SQUARE), (ZEBRA, SQUARE)),  # both classes
        collection.add("train", (PERSON, SQUARE)),
    }
    collection.write()
    splits = coco.draw(collection.raw, CONFIG)
    used = {number for drawn in splits.values() for number in drawn.source.tolist()}
    assert usable in used
    assert not used & left_out


def test_classes_are_balanced_and_labels_follow_the_names_of_the_categories(
    collection: Collection,
) -> None:
    collection.add("train", (TRAIN, SQUARE))
    collection.write()
    splits = coco.draw(collection.raw, CONFIG)
    labels = torch.cat([splits[name].examples.labels for name in ("train", "val")])
    assert labels.bincount().tolist() == [3, 3]
    zebras = {
        annotation["image_id"] for annotation in collection.parts["train"]["annotations"]
        if annotation["category_id"] == ZEBRA
    }  # fmt: skip
    for name in ("train", "val"):
        expected = [int(number in zebras) for number in splits[name].source.tolist()]
        assert splits[name].examples.labels.tolist() == expected


def test_too_few_images(collection: Collection) -> None:
    collection.write()
    with pytest.raises(ValueError, match="images of train in train must be at most 2 .* got 3"):
        coco.fetch(collection.raw, CONFIG)


def test_missing_images_are_downloaded_if_the_config_asks_for_the_original(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.add("train", (TRAIN, SQUARE), on_disk=False)
    collection.write()
    with pytest.raises(data.DataUnavailableError, match="MS-COCO is not complete"):
        original = dataclasses.replace(CONFIG, source="original")
        data.fetch("decoy_coco", original, raw=collection.raw)
    monkeypatch.setattr(coco, "_download", lambda *_: pytest.fail("MS-COCO was downloaded"))
    (cifar10.PACKAGE.path(collection.raw)).parent.mkdir()
    cifar10.PACKAGE.path(collection.raw).touch()
    for source in ("auto", "stand-in"):
        config = dataclasses.replace(CONFIG, source=source)
        assert data.fetch("decoy_coco", config, raw=collection.raw) == "stand-in"


def test_missing_images_are_downloaded(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        number = collection.add("train", (TRAIN, SQUARE), on_disk=False)
    collection.write()
    answer = requests.Response()
    answer.status_code, answer._content = 200, b"content of the photo"
    monkeypatch.setattr(coco.requests, "get", lambda *_, **__: answer)
    coco.fetch(collection.raw, CONFIG)
    photo = collection.raw / "coco" / "images" / f"COCO_{number:012d}.jpg"
    assert photo.read_bytes() == b"content of the photo"
    assert coco.sources(collection.raw, CONFIG) is not None


def test_task_is_built_from_the_original_where_it_is_complete(collection: Collection) -> None:
    collection.add("train", (TRAIN, SQUARE))
    collection.write()
    out = collection.raw / "built"
    assert data.fetch("decoy_coco", CONFIG, raw=collection.raw) == "original"  # source: auto
    data.build("decoy_coco", CONFIG, raw=collection.raw, out=out)
    assert data.info("decoy_coco", root=out)["classes"] == ["train", "zebra"]
    examples = data.load("decoy_coco", split="train", root=out)
    assert examples.images.shape == (4, 3, 20, 20)
    assert examples.decoy_mask.sum((1, 2)).tolist() == [16 * 16] * 4
