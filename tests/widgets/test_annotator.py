"""The widget as the notebook's front end sees it: messages in, journal, traits and answers out."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import toys
from contrast import contrast
from PIL import Image
from torch import nn

from xblcore.widgets import annotator as module
from xblcore.widgets.annotator import Annotator, cam_of
from xblcore.widgets.folder import write_images
from xblcore.widgets.store import AnnotationStore
from xblcore.widgets.strokes import LAYERS, TOOLS

STROKE = {
    "do": "stroke", "image": "a.png", "layer": "wrong", "tool": "brush", "radius": 2,
    "points": [[2.5, 2.5]], "number": 7,
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(
        tmp_path, {name: np.full((8, 8, 3), 9, np.uint8) for name in ("a.png", "b.png")}
    )


@pytest.fixture
def widget(images: Path) -> Annotator:
    return Annotator(images)


def receive(widget: Annotator, message: object) -> list[dict[str, object]]:
    """Deliver a message the way the kernel does; the answers that were sent."""
    with mock.patch.object(Annotator, "send", autospec=True) as send:
        widget._handle_custom_msg(message, [])
    return [call.args[1] for call in send.call_args_list]


def test_a_stroke_from_the_browser_is_saved_shown_and_answered(images, widget):
    answers = receive(widget, STROKE)
    status = "Saved, 1 of 2 marked"
    assert answers == [{"number": 7, "done": True, "again": False, "status": status}]
    assert AnnotationStore(images).mask("a.png", "wrong").sum() == 13
    shown = np.asarray(Image.open(io.BytesIO(widget.wrong_mask)))
    np.testing.assert_array_equal(shown == 255, widget.store.mask("a.png", "wrong"))
    assert widget.facts["can_undo"] and widget.facts["status"] == "Saved, 1 of 2 marked"


def test_what_is_refused_is_answered_too(images, widget):
    (answer,) = receive(widget, STROKE | {"points": [[99, 99]]})
    assert answer["done"] is False and "points must lie in the image" in str(answer["status"])
    (answer,) = receive(widget, "nonsense")
    assert answer["number"] is None and answer["done"] is False
    assert answer["again"] is False
    assert AnnotationStore(images).marked == ()


def test_a_stroke_that_the_disk_refused_is_to_be_sent_again(widget, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        (answer,) = receive(widget, STROKE)
    assert (answer["done"], answer["again"]) == (False, True)
    (answer,) = receive(widget, STROKE)
    assert (answer["done"], answer["again"]) == (True, False)


def test_every_key_of_the_picture_is_told_to_those_who_draw_and_who_read():
    keys = re.findall(r'event\.key === "(\w+)"', Annotator._esm)
    assert {"Escape", "PageUp", "PageDown"} <= set(keys)
    help_text = Annotator._esm.partition("const HELP =")[2].partition(";\n")[0]
    for key in keys:
        spoken = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
        assert spoken in re.sub(r'" \+\s*"', "", help_text), key
        assert spoken in (module.__doc__ or "").replace("\n", " "), key


def test_next_shows_the_next_image_and_its_marks(widget):
    receive(widget, STROKE)
    receive(widget, {"do": "go", "to": 1, "number": 1})
    assert widget.facts["name"] == "b.png"
    assert not np.asarray(Image.open(io.BytesIO(widget.wrong_mask))).any()
    receive(widget, {"do": "go", "to": 0, "number": 2})
    assert np.asarray(Image.open(io.BytesIO(widget.wrong_mask))).any()


def test_a_new_widget_on_the_folder_has_what_the_old_one_saved(images, widget):
    receive(widget, STROKE)
    again = Annotator(images)
    assert again.facts["marked"] == 1 and again.facts["name"] == "b.png"


def test_the_cam_of_any_model_is_laid_over(widget):
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    toys.randomised(model)
    assert widget.cam_image == b""
    widget.show_cam(cam_of(model))
    assert Image.open(io.BytesIO(widget.cam_image)).size == (6, 6)
    grey = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    found = cam_of(grey, size=(4, 4), grey=True)(np.zeros((8, 8, 3), np.uint8))
    assert found.shape == (2, 2) and found.dtype == np.float32
    assert toys.state_of(model) == [(True, 0, 0, 0)] * 6
    widget.show_cam(None)
    assert widget.cam_image == b""


def test_the_front_end_speaks_the_language_of_python():
    """Traits that the script reads exist; layers, tools and messages are those that are known."""
    script = Annotator._esm
    traits = set(re.findall(r'\bget\("(\w+)"\)', script))
    assert traits and traits <= set(Annotator.class_traits())
    assert set(re.findall(r"do: \"(\w+)\"", script)) == {
        "stroke", "undo", "redo", "clear", "go", "export",
    }  # fmt: skip
    for name in (*LAYERS, *TOOLS):
        assert re.search(rf"\b{name}: ", script)
    assert "http" not in script, "no content delivery network"


def test_text_and_controls_can_be_told_from_their_ground():
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for the focus and the rims of controls."""
    sheet = (module.HERE / "annotator.css").read_text(encoding="utf-8")
    for colour, ground, least in (
        ("#111111", "#ffffff", 4.5), ("#595959", "#ffffff", 4.5), ("#0072b2", "#ffffff", 4.5),
        ("#6b6b6b", "#ffffff", 3),
    ):  # fmt: skip
        assert colour in sheet and contrast(colour, ground) >= least


def test_the_brush_is_as_large_on_the_screen_on_every_image(tmp_path):
    sizes = {"a.png": (32, 32), "b.png": (320, 640)}
    folder = write_images(tmp_path, {n: np.zeros((*s, 3), np.uint8) for n, s in sizes.items()})
    widget = Annotator(folder)
    assert widget.radius == 2
    receive(widget, {"do": "go", "to": 1, "number": 1})
    assert widget.radius == 20
    widget.show_image("a.png")
    assert widget.facts["name"] == "a.png" and widget.radius == 2


def test_masks_go_out_and_come_in(images, widget):
    receive(widget, STROKE)
    folder = widget.export_masks()
    receive(widget, {"do": "clear", "image": "a.png", "layer": "wrong", "number": 2})
    assert widget.import_masks(folder) == 2 and widget.store.mask("a.png", "wrong").sum() == 13
    assert np.asarray(Image.open(io.BytesIO(widget.wrong_mask))).any()


def test_a_large_picture_gets_a_brush_to_match(tmp_path):
    folder = write_images(tmp_path, {"a.png": np.zeros((320, 640, 3), np.uint8)})
    assert Annotator(folder).radius == 20
