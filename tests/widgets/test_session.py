"""The annotator without its front end: messages in, journal and state out."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xblcore.widgets.folder import write_images
from xblcore.widgets.session import Session, coloured
from xblcore.widgets.store import AnnotationStore

NAMES = ("a.png", "b.png", "c.png")
STROKE = {
    "do": "stroke", "image": "a.png", "layer": "wrong", "tool": "brush", "radius": 2,
    "points": [[2.5, 2.5]],
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path, {name: np.full((6, 8, 3), 9, np.uint8) for name in NAMES})


@pytest.fixture
def session(images: Path) -> Session:
    return Session(AnnotationStore(images), goal=2)


def shown(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_stroke_is_in_the_journal_when_it_is_answered(images, session):
    assert session.handle(STROKE)
    assert AnnotationStore(images).mask("a.png", "wrong").sum() == 13
    view = session.view()
    assert view.facts["status"] == "Saved, 1 of 2 marked"
    assert (view.facts["can_undo"], view.facts["can_redo"]) == (True, False)
    np.testing.assert_array_equal(
        shown(view.masks["wrong"]) == 255, session.store.mask("a.png", "wrong")
    )
    assert not shown(view.masks["object"]).any()
    np.testing.assert_array_equal(shown(view.image), np.full((6, 8, 3), 9))


def test_undo_redo_and_clear(images, session):
    session.handle(STROKE)
    assert session.handle({"do": "undo", "image": "a.png"})
    assert session.view().facts["can_redo"] and session.store.marked == ()
    assert session.handle({"do": "redo", "image": "a.png"})
    assert session.handle({"do": "clear", "image": "a.png", "layer": "wrong"})
    assert AnnotationStore(images).marked == ()
    assert session.handle({"do": "undo", "image": "a.png"})
    assert AnnotationStore(images).marked == ("a.png",)


def test_a_stroke_goes_to_the_image_that_it_was_drawn_on(session):
    """It may arrive after the person has gone on to the next image."""
    session.handle({"do": "go", "to": 1})
    session.handle(STROKE)
    assert session.name == "b.png" and session.store.marked == ("a.png",)


def test_a_person_goes_on_where_she_left_off(images, session):
    session.handle(STROKE)
    assert Session(AnnotationStore(images)).name == "b.png"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (None, "message must be a mapping, got NoneType"),
        ({"do": "sing"}, "do must be stroke, undo, redo, clear, go or export, got 'sing'"),
        ({"do": "go", "to": 3}, r"to must be a position in [0, 2], got 3"),
        ({"do": "go", "to": True}, r"to must be a position in [0, 2], got True"),
        ({"do": "undo", "image": "../a.png"}, "image must be one of the 3 in the folder"),
        ({"do": "clear", "image": "a.png", "layer": "sky"}, "layer must be one of"),
        (STROKE | {"points": [[9, 1]]}, "points must lie in the image"),
        (STROKE | {"radius": float("nan")}, "radius must be a finite number"),
    ],
)
def test_what_is_refused_is_told_and_changes_nothing(images, session, message, error):
    assert not session.handle(message) and not session.again
    facts = session.view().facts
    assert facts["error"] and str(facts["status"]).startswith("Not saved: ")
    assert error in str(facts["status"])
    assert session.index == 0 and AnnotationStore(images).marked == ()
    assert session.handle(STROKE) and not session.view().facts["error"]


def test_a_full_disk_is_told(session, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not session.handle(STROKE)
    assert session.status() == "Not saved: No space left on device, 0 of 2 marked"
    assert session.again, "the same stroke can be saved later"
    assert session.handle(STROKE) and not session.again and session.store.marked == ("a.png",)


def test_the_cam_is_an_overlay_at_its_own_resolution(images):
    session = Session(AnnotationStore(images), cam=lambda pixels: np.array([[0.0, 1.0, 2.0]]))
    cam = shown(session.view().cam)
    assert cam.shape == (1, 3, 4) and cam[0, :, 3].tolist() == [0, 128, 255]
    assert not coloured(np.zeros((2, 2)))[..., 3].any(), "a dead CAM shows nothing"


def test_a_cam_or_an_image_that_fails_leaves_the_rest_at_work(images):
    session = Session(AnnotationStore(images), cam=lambda pixels: np.array([[np.nan]]))
    view = session.view()
    assert view.cam == b"" and "cam must be (h, w), finite" in str(view.facts["status"])
    assert session.handle(STROKE)
    (images / "a.png").write_bytes(b"gone bad")
    session.handle({"do": "go", "to": 0})
    session.cam = None
    facts = session.view().facts
    assert "a.png must be a whole JPEG or PNG" in str(facts["status"]) and facts["error"]
    session.show("b.png")
    assert session.view().facts["status"] == "Saved, 1 of 3 marked", "another image is whole"


def test_a_cam_that_failed_is_forgotten_with_the_next_one(images):
    session = Session(AnnotationStore(images), cam=lambda pixels: np.array([[np.nan]]))
    assert session.view().facts["error"]
    session.cam = lambda pixels: np.ones((2, 2))
    session.forget()
    facts = session.view().facts
    assert not facts["error"] and facts["status"] == "Nothing marked yet, 0 of 3 marked"


def test_a_goal_is_within_the_images(images):
    with pytest.raises(ValueError, match=r"goal must be in \[1, 3\], got 4"):
        Session(AnnotationStore(images), goal=4)


def test_without_the_front_end_and_without_torch_all_but_them_works():
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('anywidget', 'ipywidgets', 'torch')))\n"
        "from xblcore.widgets import AnnotationStore, Stroke, Drawing, simulate\n"
        "import xblcore.widgets.session\n"
        "try:\n"
        "    from xblcore.widgets import Annotator\n"
        "except ImportError:\n"
        "    print('late')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "late\n", done.stderr


def test_every_name_of_the_package_is_found_also_after_its_modules():
    import xblcore.widgets
    import xblcore.widgets.refining

    for name in set(xblcore.widgets.__all__) - {"Annotator"}:
        assert callable(getattr(xblcore.widgets, name))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = xblcore.widgets.nothing


def test_a_stroke_that_is_sent_again_is_drawn_once(images, session):
    """As a page does that was reloaded before it had the answer."""
    assert session.handle(STROKE) and session.handle(STROKE)
    session.handle({"do": "undo", "image": "a.png"})
    assert AnnotationStore(images).marked == ()


def test_a_few_images_are_of_all_classes(tmp_path):
    names = ("cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "elk/1.png", "elk/2.png")
    folder = write_images(tmp_path, {name: np.zeros((2, 2, 3), np.uint8) for name in names})
    session = Session(AnnotationStore(folder))
    assert session.order == (
        "cat/1.png", "dog/1.png", "elk/1.png", "cat/2.png", "elk/2.png", "cat/3.png",
    )  # fmt: skip
    session.show("elk/2.png")
    assert session.view().facts["index"] == 4
    with pytest.raises(ValueError, match="image must be one of the 6"):
        session.show("owl/1.png")


def test_a_large_image_is_shown_smaller_and_marked_at_its_own_size(tmp_path):
    folder = write_images(tmp_path, {"a.png": np.zeros((1500, 3000, 3), np.uint8)})
    session = Session(AnnotationStore(folder))
    assert session.handle(STROKE | {"points": [[2000.5, 700.5]], "radius": 1})
    view = session.view()
    assert (view.facts["height"], view.facts["width"]) == (1500, 3000)
    assert shown(view.image).shape == (512, 1024, 3)
    assert shown(view.masks["wrong"]).shape == (512, 1024)
    rows, columns = np.nonzero(shown(view.masks["wrong"]))
    assert set(rows) <= {238, 239, 240} and set(columns) <= {682, 683}, "any pixel of it is seen"
    assert session.store.mask("a.png", "wrong").sum() == 5


def test_the_cam_is_computed_once_an_image_until_the_model_changes(images):
    seen = []
    session = Session(AnnotationStore(images), cam=lambda pixels: seen.append(1) or np.ones((2, 2)))
    session.view()
    session.handle(STROKE)
    session.view()
    assert len(seen) == 1
    session.forget()
    session.view()
    assert len(seen) == 2


def test_export_is_told_and_taken_over_again(images, session, tmp_path):
    session.handle(STROKE)
    mask = session.store.mask("a.png", "wrong")
    assert session.handle({"do": "export"})
    assert session.status() == "Exported to annotations/export, 1 of 2 marked"
    out = images / "annotations" / "export"
    for source in (out, out / "annotations.json"):
        session.handle({"do": "clear", "image": "a.png", "layer": "wrong"})
        session.store.import_any(source)
        np.testing.assert_array_equal(AnnotationStore(images).mask("a.png", "wrong"), mask)


def test_the_line_says_when_there_is_enough(images, session):
    assert session.status() == "Nothing marked yet, 0 of 2 marked"
    for name in ("a.png", "b.png"):
        session.handle(STROKE | {"image": name})
    assert session.status() == "Saved, 2 of 2 marked; that is enough to refine by"
