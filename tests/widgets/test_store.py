"""Annotations on the disk: what survives a killed kernel, and what may not come in from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xblcore.widgets.drawing import Paste
from xblcore.widgets.folder import write_images
from xblcore.widgets.journal import Journal
from xblcore.widgets.session import Session
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import Stroke

NAMES = ("cat/1.png", "cat/2.png", "dog/1.png")
WRONG = Stroke("wrong", "brush", 2.0, ((2.5, 2.5),))
OBJECT = Stroke("object", "brush", 1.0, ((4.5, 5.5), (7.5, 5.5)))
ERASER = Stroke("wrong", "eraser", 1.0, ((2.5, 2.5),))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 255, (8, 10, 3), dtype=np.uint8) for name in NAMES}
    return write_images(tmp_path / "images", pixels)


@pytest.fixture
def store(images: Path) -> AnnotationStore:
    return AnnotationStore(images)


def journal_of(images: Path, name: str = NAMES[0]) -> Path:
    return images / "annotations" / "journal" / f"{name}.jsonl"


def state(store: AnnotationStore) -> dict[str, tuple[object, ...]]:
    return {
        name: (
            store.mask(name, "wrong").tolist(),
            store.mask(name, "object").tolist(),
            len(store.drawing(name).done),
            len(store.drawing(name).undone),
        )
        for name in store.names
    }


def test_a_reload_gives_the_same_state_undo_and_redo_included(images, store):
    store.add(NAMES[0], WRONG)
    store.add(NAMES[0], OBJECT)
    store.add(NAMES[2], WRONG)
    store.add(NAMES[2], ERASER)
    store.undo(NAMES[0])
    store.undo(NAMES[2])
    store.redo(NAMES[2])
    again = AnnotationStore(images)
    assert state(again) == state(store)
    assert again.marked == (NAMES[0], NAMES[2]) and again.notes == []
    again.redo(NAMES[0])
    assert again.mask(NAMES[0], "object").any(), "what was undone before can be done again after"
    again.undo(NAMES[0])
    again.undo(NAMES[0])
    assert AnnotationStore(images).marked == (NAMES[2],)


def test_undo_and_redo_of_nothing_write_nothing(images, store):
    store.undo(NAMES[0])
    store.redo(NAMES[0])
    assert not journal_of(images).exists()


def test_clearing_a_layer_is_one_action(images, store):
    store.add(NAMES[0], WRONG)
    store.add(NAMES[0], OBJECT)
    store.clear(NAMES[0], "wrong")
    again = AnnotationStore(images)
    assert not again.mask(NAMES[0], "wrong").any() and again.mask(NAMES[0], "object").any()
    again.undo(NAMES[0])
    assert again.mask(NAMES[0], "wrong").sum() == 13


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_half_written_last_line_is_left_out_with_a_note(images, store, cut):
    store.add(NAMES[0], WRONG)
    before = state(store)
    store.add(NAMES[0], OBJECT)
    path = journal_of(images)
    path.write_bytes(path.read_bytes()[:-cut])
    again = AnnotationStore(images)
    assert state(again) == before
    assert len(again.notes) == 1 and "never finished" in again.notes[0]
    again.add(NAMES[0], OBJECT)
    assert state(AnnotationStore(images)) == state(store), "the half line is cut off, not glued to"
    assert AnnotationStore(images).notes == []


def test_nothing_finished_is_lost_when_the_program_is_killed(images):
    """A process that ends in the middle of a line, without any clean-up."""
    script = f"""
