"""The Python side of the annotator: strokes, undo, saving, exchange with other programs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import nn

from xblcore.data.folder import LAYERS, mask_path, read_mask, write_mask
from xblcore.lab import annotator as module
from xblcore.lab.annotator import Annotator, NetworkView, draw_stroke, suspicion

SIZE = (8, 10)
NAMES = ("a/1.png", "b/3.png", "a/2.png")  # the classes in turn
KEYS = [(name, layer) for name in NAMES for layer in LAYERS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE[::-1], (20 * n, 0, 0)).save(tmp_path / name)
    return tmp_path


def on_disk(folder: Path, name: str, layer: Any = "wrong") -> np.ndarray:
    return read_mask(mask_path(folder / "annotations", name, layer), SIZE)


def receive(widget: Annotator, do: str, **fields: Any) -> None:
    """Send what the front end sends."""
    message = {"id": "1", "do": do, "image": widget.facts["name"], "layer": "wrong", **fields}
    widget._receive(widget, message, [])


def stroke(widget: Annotator, *points: tuple[float, float], tool: str = "brush", **fields: Any):
    receive(widget, "stroke", points=points, radius=1.0, tool=tool, **fields)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


POINT = st.tuples(st.floats(-3, 13), st.floats(-3, 11))


@settings(deadline=None, max_examples=60)
@given(st.lists(POINT, min_size=1, max_size=4), st.floats(1, 5), st.booleans())
def test_a_stroke_covers_the_pixels_near_its_line(points, radius, value):
    """Compared with the distance to many points of the line."""
    mask = np.full(SIZE, not value)
    draw_stroke(mask, points, radius, value=value)
    ends = np.array([points[0], *points])
    steps = np.linspace(0, 1, 400)[:, None, None]
    line = ((1 - steps) * ends[:-1] + steps * ends[1:]).reshape(-1, 2)
    rows, columns = np.indices(SIZE) + 0.5
    near = np.hypot(columns[..., None] - line[:, 0], rows[..., None] - line[:, 1]).min(-1)
    clear = abs(near - radius) > 0.05  # the sampled line is a little farther than the line
    np.testing.assert_array_equal((mask == value)[clear], (near <= radius)[clear])


def test_strokes_are_saved_and_shown(folder):
    widget = Annotator(folder, goal=2)
    assert widget.names == NAMES and widget.facts["status"].startswith("Nothing marked yet. 0 of 2")
    stroke(widget, (2.5, 3.5), (4.5, 3.5))
    mask = on_disk(folder, NAMES[0])
    assert mask[3, 1:6].all() and mask.sum() == 11
    stroke(widget, (3.5, 3.5), tool="eraser")
    stroke(widget, (0.5, 0.5), layer="object", image=NAMES[1])
    assert on_disk(folder, NAMES[0]).sum() == 6 and on_disk(folder, NAMES[1], "object").sum() == 3
    assert widget.marked == NAMES[:2] and "enough to refine" in widget.facts["status"]
    np.testing.assert_array_equal(decoded(widget.wrong_mask) > 0, on_disk(folder, NAMES[0]))
    receive(widget, "go", to=1)
    assert widget.facts["name"] == NAMES[1] and decoded(widget.image)[0, 0].tolist() == [20, 0, 0]
    np.testing.assert_array_equal(decoded(widget.object_mask) > 0, widget.mask(NAMES[1], "object"))
    again = Annotator(folder)
    assert again.facts["name"] == NAMES[2]  # the first one that has no mark
    assert again.marked == NAMES[:2] and not again.facts["can_undo"]
    receive(widget, "clear", layer="object")
    assert not on_disk(folder, NAMES[1], "object").any()
    assert Annotator(folder).marked == NAMES[:1]


def test_undo_and_redo_across_images(folder):
    widget = Annotator(folder)
    states = [{}]
    for name, layer in ((NAMES[0], "wrong"), (NAMES[1], "object"), (NAMES[0], "wrong")):
        stroke(widget, (1.0 + len(states), 2.0), image=name, layer=layer)
        states.append({key: on_disk(folder, *key) for key in KEYS})
    for n, name in ((2, NAMES[0]), (1, NAMES[1]), (0, NAMES[0])):
        receive(widget, "undo")
        assert widget.facts["name"] == name
        for key in KEYS:
            np.testing.assert_array_equal(on_disk(folder, *key), states[n].get(key, False))
    assert not widget.facts["can_undo"]
    receive(widget, "undo")  # nothing left to undo
    for name in (NAMES[0], NAMES[1]):
        receive(widget, "redo")
        assert widget.facts["name"] == name and widget.facts["can_redo"]
    for key in KEYS:
        np.testing.assert_array_equal(on_disk(folder, *key), states[2].get(key, False))
    stroke(widget, (9, 7))
    assert not widget.facts["can_redo"]
    stroke(widget, (9, 7))  # the same again changes nothing
    assert len(widget._done) == 3


def test_a_failed_save_is_shown_and_the_next_action_saves(folder):
    widget = Annotator(folder)
    home = folder / "annotations"
    home.write_text("a file where the folder should be")
    sent = []
    widget.send = sent.append
    stroke(widget, (2.5, 3.5))
    assert widget.facts["error"] and widget.facts["status"].startswith("Not saved")
    assert sent == [{"answered": "1"}] and widget.mask(NAMES[0], "wrong").any()
    receive(widget, "go", to=1)
    assert widget.facts["status"].startswith("Not saved")  # still, on another image
    home.unlink()
    receive(widget, "go", to=2)
    assert on_disk(folder, NAMES[0]).any()
    assert not widget.facts["error"] and widget.facts["status"].startswith("Saved")


def test_a_mask_that_cannot_be_saved_stops_no_other(tmp_path):
    names = ["x" * 240 + ".png", "y.png"]  # the longest name that is stored, with a prefix
    for name in names:
        Image.new("L", SIZE[::-1]).save(tmp_path / name)
    widget = Annotator(tmp_path)
    blocked = tmp_path / "annotations" / "wrong" / names[0]
    blocked.mkdir(parents=True)  # a folder cannot be replaced
    stroke(widget, (2.5, 3.5))
    assert widget.facts["status"].startswith("Not saved") and names[0] in widget.facts["status"]
    stroke(widget, (2.5, 3.5), image=names[1])
    assert on_disk(tmp_path, names[1]).sum() == 5 and widget.facts["error"]
    blocked.rmdir()
    stroke(widget, (7.5, 3.5))
    assert on_disk(tmp_path, names[0]).sum() == 10 and not widget.facts["error"]


def test_an_image_with_a_damaged_mask_is_left_out_and_keeps_it(folder):
    path = mask_path(folder / "annotations", NAMES[0], "wrong")
    write_mask(path, np.ones((2, 2), bool))
    write_mask(mask_path(folder / "annotations", NAMES[0], "object"), np.ones(SIZE, bool))
    before = path.read_bytes()
    widget = Annotator(folder, goal=3)
    assert widget.names == ("a/2.png", "b/3.png") and widget.goal == 2
    assert str(path) in widget.skipped[NAMES[0]] and "resize" in widget.skipped[str(path)]
    stroke(widget, (2.5, 3.5))
    widget.export_masks()
    assert path.read_bytes() == before and widget.marked == ("a/2.png",)


def test_a_killed_save_leaves_the_old_mask(folder, monkeypatch):
    widget = Annotator(folder)
    stroke(widget, (2.5, 3.5))
    before = on_disk(folder, NAMES[0])
    monkeypatch.setattr(Image.Image, "save", Mock(side_effect=OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        write_mask(mask_path(folder / "annotations", NAMES[0], "wrong"), np.ones(SIZE, bool))
    np.testing.assert_array_equal(on_disk(folder, NAMES[0]), before)
    assert len(list((folder / "annotations").rglob("*.png"))) == 1


def test_masks_go_out_and_come_back(folder, tmp_path_factory):
    widget = Annotator(folder)
    generator = np.random.default_rng(0)
    drawn = {key: generator.random(SIZE) < 0.3 for key in KEYS[:4]}
    for key, mask in drawn.items():
        widget.mark(*key, mask)
    out = tmp_path_factory.mktemp("out")
    assert widget.export_masks(out) == out / "coco.json"
    receive(widget, "export")
    assert (folder / "annotations" / "coco.json").read_text() == (out / "coco.json").read_text()
    widget.mark(NAMES[0], "wrong", np.zeros(SIZE, bool))
    assert widget.import_masks(out) == 4
    for key, mask in drawn.items():
        np.testing.assert_array_equal(on_disk(folder, *key), mask)
    widget.undo()
    assert not on_disk(folder, NAMES[0]).any()  # an import can be undone
    with pytest.raises(ValueError, match="got none"):
        widget.import_masks(tmp_path_factory.mktemp("empty"))


def test_an_empty_mask_says_that_nothing_is_there(folder, tmp_path_factory):
    widget = Annotator(folder)
    stroke(widget, (2.5, 3.5))
    drawn, given = widget.mask(NAMES[0], "wrong"), tmp_path_factory.mktemp("given")
    for name in NAMES[:2]:
        write_mask(mask_path(given, name, "wrong"), np.zeros(SIZE, bool))
    assert widget.import_masks(given) == 2
    assert not widget.marked and not widget.mask(NAMES[0], "wrong").any()
    paths = {mask_path(folder / "annotations", name, "wrong") for name in NAMES[:2]}
    assert {*(folder / "annotations").rglob("*.png")} == paths
    assert Annotator(folder).facts["name"] == NAMES[2]  # the first without annotation
    widget.undo()
    np.testing.assert_array_equal(on_disk(folder, NAMES[0]), drawn)
    # Nobody annotated the third image, so whatever lies there stays.
    out = tmp_path_factory.mktemp("out")
    write_mask(mask_path(out, NAMES[2], "wrong"), np.ones(SIZE, bool))
    widget.export_masks(out)
    assert read_mask(mask_path(out, NAMES[2], "wrong"), SIZE).all()
    assert len([*out.rglob("*.png")]) == 3


def test_masks_without_the_folder_of_the_class_are_drawn_on(folder):
    path = folder / "masks" / "object" / "3.png"
    write_mask(path, np.eye(*SIZE, dtype=bool))
    widget = Annotator(folder)
    assert widget.marked == (NAMES[1],) and widget.mask(NAMES[1], "object").sum() == 8
    receive(widget, "clear", image=NAMES[1], layer="object")
    widget.export_masks()
    assert [*folder.rglob("object/**/*.png")] == [path]
    assert not read_mask(path, SIZE).any()


def test_the_coco_file_evaluates_to_one_against_itself(folder):
    widget = Annotator(folder)
    generator = np.random.default_rng(0)
    for key in KEYS[:4]:
        widget.mark(*key, generator.random(SIZE) < 0.3)
    path = widget.export_masks()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        results = [annotation | {"score": 0.9} for annotation in truth.loadAnns(truth.getAnnIds())]
        for kind in ("segm", "bbox"):
            evaluation = COCOeval(truth, truth.loadRes(results), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[0] == 1
    assert [category["name"] for category in truth.loadCats([1, 2])] == ["wrong", "object"]
    assert len(truth.imgs) == 3 and {"info", "licenses"} <= truth.dataset.keys()
    for annotation in truth.loadAnns(truth.getAnnIds()):
        name = truth.imgs[annotation["image_id"]]["file_name"]
        layer = truth.cats[annotation["category_id"]]["name"]
        mask = widget.mask(name, layer)
        np.testing.assert_array_equal(truth.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0


class Brightness(nn.Module):
    """Class b if the pixels of a region are bright; its CAM has the bright ones of the region."""

    def __init__(self, *region: slice) -> None:
        super().__init__()
        self.features, self.region = nn.Identity(), region

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = self.features(images)[:, 0, *self.region].mean((1, 2))
        return torch.stack([0.3 - level, level - 0.3], 1) * 10


CORNER, BODY = Brightness(slice(2), slice(2)), Brightness(slice(4, 7), slice(4, 7))


@pytest.fixture
def flawed(tmp_path: Path) -> Path:
    """Six images whose corner and body are bright in class b; the corner of a/2 lies."""
    for n in range(6):
        name = f"{'ab'[n % 2]}/{n}.png"
        pixels = np.zeros(SIZE, np.uint8)
        pixels[:2, :2] = 255 * (n % 2) if n != 2 else 255
        pixels[4:7, 4:7] = 255 * (n % 2)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def test_what_the_network_says_and_whether_refining_helped(flawed):
    """All counts by hand: before refining the corner decides, after it the body does."""
    widget = Annotator(flawed, cam=NetworkView(CORNER, grey=True, layer="features"))
    corner = np.zeros(SIZE, bool)
    corner[:2, :2] = True
    names = ("a/2.png", "b/1.png", "a/4.png")  # as in a long session; the others are not marked
    for name in names:
        widget.mark(name, "wrong", corner)
    widget.show_image("a/2.png")
    assert widget.facts["label"] == "a" and widget.facts["predictions"] == ["\u2717 b (100%)"]
    assert decoded(widget.cam_image).shape == (*SIZE, 4)
    order = sorted(names)  # of the folder, whatever is shown first
    receive(widget, "change", change="blanked")
    # Blanked corners are dark: b/1 and a/2 become class a.
    assert widget.facts["evidence"] == [
        ["wrong region blanked: changed", "2 of 3"], ["wrong region blanked: correct", "2 of 3"],
        *widget.facts["evidence"][2:],
    ]  # fmt: skip
    assert widget.facts["predictions"][0].startswith("\u2717 b (100%) \u2192 \u2713 a")
    assert widget.facts["change"] and not decoded(widget.image)[:2, :2].any()
    receive(widget, "go", to=widget.facts["index"])
    assert not widget.facts["change"] and decoded(widget.image)[0, 0].tolist() == [255] * 3
    widget.compare(NetworkView(BODY, grey=True, layer="features"))
    rows = {text: counts for text, *counts in widget.facts["evidence"]}
    assert rows["wrong region blanked: changed"] == ["2 of 3", "0 of 3"]
    assert rows["wrong region swapped: changed"][1] == "0 of 3"
    assert rows["wrong region swapped: correct"][1] == "3 of 3"
    # b/1 gets the corner of the next marked image of class a.
    turn = order[order.index("b/1.png") + 1 :] + order
    dark = next(name for name in turn if name[0] == "a") == "a/4.png"
    receive(widget, "go", to=widget.names.index("b/1.png"))
    receive(widget, "change", change="swapped")
    first = widget.facts["predictions"][0]
    assert first.endswith("\u2717 a (100%)" if dark else "\u2713 b (100%)")
    assert widget.facts["network"] == 1 and len(widget.facts["predictions"]) == 2
    stroke(widget, (5.0, 5.0))
    assert not widget.facts["evidence"] and not widget.facts["change"]  # counted for other marks
    for network, region in ((1, np.s_[4:7, 4:7]), (0, np.s_[:2, :2])):
        receive(widget, "network", network=network)
        seen = decoded(widget.cam_image)[..., 3]
        assert seen[region].all() and seen.sum() == seen[region].sum()
    widget.compare(None)
    assert len(widget.facts["predictions"]) == 1


def test_a_change_needs_marks(flawed):
    widget = Annotator(flawed, cam=NetworkView(CORNER, grey=True, layer="features"))
    receive(widget, "change", change="blanked")
    assert widget.facts["error"] and "First mark a region as wrong" in widget.facts["status"]
    plain = widget.image
    stroke(widget, (0.5, 0.5))
    receive(widget, "change", change="blanked")
    assert widget.facts["change"] and widget.image != plain
    receive(widget, "change", change="swapped")
    assert widget.facts["error"] and "another class" in widget.facts["status"]
    assert widget.image == plain and "\u2192" not in widget.facts["predictions"][0]
    assert [row[1] for row in widget.facts["evidence"]][:1] != []  # blanking was counted


def test_an_emptied_mask_is_an_annotation(folder):
    widget = Annotator(folder)
    stroke(widget, (4, 4))
    receive(widget, "clear")
    widget.sort("classes")
    assert widget.facts["index"] == 1


def test_networks_are_needed_to_compare_and_to_find_suspicious_images(folder):
    widget = Annotator(folder)
    for call in (lambda: widget.compare(None), lambda: widget.sort("suspicious")):
        with pytest.raises(ValueError, match="cam must be a NetworkView"):
            call()


def test_images_in_a_flat_folder_have_no_label(tmp_path):
    Image.new("L", SIZE[::-1], 255).save(tmp_path / "x.png")
    widget = Annotator(tmp_path, cam=NetworkView(CORNER, grey=True, layer="features"))
    assert widget.facts["predictions"] == ["1 (100%)"] and not widget.facts["label"]
    widget.mark("x.png", "object", np.eye(*SIZE, dtype=bool))
    widget.compare(NetworkView(BODY, grey=True, layer="features"))
    assert widget.facts["evidence"] == [["object region blanked: changed", "0 of 1", "0 of 1"]]


def test_suspicion_by_hand():
    maps = torch.zeros(4, 3, 3)
    maps[0, 1, 1] = 5  # the centre
    maps[1, 0, 0] = 2  # a corner: its centre is two thirds of the half diagonal away
    maps[2, 0, 0] = maps[2, 1, 1] = 1
    found = suspicion(maps, torch.tensor([1.0, 0.9, 0.9, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0, 0.6, 0.3, 0]))


def test_the_most_suspicious_come_first_and_classes_in_turn(flawed):
    for n, at in ((6, (3, 4)), (8, (0, 9))):  # bright in the middle, and in another corner
        pixels = np.zeros(SIZE, np.uint8)
        pixels[at] = 255
        Image.fromarray(pixels).save(flawed / "a" / f"{n}.png")
    view = NetworkView(Brightness(slice(None), slice(None)), grey=True, layer="features")
    widget = Annotator(flawed, cam=view)
    numbers = [name[2] for name in widget.names if name[0] == "a"]
    assert numbers == ["8", "2", "6", "0", "4"]
    assert {name[0] for name in widget.names[:2]} == {"a", "b"}
    receive(widget, "sort", order="classes")
    assert widget.names[:3] == ("a/0.png", "b/1.png", "a/2.png")
    path, noise = flawed / "b" / "0.jpg", np.random.default_rng(0).bytes(10_000)
    Image.frombytes("L", (100, 100), noise).save(path)
    path.write_bytes(path.read_bytes()[:5000])  # truncated: only its header can be read
    again = Annotator(flawed, cam=view)
    assert [name for name in again.names if name[0] == "b"] == [
        "b/1.png", "b/3.png", "b/5.png", "b/0.jpg",
    ]  # fmt: skip


def test_thumbnails_of_what_can_be_read(folder):
    widget = Annotator(folder)
    (folder / NAMES[1]).write_bytes(b"")
    sent = []
    widget.send = lambda content, buffers: sent.append((content, buffers))
    widget._receive(widget, {"do": "thumbnails", "images": [2, 1]}, [])
    ((content, (picture,)),) = sent
    assert content["thumbnails"] == [2]
    assert decoded(picture)[0, 0].tolist() == [40, 0, 0]


def test_the_colours_of_marks_are_not_in_the_colour_map_of_the_cam():
    text = Path(module.__file__).with_suffix(".js").read_text(encoding="utf-8")
    colours = re.findall(r'{ colour: "#(\w{6})"', text)
    lab = [rgb2lab([[[int(one[n : n + 2], 16) / 255 for n in (0, 2, 4)]]]) for one in colours]
    viridis = rgb2lab(mpl.colormaps["viridis"](np.linspace(0, 1, 256))[None, :, :3])
    assert len(lab) == 2 and deltaE_ciede2000(*lab).item() > 25
    assert all(deltaE_ciede2000(viridis, one).min() > 25 for one in lab)  # orange has 21


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": (5, 5)}, "SIZE and GREY"), ({"grey": False}, "SIZE and GREY"),
     ({"classes": ["a", "b", "c"]}, "CLASSES"), ({}, "")],
)  # fmt: skip
def test_errors_name_the_variables_of_the_notebook(flawed, options, message):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(96, 2))
    widget = Annotator(flawed, cam=NetworkView(model, **({"grey": True} | options)))
    assert message in widget.facts["status"] and widget.facts["error"] == bool(message)
    assert bool(widget.cam_image) != bool(message)


def test_a_large_image_is_shown_smaller_and_no_mark_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 16)
    Image.new("L", (64, 32)).save(tmp_path / "large.png")
    widget = Annotator(tmp_path)
    mask = np.zeros((32, 64), bool)
    mask[5, 9] = True
    widget.mark("large.png", "wrong", mask)
    assert decoded(widget.image).shape == (8, 16, 3)
    shown = decoded(widget.wrong_mask)
    assert shown.shape == (8, 16) and shown[1, 2] == 255 and (shown > 0).sum() == 1
    assert read_mask(tmp_path / "annotations/wrong/large.png", (32, 64)).sum() == 1


def test_errors_name_the_rule(folder):
    widget = Annotator(folder)
    with pytest.raises(ValueError, match="name and layer must exist"):
        widget.mask("a/9.png", "wrong")
    for mask in (np.zeros((2, 2), bool), np.full(SIZE, 255, np.uint8)):
        with pytest.raises(ValueError, match=r"mask of a/1.png must be \(8, 10\) and boolean"):
            widget.mark(NAMES[0], "wrong", mask)
    with pytest.raises(ValueError, match="goal must be at least 1"):
        Annotator(folder, goal=0)
    (folder / NAMES[1]).write_bytes(b"")  # removed while the notebook is open
    receive(widget, "go", to=1)
    assert widget.facts["error"] and NAMES[1] in widget.facts["status"]
