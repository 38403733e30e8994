"""Decoy MS-COCO: the format, what is broken in it, and fetching only the images needed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import json
import os
import zipfile
import zlib

import numpy as np
import pytest
import serving
import small_coco
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from xblcore import datasets, decoys
from xblcore.datasets import coco, coco_2014, coco_pixels, sources
from xblcore.datasets.coco_format import Annotated, Picture, dump, read_instances
from xblcore.datasets.coco_pixels import encode, read_image, resized_mask, union_mask
from xblcore.datasets.download import download
from xblcore.datasets.settings import DataConfig, DecoyConfig
from xblcore.datasets.tasks import TASKS, Recipe

TASK = "decoy_coco"
SMALL = small_coco.SmallCoco()
CONFIG = DataConfig(
    n_train=6, n_val=2, n_test=2, seed=0, decoy=DecoyConfig(size=4), data="original", image_size=32
)
bounded = settings(max_examples=100, deadline=None, derandomize=True)


@pytest.fixture
def server(monkeypatch):
    """The small COCO on two mirrors, in place of the original; stalls are soon given up."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving.running() as server:
        server.files |= SMALL.files
        mirrors = (server.mirror("a", "ok"), server.mirror("b", "ok"))
        source = dataclasses.replace(
            coco_2014.SOURCE,
            files={coco_2014.ARCHIVE: SMALL.sha256},
            mirrors=tuple(f"{mirror}annotations/" for mirror in mirrors),
        )
        recipe = dataclasses.replace(TASKS[TASK]["original"], sources=(source,))
        monkeypatch.setattr(coco_2014, "SOURCE", source)
        monkeypatch.setattr(coco_2014, "MIRRORS", mirrors)
        monkeypatch.setitem(TASKS, TASK, TASKS[TASK] | {"original": recipe})
        monkeypatch.setattr(
            coco_2014, "fetch_images", functools.partial(coco_2014.fetch_images, patience=1.5)
        )
        monkeypatch.setattr(sources, "download", functools.partial(download, patience=1.5))
        yield server


def fetch(raw_root, config=CONFIG):
    return datasets.fetch_task(TASK, config, raw_root=raw_root, progress=False)


def manifest(raw_root):
    return json.loads((raw_root / "coco-2014" / "manifest.json").read_text())


def chosen(raw_root):
    """Names of the images that were chosen."""
    files = manifest(raw_root)["files"]
    return {name.removeprefix("images/") for name in files if name.startswith("images/")}


# --- the whole way -------------------------------------------------------------------------------


def test_only_the_images_needed_are_fetched_and_built(server, tmp_path):
    assert fetch(tmp_path) == "original"
    names = chosen(tmp_path)
    assert len(names) == 12
    assert sum(SMALL.labels[name] for name in names) == 6, "both classes alike, none with both"
    assert sum(server.counts.values()) == 13 and set(server.counts.values()) == {1}

    datasets.build(TASK, CONFIG, raw_root=tmp_path, out_root=tmp_path / "out")
    about = datasets.manifest(TASK, root=tmp_path / "out")
    assert about["data"] == "original" and about["classes"] == ["train", "zebra"]
    assert about["gathered"]["left_out"] == {"images": 0, "why": {}}
    assert about["config"]["data"] == "original"
    by_id = {int(name.split("_")[-1][:-4]): name for name in SMALL.labels}
    seen = set()
    for base in ("train", "val", "test_decoy", "test_clean"):
        split = datasets.load(TASK, split=base, root=tmp_path / "out")
        source = datasets.source_index(TASK, split=base, root=tmp_path / "out").tolist()
        assert split.images.shape[1:] == (3, 32, 32) and not seen & set(source)
        seen |= set(source)
        for n, image_id in enumerate(source):
            name = by_id[image_id]
            assert ("val2014" in name) == base.startswith("test")
            assert split.labels[n] == SMALL.labels[name]
            truth = resized_mask(SMALL.masks[name], 32) & ~split.decoy_mask[n]
            assert (split.object_mask[n] == truth).all()