import os
from xblcore.widgets import journal
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import Stroke
store = AnnotationStore({str(images)!r})
stroke = Stroke("wrong", "brush", 2.0, ((2.5, 2.5),))
store.add("cat/1.png", stroke)
write = journal._write
def killed(path, content, *, after):
    write(path, content[: len(content) // 2], after=after)
    os._exit(9)
journal._write = killed
store.add("cat/1.png", stroke)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == 9
    store = AnnotationStore(images)
    assert len(store.drawing(NAMES[0]).done) == 1 and len(store.notes) == 1


def test_a_failed_write_leaves_no_trace_and_does_not_count(images, store, monkeypatch):
    store.add(NAMES[0], WRONG)
    before = journal_of(images).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.add(NAMES[0], OBJECT)
    assert journal_of(images).read_bytes() == before
    assert len(store.drawing(NAMES[0]).done) == 1


def test_two_programs_lose_nothing_of_each_other(images, store):
    other = AnnotationStore(images)
    store.add(NAMES[0], WRONG)
    other.add(NAMES[0], OBJECT)
    assert len(other.drawing(NAMES[0]).done) == 2
    assert len(AnnotationStore(images).drawing(NAMES[0]).done) == 2


def test_a_damaged_line_is_named(images, store):
    store.add(NAMES[0], WRONG)
    store.add(NAMES[0], OBJECT)
    path = journal_of(images)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{", *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2 of 1.png.jsonl must be JSON"):
        AnnotationStore(images)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"do": "sing"}, "must have do: stroke, paste, undo or redo, got 'sing'"),
        ({"do": "stroke", "layer": "sky"}, "stroke must have the field 'tool'"),
        ({"do": "paste", "layer": "wrong", "mask": {"size": [8, 10], "counts": "~"}}, "counts of"),
        ({"do": "paste", "layer": "wrong", "mask": {"size": [9, 10], "counts": [90]}}, "size of"),
        ([], "must be a mapping"),
    ],
)
def test_a_line_that_says_something_else_is_refused(images, store, line, message):
    store.add(NAMES[0], WRONG)
    with journal_of(images).open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=message):
        AnnotationStore(images)


def test_a_journal_belongs_to_its_image_and_size(images, store):
    store.add(NAMES[0], WRONG)
    with pytest.raises(ValueError, match="must open the journal of 'other.png'"):
        Journal.read(journal_of(images), "other.png", (8, 10))
    Image.new("RGB", (11, 8)).save(images / NAMES[0])
    with pytest.raises(ValueError, match=r"cat/1.png must be of the size that was annotated"):
        AnnotationStore(images)


def test_annotations_follow_the_name_not_the_position(images, store):
    store.add(NAMES[1], WRONG)
    (images / NAMES[0]).unlink()
    Image.new("RGB", (10, 8)).save(images / "aaa.png")
    assert AnnotationStore(images).marked == (NAMES[1],)


def test_unknown_images_and_paths_are_refused(store):
    for name in ("nothing.png", "../images/cat/1.png", "/etc/hosts", None, 3):
        with pytest.raises(ValueError, match="image must be one of the 3 in the folder"):
            store.add(name, WRONG)


def test_the_folder_tells_what_it_cannot_read(images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (10, 8)).save(tmp_path / "outside.png")
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    (images / ".hidden.png").write_bytes(b"")
    store = AnnotationStore(images)
    assert store.names == NAMES
    assert sorted(note.split(":")[0] for note in store.notes) == ["broken.png", "link.png"]


def test_a_file_whose_name_is_no_text_is_told_and_the_rest_can_be_seen(images):
    for name in (b"b\xff.png", b"cat\xff/1.png"):
        path = Path(os.fsdecode(os.fsencode(images) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (10, 8)).save(path)
    session = Session(AnnotationStore(images))
    assert session.store.names == NAMES
    assert session.store.notes == [
        f"{name}: its name is not UTF-8, so no page can show it; rename it"
        for name in ("b\\xff.png", "cat\\xff/1.png")
    ]
    "".join([*session.store.notes, str(session.view().facts)]).encode()


def test_a_folder_whose_name_is_no_text_can_be_seen(images):
    moved = images.rename(os.fsdecode(os.fsencode(images) + b"\xff"))
    assert Session(AnnotationStore(moved)).view().facts["name"] == NAMES[0]


@pytest.mark.parametrize("second", ["second_person", "dog/second_person"])
def test_nobodys_annotations_are_taken_for_images(images, second):
    """Neither those of another person, nor the masks that were exported beside them."""
    for home in (None, images / second):
        store = AnnotationStore(images, home)
        store.add(NAMES[0], WRONG)
        store.export_png(store.home / "export")
    for home in (None, images / second, images.parent / "outside"):
        assert AnnotationStore(images, home).names == NAMES


def test_a_class_may_be_called_journal(tmp_path):
    image = np.zeros((8, 10, 3), np.uint8)
    folder = write_images(tmp_path, {"journal/1.png": image, "book/1.png": image})
    assert AnnotationStore(folder).names == ("book/1.png", "journal/1.png")


def test_a_journal_that_is_not_ours_makes_no_image_vanish(images, store):
    """A camera's, say, in a folder that has the name of ours."""
    store.add(NAMES[0], WRONG)
    log = images / "cat" / "journal" / "2026" / "camera.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n")
    again = AnnotationStore(images)
    assert (again.names, again.marked, again.notes) == (NAMES, NAMES[:1], [])


