"""The annotator in JupyterLab, by mouse, finger and keyboard; masks are read from the disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from xblcore.data.folder import mask_path, read_mask
from xblcore.lab.annotator import draw_stroke

SIZES = {"a.png": (28, 28), "b.png": (90, 30), "c.png": (300, 400)}  # height and width
BRUSH = 28 / 16  # radius on a.png
CELL = (
    "import torch\n"
    "from torch import nn\n"
    "from xblcore.lab.annotator import Annotator, NetworkView\n"
    "torch.manual_seed(0)\n"
    "model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    "annotator = Annotator({folder!r}, cam=NetworkView(model, grey=True), goal=2)\n"
    "annotator.sort('classes')\n"
    "annotator"
)
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}


class Hand:
    """A person at one view of the annotator."""

    def __init__(self, lab: Any, folder: Path, view: int = 0) -> None:
        self.lab, self.page, self.folder = lab, lab.page, folder
        self.root = lab.page.locator(".xbl-annotator").nth(view)
        self.canvas = self.root.locator("canvas")

    def status(self, text: str) -> None:
        """Wait until the status line has a text."""
        self.root.get_by_role("status").filter(has_text=text).wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name: str) -> None:
        self.root.get_by_role("button", name=name).click()

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Position on the screen of a point of the picture, both parts in [0, 1]."""
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    def drag(self, *points: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.at(point), steps=4)
        mouse.up()

    def mask(self, name: str, layer: Any = "wrong") -> np.ndarray:
        return read_mask(mask_path(self.folder / "annotations", name, layer), SIZES[name])

    def until(self, name: str, count: int | None = None, layer: Any = "wrong") -> np.ndarray:
        """Wait until so many pixels are marked on disk (None: any), and return the mask."""
        for _ in range(200):
            mask = self.mask(name, layer)
            if mask.sum() == count or (count is None and mask.any()):
                return mask
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{mask.sum()} pixels of {name} are {layer}, not {count}")

    def image_is(self, name: str) -> None:
        self.root.get_by_text(f": {name}", exact=False).first.wait_for()


@pytest.fixture
def hand(lab, request) -> Hand:
    """The annotator on a new folder, run in a notebook with two views of it."""
    name = re.sub(r"\W+", "_", request.node.name)
    folder = lab.server.folder / "build" / name
    folder.mkdir(parents=True)
    for image, (height, width) in SIZES.items():
        y, x = np.mgrid[:height, :width]
        blob = np.exp(-((4 * x / width - 2) ** 2) - (4 * y / height - 2) ** 2)
        Image.fromarray((255 * blob).astype(np.uint8)).save(folder / image)
    open_annotator(lab, name, CELL.format(folder=str(folder)), "annotator")
    person = Hand(lab, folder)
    person.status("Nothing marked yet. 0 of 2 images marked")
    return person


def open_annotator(lab: Any, name: str, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = lab.server.folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)
    lab.open(f"notebooks/{name}.ipynb").run_all()


def stroke(name: str, *points: tuple[float, float], radius: float = BRUSH) -> np.ndarray:
    height, width = SIZES[name]
    mask = np.zeros((height, width), bool)
    draw_stroke(mask, [(x * width, y * height) for x, y in points], radius)
    return mask


def test_brush_eraser_undo_redo_and_a_second_view(hand):
    hand.drag((0.25, 0.5), (0.75, 0.5))
    line = hand.until("a.png")
    assert (line != stroke("a.png", (0.25, 0.5), (0.75, 0.5))).sum() <= 4
    hand.status("Saved. 1 of 2 images marked")
    other = Hand(hand.lab, hand.folder, view=1)
    other.status("Saved. 1 of 2 images marked")
    hand.click("Eraser")
    hand.drag((0.5, 0.3), (0.5, 0.7))
    hand.until("a.png", int((line & ~stroke("a.png", (0.5, 0.3), (0.5, 0.7))).sum()))
    hand.click("Object")
    hand.click("Brush")
    hand.drag((0.1, 0.1), (0.1, 0.1))
    hand.until("a.png", layer="object")
    other.click("Undo")
    hand.until("a.png", 0, layer="object")
    hand.click("Undo")
    np.testing.assert_array_equal(hand.until("a.png", int(line.sum())), line)
    hand.click("Redo")
    hand.click("Redo")
    hand.until("a.png", layer="object")
    hand.click("Clear layer")
    hand.until("a.png", 0, layer="object")