def test_masks_are_the_union_of_all_instances_paired_by_id():
    """Polygons, run lengths and packed ones, in a file that is in no order."""
    for folder, document in SMALL.documents.items():
        images = read_instances(
            json.dumps(document).encode(), name="x", categories=coco_2014.CATEGORIES
        )
        assert [i.picture.id for i in images] == sorted(i.picture.id for i in images)
        assert {image.picture.file_name: image.label for image in images} == {
            name: label for name, label in SMALL.labels.items() if folder in name
        }
        for image in images:
            assert (union_mask(image) == SMALL.masks[image.picture.file_name]).all()
            assert all(i["image_id"] == image.picture.id for i in image.instances)


def test_a_small_profile_is_a_part_of_a_large_one_and_its_images_are_kept(server, tmp_path):
    fetch(tmp_path)
    small = chosen(tmp_path)
    fetch(tmp_path, dataclasses.replace(CONFIG, n_train=9))
    assert small < chosen(tmp_path)
    assert set(server.counts.values()) == {1}, "nothing was fetched twice"
    assert len(chosen(tmp_path)) == 16


# --- what fails on the way -----------------------------------------------------------------------


def first_chosen(server, tmp_path):
    """A chosen training image of class 0, by a fetch elsewhere."""
    fetch(tmp_path / "elsewhere")
    server.counts.clear()
    names = sorted(n for n in chosen(tmp_path / "elsewhere") if "train2014" in n)
    return next(name for name in names if SMALL.labels[name] == 0)


@pytest.mark.parametrize(
    "script", [["500", "ok"], ["truncated", "ok"], ["404"], ["wrong"], ["stalls"]], ids=str
)
def test_a_failure_of_one_mirror_is_made_good_by_the_other(server, tmp_path, script):
    name = first_chosen(server, tmp_path)
    server.scripts[f"a/train2014/{name}"] = script
    fetch(tmp_path)
    assert name in chosen(tmp_path) and manifest(tmp_path)["left_out"]["images"] == 0


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("404", "404 Client Error"),
        ("wrong", "must be a whole JPEG or PNG image, got: cannot ident"),
    ],
)
def test_an_image_that_is_not_to_be_had_is_left_out_and_counted(server, tmp_path, act, why, caplog):
    name = first_chosen(server, tmp_path)
    for mirror in "ab":
        server.scripts[f"{mirror}/train2014/{name}"] = [act]
    fetch(tmp_path)
    assert server.counts[f"train2014/{name}"] == 4, "tried twice on both mirrors"
    assert name not in chosen(tmp_path) and len(chosen(tmp_path)) == 12, "another took its place"
    left_out = manifest(tmp_path)["left_out"]
    assert left_out["images"] == 1 and why in left_out["why"][name]
    assert "1 images were left out" in caplog.text and name in caplog.text
    assert not list((tmp_path / "coco-2014").rglob("*.part"))
    datasets.build(TASK, CONFIG, raw_root=tmp_path, out_root=tmp_path / "out")
    assert datasets.manifest(TASK, root=tmp_path / "out")["gathered"]["left_out"] == left_out


