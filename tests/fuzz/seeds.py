"""Inputs of every form of every reader, small, to begin from; the same bytes every time."""

from __future__ import annotations

import gzip
import io
import json

import archives
import numpy as np
import small_coco
import yaml
from PIL import Image
from readers import PARAMS, READERS, ROOT, TASK

from xblcore.datasets.coco_pixels import encode


def valid(reader: str) -> list[bytes]:
    """What a reader takes, the byte that chooses the form in front."""
    return _of(reader, VALID)


def refused(reader: str) -> list[bytes]:
    """What is whole and of the right kind, and yet not what the form asks for."""
    return _of(reader, REFUSED)


def _of(reader: str, by_form: dict[str, list[bytes]]) -> list[bytes]:
    return [
        bytes([number]) + content
        for number, form in enumerate(READERS[reader])
        for content in by_form.get(form.__name__, [])
    ]


def idx(kind: int, *shape: int) -> bytes:
    header = bytes([0, 0, kind, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    return header + bytes(int(np.prod(shape)))


def tar() -> bytes:
    return gzip.decompress(archives.archive({"test_batch": batch()}))


def batch() -> bytes:
    return archives.batch(np.arange(3072, dtype=np.uint16).astype(np.uint8)[None], [6])


def image(mode: str, kind: str = "PNG", size: tuple[int, int] = (8, 6), **options: object) -> bytes:
    """Black, with one pixel of the mode's highest value."""
    picture = Image.new(mode, size)
    picture.putpixel((2, 3 % size[1]), Image.new(mode, (1, 1), "white").getpixel((0, 0)))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def annotations() -> bytes:
    """One image of each of the two categories, with polygons, run lengths and packed ones."""
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:5] = True
    forms = (
        [[1, 1, 6, 1, 6.5, 5]],
        {"size": [6, 8], "counts": small_coco.runs(mask)},
        encode(mask),
    )
    document = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 8, "height": 6} for n in (3, 4)
        ],
        "annotations": [
            {"id": n, "image_id": 3 + n % 2, "category_id": (7, 24)[n % 2], "segmentation": form}
            for n, form in enumerate([*forms, forms[0]])
        ],
    }  # fmt: skip
    return json.dumps(document).encode()


def masks() -> bytes:
    mask = np.eye(6, 8, dtype=bool)
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "segmentation": encode(mask)},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3]]},
        ],
        "categories": [{"id": 1, "name": "object"}, {"id": 2, "name": "wrong"}],
    }
    return json.dumps(document).encode()


def journal() -> bytes:
    lines = [
        {"do": "open", "version": 1, "image": "a.png", "height": 6, "width": 8},
        {"do": "stroke", "layer": "wrong", "tool": "brush", "radius": 2.0, "points": [[2.5, 2.5]]},
        {"do": "paste", "layer": "object", "mask": encode(np.eye(6, 8, dtype=bool))},
        {"do": "undo"},
        {"do": "redo"},
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def zipped() -> bytes:
    return small_coco.pack({"val2014": {"images": [], "annotations": []}})


def small_settings() -> bytes:
    settings = yaml.safe_load((ROOT / "experiments" / "settings.yaml").read_text(encoding="utf-8"))
    settings["profiles"] = {"smoke": settings["profiles"]["smoke"]}
    settings["task"] = TASK
    return yaml.safe_dump(settings, sort_keys=False).encode()


def _valid() -> dict[str, list[bytes]]:
    unpacked = [idx(8, 3), idx(8, 2, 3, 4), idx(8, 0)]
    packed_tar = gzip.compress(tar(), 9, mtime=0)
    grey = [image(mode) for mode in ("1", "L", "P")]
    colour = [image(mode) for mode in ("RGB", "LA")]
    return {
        "idx_unpacked": unpacked,
        "idx_packed": [gzip.compress(content, 9, mtime=0) for content in unpacked],
        "cifar_batch": [batch()],
        "cifar_tar": [tar()],
        "cifar_archive": [packed_tar],
        "coco_annotations": [annotations()],
        "coco_image": [image("RGB"), image("RGB", "JPEG"), image("L", "JPEG", progressive=True)],
        "coco_archive": [zipped()],
        "masks_png": grey,
        "masks_coco": [masks()],
        "masks_journal": [journal()],
        "masks_images": [grey[2], *colour, image("RGB", "JPEG", size=(5, 3))],
        "params_study": [PARAMS],
        "params_experiments": [small_settings()],
    }


def _refused() -> dict[str, list[bytes]]:
    frames = {"save_all": True, "append_images": [Image.new("L", (8, 6), 255)]}
    return {"masks_png": [image("RGB"), image("LA"), image("L", **frames)]}


VALID, REFUSED = _valid(), _refused()