def test_one_finger_draws_and_the_page_does_not_scroll(hand):
    hand.canvas.scroll_into_view_if_needed()
    touch = hand.page.context.new_cdp_session(hand.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        spots = [hand.at(point) for point in points]
        fingers = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(spots)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    before = hand.canvas.bounding_box()
    send("touchStart", (0.2, 0.2))
    send("touchMove", (0.2, 0.5))
    send("touchStart", (0.2, 0.5), (0.8, 0.8))  # the second finger is ignored
    send("touchMove", (0.2, 0.8), (0.8, 0.2))
    send("touchEnd")
    mask = hand.until("a.png")
    assert hand.canvas.bounding_box() == before
    assert (mask != stroke("a.png", (0.2, 0.2), (0.2, 0.8))).sum() <= 4


def test_keyboard_alone_and_undo_across_images(hand):
    hand.root.evaluate("root => { root.tabIndex = -1; root.focus(); }")
    for _ in range(30):
        hand.press("Tab")
        if hand.canvas.evaluate("canvas => canvas === document.activeElement"):
            break
    hand.press("o", "Space", *["ArrowRight"] * 4, "Space")
    mask = hand.until("a.png", layer="object")
    assert (mask != stroke("a.png", (0.5, 0.5), (0.5 + 3.5 / 28, 0.5))).sum() <= 4
    hand.status("Saved. 1 of 2 images marked")
    hand.press("Space", "ArrowUp", "Escape", "n")  # a line that is dropped
    hand.image_is("b.png")
    hand.press("w", "]", "Space", "Space")
    hand.until("b.png")
    hand.status("Saved. 2 of 2 images marked; enough to refine the model")
    assert hand.root.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 1
    hand.press("PageDown")
    hand.image_is("c.png")
    hand.press("Control+z")
    hand.image_is("b.png")  # an undo shows what it changes
    hand.until("b.png", 0)
    hand.press("z")
    hand.image_is("a.png")
    hand.until("a.png", 0, layer="object")
    hand.press("y", "y")
    hand.image_is("b.png")
    assert hand.until("b.png").any()
    np.testing.assert_array_equal(hand.until("a.png", layer="object"), mask)


def test_sizes_sharp_pixels_and_the_opacity_of_the_cam(hand):
    hand.canvas.focus()
    for name, (height, width) in SIZES.items():
        hand.image_is(name)
        hand.page.wait_for_timeout(150)
        box = hand.canvas.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
        radius = float(re.match(r"[\d.]+", hand.root.locator("output").first.inner_text())[0])
        assert radius == pytest.approx(min(height, width) / 16, abs=0.06)
        hand.press("n")
    for name in ("b.png", "a.png"):
        hand.press("p")
        hand.image_is(name)
    hand.page.mouse.move(0, 0)
    opacity = hand.root.get_by_role("slider", name="CAM opacity")
    opacity.fill("0")
    hand.page.wait_for_timeout(150)
    cell = hand.canvas.evaluate(
        "canvas => { const side = canvas.width / 28;"
        "return [...canvas.getContext('2d').getImageData(14 * side, 9 * side, side, side).data]; }"
    )
    assert len(np.unique(np.reshape(cell, (-1, 4)), axis=0)) == 1
    without = hand.canvas.evaluate("canvas => canvas.toDataURL()")
    opacity.fill("1")
    assert hand.canvas.evaluate("canvas => canvas.toDataURL()") != without
    hand.press("c")
    assert hand.canvas.evaluate("canvas => canvas.toDataURL()") == without


def test_reload_restart_and_export(hand):
    hand.drag((0.2, 0.2), (0.4, 0.2))
    first = hand.until("a.png")
    hand.status("Saved. 1 of 2 images marked")
    hand.click("Export")
    hand.status("Exported to")
    (found,) = json.loads((hand.folder / "annotations" / "coco.json").read_text())["annotations"]
    assert found["area"] == first.sum()
    hand.lab.command("docmanager:save")
    hand.page.reload()
    hand.root.wait_for(timeout=60_000)
    hand.click("Undo")
    hand.until("a.png", 0)
    hand.click("Redo")
    hand.until("a.png", int(first.sum()))
    hand.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    hand.drag((0.8, 0.5), (0.8, 0.5))
    hand.status("Not saved yet: the kernel is busy or was restarted.")
    hand.lab.run_all()
    hand.status("Saved. 1 of 2 images marked")
    hand.image_is("b.png")  # the first one without a mark
    hand.drag((0.5, 0.5), (0.5, 0.6))
    hand.until("b.png")


def test_zoom_move_and_fit(hand):
    window = hand.root.locator(".xbl-viewport")
    hand.canvas.scroll_into_view_if_needed()
    fit, shown = hand.canvas.bounding_box(), window.bounding_box()
    hand.canvas.focus()
    hand.press("+", "+")
    assert hand.canvas.bounding_box()["width"] == pytest.approx(2.25 * fit["width"], rel=0.01)
    assert window.bounding_box() == shown
    hand.click("Move")
    x, y = shown["x"] + shown["width"] / 2, shown["y"] + shown["height"] / 2
    before = window.evaluate("e => [e.scrollLeft, e.scrollTop]")
    hand.page.mouse.move(x, y)
    hand.page.mouse.down()
    hand.page.mouse.move(x - 40, y + 30, steps=4)
    hand.page.mouse.up()
    after = window.evaluate("e => [e.scrollLeft, e.scrollTop]")
    assert after == pytest.approx([before[0] + 40, before[1] - 30], abs=2)
    hand.click("Brush")
    box = hand.canvas.bounding_box()  # larger than what can be seen of it
    at = [(x - box["x"]) / box["width"], (y - box["y"]) / box["height"]]
    hand.page.mouse.click(x, y)
    mask = hand.until("a.png")
    assert (mask != stroke("a.png", tuple(at))).sum() <= 3
    hand.status("Saved")
    hand.click("Move")
    hand.canvas.focus()
    hand.press(" ")  # starts a stroke with the other tools
    assert not hand.root.get_by_role("status").filter(has_text="Drawing").count()
    hand.click("Fit")
    assert hand.canvas.bounding_box()["width"] == fit["width"]


def test_what_if_the_marked_region_were_different(hand):
    facing = hand.root.locator(".xbl-facing")
    facing.get_by_text("%").wait_for()
    hand.canvas.focus()
    hand.press("k")
    hand.status("First mark a region as wrong in this image")
    hand.drag((0.5, 0.5), (0.5, 0.6))
    hand.until("a.png")
    hand.status("Saved. 1 of 2")
    hand.page.mouse.move(0, 0)
    hand.page.wait_for_timeout(300)
    before = hand.canvas.evaluate("canvas => canvas.toDataURL()")
    hand.click("Blank")
    facing.get_by_text("→").wait_for()
    hand.root.get_by_role("cell", name="wrong region blanked: changed").wait_for()
    hand.root.get_by_role("cell", name=re.compile("[01] of 1")).wait_for()
    hand.click("Restore")
    facing.get_by_text("→").wait_for(state="detached")
    hand.page.mouse.move(0, 0)
    hand.page.wait_for_timeout(300)
    assert hand.canvas.evaluate("canvas => canvas.toDataURL()") == before
    hand.click("Object")
    hand.press("s")
    hand.status("First mark a region as object")


def test_the_strip_has_only_the_images_in_sight(lab):
    folder = lab.server.folder / "build" / "many"
    folder.mkdir(parents=True)
    for n in range(1500):
        Image.new("L", (4, 4), n % 256).save(folder / f"{n:04}.bmp")
    (folder / "broken.jpg").write_bytes(b"broken")
    source = "from xblcore.lab.annotator import Annotator\nAnnotator({!r})"
    open_annotator(lab, "many", source.format(str(folder)))
    hand = Hand(lab, folder)
    strip = hand.root.get_by_role("listbox", name="Images")
    strip.locator("img").first.wait_for()
    assert strip.get_by_role("option").count() < 40
    strip.focus()
    hand.press("ArrowRight")
    hand.image_is("0001.bmp")
    hand.press("End")
    hand.image_is("1499.bmp")
    strip.get_by_role("option", name="Image 1500", selected=True).locator("img").wait_for()
    hand.press("ArrowLeft")
    hand.image_is("1498.bmp")
    hand.drag((0.5, 0.5), (0.6, 0.5))
    strip.get_by_role("option", name="Image 1499, marked").wait_for()
    strip.get_by_role("option", name="Image 1497").click()
    hand.image_is("1496.bmp")
    hand.root.get_by_text("Files skipped: 1").click()
    hand.root.get_by_role("row", name=re.compile("broken.jpg .*remove it")).wait_for()


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1280, 720), (390, 844)])
def test_the_picture_fits_the_window(hand, width, height):
    hand.page.set_viewport_size({"width": width, "height": height})
    if width < 500:  # a person with a phone closes the list of files
        hand.lab.command("application:toggle-left-area")
    hand.page.wait_for_timeout(500)
    for _ in SIZES:
        hand.root.evaluate("root => root.scrollIntoView()")
        box, root = hand.canvas.bounding_box(), hand.root.bounding_box()
        assert box["x"] >= root["x"] and box["x"] + box["width"] <= root["x"] + root["width"]
        assert box["y"] + box["height"] <= height and box["width"] * box["height"] > 20_000
        assert hand.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
        hand.canvas.focus()
        hand.press("n")
        hand.page.wait_for_timeout(300)