def test_what_arrived_is_kept_and_what_was_half_is_continued(server, tmp_path):
    name = first_chosen(server, tmp_path)
    content = SMALL.files[f"train2014/{name}"]
    folder = tmp_path / "coco-2014" / "images"
    folder.mkdir(parents=True)
    (folder / f"{name}.part").write_bytes(content[: len(content) // 2])
    fetch(tmp_path)
    assert ("a", f"bytes={len(content) // 2}-") in server.asked
    assert (folder / name).read_bytes() == content
    # Half of it under its own name, as other programs would leave it, and one gone.
    other = next(n for n in chosen(tmp_path) if n != name)
    (folder / name).write_bytes(content[: len(content) // 2])
    (folder / other).unlink()
    server.counts.clear()
    with pytest.raises(ValueError, match=f"sha256 of .*{name} must be .* run: python -m"):
        coco.read_pool(tmp_path / "coco-2014", "train", categories=(7, 24), size=32)
    fetch(tmp_path)
    assert {n.split("/")[1] for n in server.counts} == {name, other}
    datasets.build(TASK, CONFIG, raw_root=tmp_path, out_root=tmp_path / "out")


def test_a_network_that_goes_away_ends_it_in_time_and_auto_takes_the_stand_in(
    server, tmp_path, monkeypatch, caplog
):
    for mirror in "ab":
        server.scripts[mirror] = ["stalls"]
        server.scripts[f"{mirror}/annotations/{coco_2014.ARCHIVE}"] = ["ok"]
    with pytest.raises(FileNotFoundError, match="train in train2014 must come from .* got nothing"):
        fetch(tmp_path)
    tries = coco_2014.TRIES * 4 * 2  # of an image, rounds over two mirrors, if nothing ended them
    assert 0 < max(server.counts.values()) < tries
    assert not (tmp_path / "coco-2014" / "manifest.json").exists()
    monkeypatch.setitem(TASKS, TASK, TASKS[TASK] | {"stand-in": Recipe(lambda *_: {}, (), ())})
    assert fetch(tmp_path, dataclasses.replace(CONFIG, data="auto")) == "stand-in"
    assert "FALLING BACK TO THE STAND-IN" in caplog.text


def test_too_few_images_are_an_error_with_a_remedy(server, tmp_path):
    with pytest.raises(ValueError, match="images of train in train2014 must be at most 7, got 8; "):
        fetch(tmp_path, dataclasses.replace(CONFIG, n_train=14))
    for mirror in "ab":
        for name in SMALL.labels:
            if "val2014" in name:
                server.scripts[f"{mirror}/val2014/{name}"] = ["404"]
    with pytest.raises(FileNotFoundError, match="images of train in val2014 must be 2, got 0 that"):
        fetch(tmp_path)
    with pytest.raises(ValueError, match="image_size must be a number of pixels for decoy_coco"):
        fetch(tmp_path, dataclasses.replace(CONFIG, image_size=None))


def test_an_image_with_a_bad_annotation_or_a_vanishing_object_is_left_out():
    picture = Picture(1, "a.png", 64, 64, {})
    bad = Annotated(picture, 0, [{"id": 1, "segmentation": [[0, 0, 99, 0, 99, 9]]}])
    tiny = Annotated(
        dataclasses.replace(picture, file_name="b.png"),
        0,
        [{"id": 2, "segmentation": [[1, 1, 2, 1, 2, 2, 1, 2]]}],
    )
    why = {}
    assert list(coco_2014._usable([bad, tiny], 8, why)) == []
    assert "x of annotation 1 of a.png must lie in its image" in why["a.png"]
    assert why["b.png"] == "its object vanishes at 8x8"


def test_a_released_decoy_is_of_the_released_colours(server, tmp_path):
    fetch(tmp_path)
    config = dataclasses.replace(CONFIG, decoy=DecoyConfig(size=4, kind="released"))
    datasets.build(TASK, config, raw_root=tmp_path, out_root=tmp_path)
    split = datasets.load(TASK, split="train", root=tmp_path)
    colours = np.rint(255 * split.images.transpose(0, 2, 3, 1)[split.decoy_mask])
    assert (colours[:, 1] == 0).all() and (colours[:, [0, 2]] >= 50).all()
    assert len(np.unique(coco.released_palette(), axis=0)) == 16
    predictive = decoys.colour_palette(2)
    assert not (coco.released_palette()[:, None] == predictive).all(-1)[:, 1].any()


# --- annotation files ----------------------------------------------------------------------------

IMAGE = {"id": 3, "file_name": "a.jpg", "width": 8, "height": 6}
INSTANCE = {"id": 5, "image_id": 3, "category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 3]]}
DOCUMENT = {"images": [IMAGE], "annotations": [INSTANCE]}


def read(document):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_instances(content, name="x.json", categories=(7, 24))


def changed(**changes):
    """The document with some fields of its image (or ``a_...`` of its annotation) changed."""
    document = copy.deepcopy(DOCUMENT)
    for key, value in changes.items():
        target = document["annotations" if key.startswith("a_") else "images"][0]
        if value is None:
            del target[key.removeprefix("a_")]
        else:
            target[key.removeprefix("a_")] = value
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "x.json must be a COCO annotation file, got: Expecting property name"),
        (b"\xff\xfe", "x.json must be a COCO annotation file, got: "),
        (b"[" * 100_000, "x.json must be a COCO annotation file, got: maximum recursion"),
        ([], "x.json must be a mapping, got list"),
        ({"images": []}, r"x.json must have the field 'annotations', got only \['images'\]"),
        ({"images": {}, "annotations": []}, "images of x.json must be of type list, got {}"),
        (changed(width=None), r"images\[0\] of x.json must have the field 'width', got only"),
        (changed(id=None), r"images\[0\] of x.json must have the field 'id'"),
        (changed(height="6"), r"height of images\[0\] of x.json must be of type int, got '6'"),
        (changed(height=True), r"height of images\[0\] of x.json must be of type int, got True"),
        (changed(height=0), r"height of images\[0\] of x.json must be in \[1, 2048\], got 0"),
        (changed(width=10**9), r"width of images\[0\] of x.json must be in \[1, 2048\], got 10000"),
        (changed(file_name="../../a.jpg"), "file_name of .* must be a plain name .* got '../../a"),
        (changed(file_name="/etc/a.jpg"), "file_name of .* must be a plain name"),
        (changed(file_name="a\\b.jpg"), "file_name of .* must be a plain name"),
        (changed(file_name=".jpg"), "file_name of .* must be a plain name"),
        (changed(file_name="a.jpg\n"), "file_name of .* must be a plain name"),
        (changed(file_name="a.py"), "file_name of .* must be a plain name that ends in .jpg"),
        (changed(file_name="a" * 999 + ".jpg"), "file_name of .* must be a plain name"),
        (changed(a_image_id=None), r"annotations\[0\] of x.json must have the field 'image_id'"),
        (changed(a_category_id=None), r"annotations\[0\] of x.json must have the field 'category"),
        (changed(a_category_id=[7]), r"category_id of annotations\[0\] of x.json must be of type"),
        (changed(a_id=None), r"annotations\[0\] of x.json must have the field 'id'"),
        (
            changed(a_image_id=4),
            r"image_id of annotations\[0\] of x.json must be the id of an image, got 4",
        ),
        (
            {"images": [IMAGE, IMAGE], "annotations": []},
            "ids of images in x.json must be distinct, got 3 again",
        ),
        ({"images": [7], "annotations": []}, r"images\[0\] of x.json must be a mapping, got int"),
    ],
)  # fmt: skip
def test_an_annotation_file_that_is_broken(document, message):
    with pytest.raises(ValueError, match=message):
        read(document)


POLYGON, COUNTS = "polygon of annotation 5 of a.jpg must be", "counts of annotation 5 of a.jpg must"


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "annotation 5 of a.jpg must have the field 'segmentation', got none"),
        ([], r"segmentation of annotation 5 of a.jpg must be polygons or run lengths, got \[\]"),
        ("abc", "segmentation of annotation 5 of a.jpg must be polygons or run lengths"),
        ([[0, 0, 1, 1]], f"{POLYGON} a list of 3 to 4096 pairs of numbers"),
        ([[0, 0, 1, 1, 2]], POLYGON),
        ([[0, 0, 1, 1, 2, "3"]], POLYGON),
        ([[0, 0] * 5000], POLYGON),
        ([7], POLYGON),
        ([[0, 0, 9.5, 0, 4, 3]], r"x of annotation 5 of a.jpg must lie in its image, in \[0, 8\]"),
        ([[0, 0, 4, -2, 4, 3]], r"y of annotation 5 of a.jpg must lie in its image, in \[0, 6\]"),
        ([[0, 0, float("nan"), 0, 4, 3]], "x of annotation 5 of a.jpg must lie .* got nan"),
        ([[0, 0, 1e300, 0, 4, 3]], "x of annotation 5 of a.jpg must lie .* got 1e"),
        ({"counts": [48]}, "segmentation of annotation 5 of a.jpg must have the field 'size'"),
        (
            {"size": [8, 6], "counts": [48]},
            r"size of annotation 5 of a.jpg must be that of its image, \[6, 8\], got \[8, 6\]",
        ),
        ({"size": [6, 8]}, COUNTS),
        ({"size": [6, 8], "counts": [47]}, f"{COUNTS} be run lengths that add up to 48, its pix"),
        ({"size": [6, 8], "counts": [49, -1]}, COUNTS),
        ({"size": [6, 8], "counts": [10**12]}, COUNTS),
        ({"size": [6, 8], "counts": [48.0]}, COUNTS),
        ({"size": [6, 8], "counts": "0"}, COUNTS),  # pycocotools returns freed memory for these
        ({"size": [6, 8], "counts": ""}, COUNTS),
        ({"size": [6, 8], "counts": "\u00ff"}, f"{COUNTS} be packed run lengths, got"),
        ({"size": [6, 8], "counts": "P"}, f"{COUNTS} be packed run lengths, got a truncated one"),
        ({"size": [6, 8], "counts": "o" * 99}, f"{COUNTS} be packed run lengths"),
    ],
)  # fmt: skip
def test_a_segmentation_that_is_broken_or_outside_its_image(segmentation, message):
    (image,) = read(changed(a_segmentation=segmentation))
    with pytest.raises(ValueError, match=message):
        union_mask(image)