@pytest.mark.parametrize(("home", "shown"), [("cat", "cat"), ("cat\udcff", "cat\\xff")])
def test_images_beside_someone_s_annotations_are_left_out_and_that_is_told(images, home, shown):
    (images / "cat").rename(images / home)
    AnnotationStore(images, images / home).add(NAMES[2], WRONG)
    again = AnnotationStore(images)
    assert again.names == NAMES[2:]
    assert again.notes == [
        f"{shown}: left out with all in it, for the annotations in its folder 'journal'; "
        "move that elsewhere if there are images to annotate"
    ]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="images must be a folder with at least one"):
        AnnotationStore(tmp_path)
    with pytest.raises(ValueError, match="images must be a folder that is there"):
        AnnotationStore(tmp_path / "nowhere")


def drawn(store: AnnotationStore) -> AnnotationStore:
    store.add(NAMES[0], WRONG)
    store.add(NAMES[0], OBJECT)
    store.add(NAMES[2], OBJECT)
    return store


@pytest.mark.parametrize("form", ["png", "coco"])
def test_masks_go_out_and_come_in_again(images, store, tmp_path, form):
    drawn(store)
    out = tmp_path / "out" / form
    getattr(store, f"export_{form}")(out)
    other = AnnotationStore(images, tmp_path / "elsewhere")
    assert other.marked == ()
    other.add(NAMES[2], WRONG)  # a layer that COCO does not mention stays, a PNG empties it
    taken = getattr(other, f"import_{form}")(out)
    assert taken == {"png": 4, "coco": 3}[form]
    for layer in ("wrong", "object"):
        for name in NAMES[:2]:
            np.testing.assert_array_equal(other.mask(name, layer), store.mask(name, layer))
    assert other.mask(NAMES[2], "wrong").any() == (form == "coco")
    again = AnnotationStore(images, tmp_path / "elsewhere")
    assert state(again) == state(other), "what was imported is in the journal"


def test_png_files_of_images_without_marks_are_removed(store, tmp_path):
    drawn(store)
    assert len(store.export_png(tmp_path / "out")) == 4
    store.undo(NAMES[2])
    store.export_png(tmp_path / "out")
    left = sorted(p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("*.png.png"))
    assert left == ["object/cat/1.png.png", "wrong/cat/1.png.png"]


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


OWN = np.eye(8, 10, dtype=bool)


def test_a_mask_that_the_annotator_never_wrote_stays(store, tmp_path):
    """It belongs to an image without a mark, and is as good after the export as before."""
    folder = png(tmp_path / "out", NAMES[1], OWN)
    own = (folder / "wrong" / f"{NAMES[1]}.png").read_bytes()
    store.export_all(folder)
    drawn(store).export_all(folder)
    assert files(folder)[f"wrong/{NAMES[1]}.png"] == own
    assert store.import_any(folder) == 5 and store.mask(NAMES[1], "wrong").sum() == 8


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("before", [False, True], ids=["at first", "after an export"])
@pytest.mark.parametrize(
    ("name", "way"),
    [
        (f"wrong/{NAMES[0]}.png", f"wrong/{NAMES[0]}.png"),
        ("annotations.json", "annotations.json"),
        ("object/dog", "object/dog"),
    ],
)
def test_what_is_not_ours_stops_an_export_before_anything_is_written(
    store, tmp_path, before, name, way
):
    folder = tmp_path / "out"
    if before:
        drawn(store).export_all(folder)
        shutil.rmtree(folder)
    else:
        drawn(store)
    put(folder, name, b"of a person")
    with pytest.raises(ValueError, match="to another folder, or import it first") as caught:
        store.export_all(folder)
    assert str(folder / way) in str(caught.value)
    assert files(folder) == {name: b"of a person"}


