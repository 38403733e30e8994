"""Small files that unpack to far too much, lead out of their folder, or never end."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pycocotools import mask as coco_mask

from xblcore.datasets import cifar10, coco_2014, coco_pixels, collection
from xblcore.datasets.coco_format import Annotated, Picture
from xblcore.widgets import exchange
from xblcore.widgets.folder import ImageFolder

MIB = 2**20


def peak(call) -> int:
    """The most bytes of Python and NumPy that a call held, be it refused or not."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- archives ------------------------------------------------------------------------------------

MEMBER = "annotations/instances_val2014.json"


def understated(method: int, unpacked: int) -> bytes:
    """A .zip archive whose member unpacks to more than the ten bytes that it announces."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(MEMBER, bytes(unpacked))
    size = struct.pack("<I", unpacked)
    assert file.getvalue().count(size) == 2
    return file.getvalue().replace(size, struct.pack("<I", 10))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (zipfile.ZIP_DEFLATED, "x must be a whole .zip archive, got: Bad CRC-32"),
        (zipfile.ZIP_BZIP2, f"{MEMBER} must be deflated, got method 12"),
        (zipfile.ZIP_LZMA, f"{MEMBER} must be deflated, got method 14"),
    ],
)
def test_a_zip_archive_that_understates_its_size(method, message):
    packed = understated(method, 64 * MIB + 1)
    assert peak(lambda: coco_2014.read_member(packed, MEMBER, name="x")) < MIB
    with pytest.raises(ValueError, match=message):
        coco_2014.read_member(packed, MEMBER, name="x")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_archive_whose_extra_headers_are_large(kind):
    """Of a header before a member, such as a long name, no more is held than of a member."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, cifar10.MOST_BYTES + 1
    packed = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size), 1)
    assert peak(lambda: cifar10.read_members(packed, cifar10.TEST, name="x")) < MIB
    with pytest.raises(ValueError, match="x must hold at most 64 members of 67108864 bytes"):
        cifar10.read_members(packed, cifar10.TEST, name="x")


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_a_member_that_is_a_device_a_folder_or_sparse(kind):
    info = tarfile.TarInfo(cifar10.TEST[0])
    info.type = kind
    packed = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ValueError, match="test_batch in x must be one plain file, got another"):
        cifar10.read_members(packed, cifar10.TEST, name="x")


# --- segmentations -------------------------------------------------------------------------------


def annotated(segmentation: object, side: int) -> Annotated:
    picture = Picture(1, "a.png", side, side, {})
    return Annotated(picture, 0, [{"id": 5, "segmentation": segmentation}])


def test_a_polygon_that_runs_to_and_fro_is_refused_before_it_is_drawn(monkeypatch):
    """Of 33 million pixels around; pycocotools takes 1.6 GB to draw it."""
    monkeypatch.setattr(coco_mask, "frPyObjects", lambda *_: pytest.fail("drawn"))
    with pytest.raises(ValueError, match="polygon of annotation 5 of a.png must be of at most 262"):
        coco_pixels.union_mask(annotated([[0, 0, 8192, 8192] * 2048], 8192))


def test_many_polygons_are_drawn_at_once_and_are_their_union():
    corners = np.random.default_rng(0).integers(0, 31, (20, 6)).tolist()
    each = [coco_pixels.union_mask(annotated([polygon], 30)) for polygon in corners]
    assert (coco_pixels.union_mask(annotated(corners, 30)) == np.logical_or.reduce(each)).all()


# --- masks and images of the annotator -----------------------------------------------------------

SIZES = {"a.png": (6, 8)}


def png(**options: object) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 6)).save(file, "PNG", **options)
    return file.getvalue()


def with_text_bomb() -> bytes:
    """A PNG file whose compressed text is of 256 MiB."""
    info = PngImagePlugin.PngInfo()
    info.add_text("a", " " * (256 * MIB), zip=True)
    return png(pnginfo=info)


def of_mode(mode: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 6)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_text_bomb, "a whole PNG image, got: Decompressed data too large"),
        (lambda: png(save_all=True, append_images=[Image.new("L", (8, 6), 255)]),
         "one channel and one frame, got mode 'L' and 2"),
        (lambda: of_mode("I;16"), "one channel and one frame, got mode 'I;16' and 1"),
        (lambda: of_mode("RGBA"), "one channel and one frame, got mode 'RGBA' and 1"),
        (lambda: of_mode("LA"), "one channel and one frame, got mode 'LA' and 1"),
    ],
    ids=["text bomb", "animated", "16 bit", "RGBA", "LA"],
)  # fmt: skip
def test_a_mask_of_another_kind(content, message, tmp_path):
    path = tmp_path / "wrong" / "a.png.png"
    path.parent.mkdir()
    path.write_bytes(content())
    assert peak(lambda: exchange.read_png(tmp_path, SIZES)) < 20 * MIB
    with pytest.raises(ValueError, match=f"wrong/a.png.png must be .*{message}"):
        exchange.read_png(tmp_path, SIZES)


def test_a_palette_is_a_mask_by_its_indices(tmp_path):
    mask = np.eye(6, 8, dtype=np.uint8)
    image = Image.fromarray(mask, "P")
    image.putpalette([9, 9, 9, 7, 7, 7])
    (tmp_path / "object").mkdir()
    image.save(tmp_path / "object" / "a.png.png")
    ((_, found),) = exchange.read_png(tmp_path, SIZES).items()
    assert (found == mask).all()


def test_what_never_ends_is_not_read(tmp_path):
    """A pipe among the files, which an archive may hold; a reader would wait for ever."""
    (tmp_path / "wrong").mkdir()
    os.mkfifo(tmp_path / "wrong" / "a.png.png")
    with pytest.raises(ValueError, match="must be a whole PNG image, got: no plain file"):
        exchange.read_png(tmp_path, SIZES)
    os.mkfifo(tmp_path / "masks.json")
    for path in (tmp_path / "masks.json", Path("/dev/zero")):
        with pytest.raises(ValueError, match="must be a COCO annotation file, got: no file, or"):
            exchange.read_coco(path, SIZES)
    os.mkfifo(tmp_path / "b.png")
    Image.new("L", (8, 6)).save(tmp_path / "a.png")
    assert ImageFolder.open(tmp_path).unreadable["b.png"] == "no plain file"


# --- manifests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "images/../../secret"])
def test_a_manifest_names_no_file_outside_of_its_folder(name, tmp_path):
    (tmp_path / "secret").write_bytes(b"")
    folder = tmp_path / "coco"
    folder.mkdir()
    document = {"request": {}, "files": {name: "0"}}
    (folder / collection.MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ValueError, match="must be a manifest, got .*a file that is not below it"):
        collection.read_manifest(folder)