def test_a_vertex_may_lie_a_rounding_error_outside():
    (image,) = read(changed(a_segmentation=[[-0.5, -1, 9, -1, 9, 7, -0.5, 7]]))
    assert union_mask(image).all()


def test_what_is_written_is_read_again():
    images = read(DOCUMENT)
    again = read(dump(images, [{"id": 7, "name": "train"}]))
    assert [vars(i.picture) for i in again] == [vars(i.picture) for i in images]
    assert again[0].instances == images[0].instances


@bounded
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_run_lengths_are_those_of_pycocotools(height, width, share, seed):
    mask = np.random.default_rng(seed).random((height, width)) < share
    picture = Picture(1, "a.png", width, height, {})
    for segmentation in (encode(mask), {"size": [height, width], "counts": small_coco.runs(mask)}):
        image = Annotated(picture, 0, [{"id": 1, "segmentation": segmentation}])
        assert (union_mask(image) == mask).all()
    assert (coco_mask.decode(encode(mask)) == mask).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
segmentations = st.one_of(
    json_values,
    st.lists(st.lists(st.floats(-2, 10) | st.integers(-1, 9), max_size=9), max_size=3),
    st.builds(
        lambda counts: {"size": [6, 8], "counts": counts},
        st.text(st.characters(min_codepoint=47, max_codepoint=112), max_size=8)
        | st.lists(st.integers(0, 48), max_size=6),
    ),
)