def test_a_coco_file_of_ones_own_is_not_overwritten(images, store, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"mine.json must be what was exported or imported here"):
        drawn(store).export_coco(path)
    assert path.read_text() == "{}"
    other = AnnotationStore(images, tmp_path / "other")
    other.add(NAMES[1], WRONG)
    other.export_coco(tmp_path / "others.json")
    with pytest.raises(ValueError, match=r"others.json must be what was exported"):
        store.export_coco(tmp_path / "others.json")
    store.import_coco(tmp_path / "others.json")
    store.export_coco(tmp_path / "others.json")
    assert other.import_coco(tmp_path / "others.json") == 4


@pytest.mark.parametrize("marks", [True, False], ids=["drawn on", "undone"])
def test_an_edit_outside_comes_in_and_goes_out_again(images, store, marks):
    """In the annotator's own folder, as a person does who corrects a mask in an image editor."""
    folder = drawn(store).export_all()
    edited = folder / "wrong" / f"{NAMES[0]}.png"
    Image.fromarray(OWN).save(edited)
    kept = files(folder)
    if marks:
        store.add(NAMES[2], WRONG)
    else:
        store.undo(NAMES[0])
        store.undo(NAMES[0])
    with pytest.raises(ValueError, match="edited since") as caught:
        store.export_all()
    assert str(edited) in str(caught.value) and files(folder) == kept
    store.import_any(folder)
    np.testing.assert_array_equal(store.mask(NAMES[0], "wrong"), OWN)
    store.add(NAMES[0], WRONG)
    AnnotationStore(images).export_all()  # opened anew
    assert np.asarray(Image.open(edited)).astype(bool).sum() == (
        store.mask(NAMES[0], "wrong").sum()
    )


def test_an_export_moves_with_its_annotations_and_is_repeated_after_a_kill(
    images, store, tmp_path, monkeypatch
):
    drawn(store).export_all()
    moved = images.rename(tmp_path / "moved")
    store = AnnotationStore(moved)
    store.add(NAMES[0], ERASER)
    store.undo(NAMES[2])

    def killed(source, target, replace=os.replace):
        if Path(target).name == "annotations.json":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.export_all()
    store.add(NAMES[0], OBJECT)
    folder = store.export_all()
    assert sorted(files(folder)) == ["annotations.json", "object/cat/1.png.png",
                                     "wrong/cat/1.png.png"]  # fmt: skip


@pytest.mark.parametrize("record", [b"{", b"[1]", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_a_damaged_record_knows_nothing_and_loses_nothing(store, record):
    folder = drawn(store).export_all()
    (store.home / "exported.json").write_bytes(record)
    store.export_all()  # the same again
    (store.home / "exported.json").write_bytes(record)
    before = files(folder)
    store.add(NAMES[0], ERASER)
    with pytest.raises(ValueError, match="must be what was exported or imported here"):
        store.export_all()
    assert files(folder) == before


def test_masks_do_not_go_among_the_images(images, store):
    drawn(store)
    with pytest.raises(ValueError, match="folder must lie outside the images"):
        store.export_png(images / "masks")
    store.export_png(images / "annotations" / "masks")
    assert AnnotationStore(images, os.path.relpath(images / "annotations")).names == NAMES


def png(folder: Path, name: str, pixels: np.ndarray | bytes) -> Path:
    path = folder / "wrong" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, bytes):
        path.write_bytes(pixels)
    else:
        Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("cat/9.png", np.zeros((8, 10), np.uint8), "must belong to one of the 3 images"),
        (NAMES[0], np.zeros((10, 8), np.uint8), r"must be of its image's size \(8, 10\)"),
        (
            NAMES[0],
            np.zeros((8, 10, 3), np.uint8),
            "must be a mask in one channel and one frame, got mode 'RGB' and 1",
        ),
        (NAMES[0], np.arange(80, dtype=np.uint8).reshape(8, 10), "binarise it first"),
        (NAMES[0], np.full((8, 10), 7, np.uint8), "must hold 0 for unmarked"),
        (NAMES[0], b"no image", "must be a whole PNG image"),
    ],
)
def test_masks_that_do_not_fit_are_refused_and_nothing_is_taken(
    store, tmp_path, name, pixels, message
):
    png(tmp_path / "in", NAMES[1], np.eye(8, 10, dtype=bool))  # a good one beside the bad
    png(tmp_path / "in", name, pixels)
    with pytest.raises(ValueError, match=message):
        store.import_png(tmp_path / "in")
    assert store.marked == ()