@bounded
@given(segmentations)
def test_any_segmentation_is_a_mask_or_an_error(segmentation):
    image = Annotated(Picture(3, "a.jpg", 8, 6, {}), 0, [{"id": 5, "segmentation": segmentation}])
    try:
        mask = union_mask(image)
    except ValueError as error:
        assert len(str(error)) < 500
    else:
        assert mask.shape == (6, 8) and mask.dtype == bool
        again = union_mask(image)
        assert (mask == again).all()


@bounded
@given(
    json_values,
    st.sampled_from(["id", "file_name", "width", "a_id", "a_image_id", "a_category_id"]),
)
def test_any_field_is_read_or_an_error(value, key):
    try:
        images = read(changed(**{key: value}))
    except ValueError as error:
        assert len(str(error)) < 500
    else:
        assert len(images) <= 1


@bounded
@given(st.binary(max_size=60))
def test_any_bytes_are_no_annotation_file(content):
    with pytest.raises(ValueError):
        read(content)


# --- images and archives -------------------------------------------------------------------------


def saved(kind, size=(8, 6)):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


PICTURE = Picture(3, "a.jpg", 8, 6, {})
# A whole header, honest about 900 million pixels.
BOMB = bytearray(saved("PNG"))
BOMB[16:24] = (30_000).to_bytes(4, "big") * 2
BOMB[29:33] = zlib.crc32(BOMB[12:29]).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.jpg must be a whole JPEG or PNG image, got: cannot identify"),
        (b"<html>404</html>", "a.jpg must be a whole JPEG or PNG image, got: cannot identify"),
        (saved("GIF"), "a.jpg must be a whole JPEG or PNG image, got: cannot identify"),
        (saved("JPEG")[:-60], "a.jpg must be a whole JPEG or PNG image, got: "),
        (saved("PNG")[:-60], "a.jpg must be a whole JPEG or PNG image, got: "),
        (saved("JPEG", (6, 8)), r"a.jpg must be of the annotated size \(8, 6\), got \(6, 8\)"),
        (bytes(BOMB), "a.jpg must be .* exceeds limit of .* decompression bomb"),
    ],
)  # fmt: skip
def test_an_image_that_is_none(content, message):
    with pytest.raises(ValueError, match=message):
        read_image(content, PICTURE)


@bounded
@given(st.sampled_from(["JPEG", "PNG"]), st.data())
def test_an_image_with_changed_bytes_is_an_image_or_an_error(kind, data):
    content = bytearray(saved(kind))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read_image(bytes(content), PICTURE)
    except ValueError:
        return
    assert image.size == (8, 6) and image.mode == "RGB"


MEMBER = "annotations/instances_val2014.json"


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "x must be a whole .zip archive, got: File is not a zip file"),
        (zipped(b"{}")[:-30], "x must be a whole .zip archive, got: "),
        (zipped(b"{}").replace(b"val2014", b"vat2014"), f"x must hold {MEMBER}, got no such"),
        (zipped(b"0" * 99)[:60] + b"?" + zipped(b"0" * 99)[61:], "x must be a whole .zip archive"),
    ],
)
def test_an_archive_that_is_broken(packed, message):
    with pytest.raises(ValueError, match=message):
        coco_2014.read_member(packed, MEMBER, name="x")


def test_an_archive_that_unpacks_to_too_much(monkeypatch):
    monkeypatch.setattr(coco_2014, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=f"{MEMBER} must be of at most 1000 bytes, got 1001"):
        coco_2014.read_member(zipped(b"0" * 1001), MEMBER, name="x")


def test_images_are_anti_aliased_and_masks_are_not():
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None], 3, -1).astype(np.uint8))
    small = coco_pixels.resized(image, 8)
    assert small.shape == (8, 8, 3) and abs(small.astype(int) - 127).max() < 20
    same = coco_pixels.resized(image, 64)
    assert (same == np.asarray(image)).all()


def test_the_original_has_two_independent_mirrors():
    assert len({mirror.split("/")[2] for mirror in coco_2014.MIRRORS}) == 2
    assert [m.removesuffix("annotations/") for m in coco_2014.SOURCE.mirrors] == [
        *coco_2014.MIRRORS
    ]
    assert os.path.splitext(coco_2014.ARCHIVE)[1] == ".zip"