def test_a_cut_png_and_a_link_that_leads_out_are_refused(store, tmp_path):
    folder = png(tmp_path / "in", NAMES[0], np.eye(8, 10, dtype=bool))
    path = folder / "wrong" / f"{NAMES[0]}.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="must be a whole PNG image"):
        store.import_png(folder)
    (tmp_path / "outside.png").write_bytes(whole)
    path.unlink()
    path.symlink_to(tmp_path / "outside.png")
    with pytest.raises(ValueError, match="must lie in the folder, got a link"):
        store.import_png(folder)
    with pytest.raises(ValueError, match="folder must hold masks as <layer>/<image name>.png"):
        store.import_png(tmp_path / "nowhere")


def test_several_annotations_of_a_layer_are_one_mask_polygons_too(store, tmp_path):
    path = drawn(store).export_coco(tmp_path / "coco.json")
    document = json.loads(path.read_text())
    document["annotations"].append(
        {"id": 99, "image_id": 2, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
    )
    document["annotations"].append(
        {"id": 98, "image_id": 2, "category_id": 2, "segmentation": [[4, 0, 6, 0, 6, 2, 4, 2]]}
    )
    path.write_text(json.dumps(document))
    store.import_coco(path)
    assert np.argwhere(store.mask(NAMES[1], "wrong")).tolist() == [
        [row, column] for row in (0, 1) for column in (0, 1, 4, 5)
    ]


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("images", {"file_name": "../cat/1.png"}, "must belong to one of the 3 images"),
        ("images", {"file_name": "cat/2.png"}, "must be there once"),
        ("images", {"width": 11}, r"must be that of cat/1.png, \(8, 10\), got \(8, 11\)"),
        ("images", {"id": "one"}, "id of images.0. of coco.json must be of type int"),
        ("categories", {"name": "zebra"}, "layer must be one of wrong, object, got 'zebra'"),
        ("annotations", {"image_id": 77}, "image_id of annotations.0. of coco.json must be one"),
        ("annotations", {"category_id": 77}, "category_id of annotations.0."),
        ("annotations", {"segmentation": None}, "must be polygons or run lengths, got None"),
        ("annotations", {"segmentation": {"size": [8, 10], "counts": [3]}}, "add up to 80"),
        ("annotations", {"segmentation": [[0, 0, 1, 1, 99, 1]]}, "must lie in its image"),
    ],
)
def test_a_coco_file_that_does_not_fit_is_refused(images, store, tmp_path, place, changes, message):
    path = drawn(store).export_coco(tmp_path / "coco.json")
    document = json.loads(path.read_text())
    document[place][0] |= changes
    path.write_text(json.dumps(document))
    other = AnnotationStore(images, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=message):
        other.import_coco(path)
    assert other.marked == ()


def test_one_category_id_for_two_layers_is_refused(images, store, tmp_path):
    path = drawn(store).export_coco(tmp_path / "coco.json")
    document = json.loads(path.read_text())
    document["categories"].append({"id": 1, "name": "object"})  # said twice is no harm
    path.write_text(json.dumps(document))
    other = AnnotationStore(images, tmp_path / "elsewhere")
    assert other.import_coco(path) == 3
    document["categories"].append({"id": 1, "name": "wrong"})
    path.write_text(json.dumps(document))
    other = AnnotationStore(images, tmp_path / "third")
    with pytest.raises(ValueError, match="of its own, got 1 for object and for wrong"):
        other.import_coco(path)
    assert other.marked == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"images": []}', b"[" * 100_000, b"\xff"])
def test_a_file_that_is_no_coco_file_is_refused(store, tmp_path, content):
    (tmp_path / "coco.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"coco.json must"):
        store.import_coco(tmp_path / "coco.json")


def test_names_of_images_that_lead_out_are_not_written(tmp_path):
    for name in ("../a.png", "a.jpg", ".a.png", "/a.png"):
        with pytest.raises(ValueError, match="name must be that of a .png file below the folder"):
            write_images(tmp_path, {name: np.zeros((2, 2), np.uint8)})


def test_a_pasted_mask_survives_a_reload(images, store):
    mask = np.eye(8, 10, dtype=bool)
    store.add(NAMES[0], Paste("object", mask))
    np.testing.assert_array_equal(AnnotationStore(images).mask(NAMES[0], "object"), mask)
