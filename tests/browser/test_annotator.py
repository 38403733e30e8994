"""The annotator as a person meets it; what counts is read from the disk by another process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image, ImageOps

from xblcore.widgets.folder import write_images
from xblcore.widgets.store import AnnotationStore

LATER = 180_000  # milliseconds: for training on a busy machine
SIZES = {"a.png": (28, 28), "b.png": (90, 30), "c.png": (300, 400)}  # height and width
CELLS = (
    "from xblcore.widgets import Annotator\n"
    "cam = lambda pixels: pixels[::2, ::2, 0].astype(float)\n"
    "annotator = Annotator({folder!r}, cam=cam, goal=2)\n"
    "annotator",
    "annotator",
)
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
EXECUTE = """async code => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const reply = await kernel.requestExecute({code}).done;
  if (reply.content.status !== 'ok') throw new Error(reply.content.evalue);
}"""
# The marked image whose CAM lies most on what was marked, for a picture that shows what is meant.
BEST = """
from torch import from_numpy
from xblcore.distance import to_grid
cells = from_numpy(to_grid(refined.marked.decoy_mask, tuple(refined.before.shape[1:])))
inside = (refined.before * cells).sum((1, 2)) / refined.before.sum((1, 2))
annotator.show_cam(cam_of(model, **explained))
annotator.show_image(refined.names[int(inside.argmax())])
refined.picture(4).savefig({path!r}, dpi=120)
"""
PID = """async () => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  let text = '';
  const done = kernel.requestExecute({code: 'import os; print(os.getpid())'});
  done.onIOPub = message => { text += message.content.text ?? ''; };
  await done.done;
  return Number(text);
}"""


def images(folder: Path) -> Path:
    """A bright blob on a dark ground, in every size."""
    pixels = {}
    for name, (height, width) in SIZES.items():
        y, x = np.mgrid[:height, :width]
        blob = np.exp(-((4 * x / width - 2) ** 2) - (4 * y / height - 2) ** 2)
        pixels[name] = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, 2)
    return write_images(folder, pixels)


class Hand:
    """A person at one view of the annotator."""

    def __init__(self, lab, folder: Path, view: int = 0) -> None:
        self.lab, self.page, self.folder = lab, lab.page, folder
        self.root = lab.page.locator(".xbl-annotator").nth(view)
        self.canvas = self.root.locator("canvas")

    def told(self, text: str) -> None:
        """Wait until the status line has a text."""
        self.root.get_by_role("status").filter(has_text=text).wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name: str) -> None:
        self.root.get_by_role("button", name=name).click()

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Place on the screen of a point of the picture, both parts in [0, 1]."""
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

    def mask(self, name: str, layer: str = "wrong") -> np.ndarray:
        """What is on the disk, opened anew."""
        return AnnotationStore(self.folder).mask(name, layer)

    def until(self, name: str, count: int | None = None, layer: str = "wrong") -> np.ndarray:
        """Wait until so many pixels are marked, None: any; the mask."""
        for _ in range(200):
            mask = self.mask(name, layer)
            if mask.sum() == count or (count is None and mask.any()):
                return mask
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{mask.sum()} pixels of {name} are {layer}, not {count}")

    def shown(self) -> bytes:
        return self.canvas.evaluate("canvas => canvas.toDataURL()").encode()

    def image_is(self, name: str) -> None:
        self.root.get_by_text(f": {name}", exact=False).first.wait_for()


@pytest.fixture
def hand(lab, request) -> Hand:
    """The annotator on a fresh folder, run in a notebook with two views of it."""
    name = re.sub(r"\W+", "_", request.node.name)
    folder = images(lab.server.folder / "build" / name)
    sources = [source.format(folder=str(folder)) for source in CELLS]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = lab.server.folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)
    lab.open(f"notebooks/{name}.ipynb").run_all()
    person = Hand(lab, folder)
    person.told("Nothing marked yet, 0 of 2 marked")
    return person


def along(size: tuple[int, int], start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Pixels whose centres lie within ``radius`` of a line, by brute force."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    steps = np.linspace(0, 1, 500)[:, None, None]
    points = [(1 - steps) * one + steps * other for one, other in zip(start, end, strict=True)]
    return (np.hypot(x - points[0] * width, y - points[1] * height) <= radius).any(0)


def test_mouse_brush_eraser_undo_redo_and_a_second_view(hand):
    """What is drawn is where the mouse was, in the mask on the disk and in every view."""
    hand.drag((0.25, 0.5), (0.75, 0.5))
    line = hand.until("a.png")
    assert (line != along(SIZES["a.png"], (0.25, 0.5), (0.75, 0.5), 28 / 16)).sum() <= 4
    hand.told("Saved, 1 of 2 marked")
    other = Hand(hand.lab, hand.folder, view=1)
    other.told("Saved, 1 of 2 marked")
    hand.click("Eraser")
    hand.drag((0.5, 0.3), (0.5, 0.7))
    hand.told("Saved")
    cut = hand.until(
        "a.png", int((line & ~along(SIZES["a.png"], (0.5, 0.3), (0.5, 0.7), 1.75)).sum())
    )
    hand.click("Object")
    hand.click("Brush")
    hand.drag((0.1, 0.1), (0.1, 0.1))
    hand.until("a.png", layer="object")
    other.click("Undo")
    hand.until("a.png", 0, layer="object")
    hand.click("Undo")
    np.testing.assert_array_equal(hand.until("a.png", int(line.sum())), line)
    hand.click("Redo")
    np.testing.assert_array_equal(hand.until("a.png", int(cut.sum())), cut)
    hand.click("Wrong")
    hand.click("Clear layer")
    hand.until("a.png", 0)
    hand.press("z")  # the focus is on a button
    hand.until("a.png", int(cut.sum()))


def test_a_finger_draws_and_a_second_one_does_not_disturb(hand):
    touch = hand.page.context.new_cdp_session(hand.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [hand.at(point) for point in points]
        fingers = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    before = hand.canvas.bounding_box()
    send("touchStart", (0.2, 0.2))
    send("touchMove", (0.2, 0.5))
    send("touchStart", (0.2, 0.5), (0.8, 0.8))
    send("touchMove", (0.2, 0.8), (0.8, 0.2))
    send("touchEnd")
    mask = hand.until("a.png")
    assert hand.canvas.bounding_box() == before, "the page must not scroll"
    assert (mask != along(SIZES["a.png"], (0.2, 0.2), (0.2, 0.8), 1.75)).sum() <= 4


def test_keyboard_alone(hand):
    """From the notebook to the picture by Tab, then marked, looked through and taken back."""
    hand.page.locator(".jp-OutputArea-output").first.evaluate("output => output.tabIndex = -1")
    hand.page.locator(".jp-OutputArea-output").first.focus()
    for _ in range(30):
        hand.press("Tab")
        if hand.canvas.evaluate("canvas => canvas === document.activeElement"):
            break
    hand.press("o", "Space", *["ArrowRight"] * 4, "Space")
    mask = hand.until("a.png", layer="object")
    assert (mask != along(SIZES["a.png"], (0.5, 0.5), (0.5 + 3.5 / 28, 0.5), 1.75)).sum() <= 4
    hand.told("Saved, 1 of 2 marked")
    hand.press("Space", "ArrowUp", "Escape", "n")  # a line that is dropped
    hand.image_is("b.png")
    hand.press("w", "]", "Space", "Space")
    hand.until("b.png")
    hand.told("Saved, 2 of 2 marked; that is enough to refine by")
    assert hand.root.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 1
    hand.press("Control+z")
    hand.until("b.png", 0)
    hand.press("y", "p")
    hand.image_is("a.png")
    assert hand.until("b.png").any() and (hand.mask("a.png", "object") == mask).all()


def test_sizes_crispness_and_the_opacity_of_the_cam(hand):
    shapes = {}
    radii = []
    for name, (height, width) in SIZES.items():
        hand.image_is(name)
        hand.page.wait_for_timeout(150)
        box = hand.canvas.bounding_box()
        shapes[name] = box["width"] / box["height"], width / height
        assert max(box["width"], box["height"]) <= 514
        radii.append(float(re.match(r"[\d.]+", hand.root.locator("output").first.inner_text())[0]))
        if name != "c.png":
            hand.click("Next")
    for found, expected in shapes.values():
        assert found == pytest.approx(expected, rel=0.02)
    assert radii == pytest.approx([28 / 16, 30 / 16, 300 / 16], abs=0.06), "as large on the screen"
    hand.click("Previous")
    hand.image_is("b.png")
    hand.click("Previous")
    hand.image_is("a.png")
    slider = hand.root.get_by_role("slider", name="CAM opacity")
    slider.fill("0")
    hand.page.wait_for_timeout(150)
    cell = hand.canvas.evaluate(
        "canvas => { const side = canvas.width / 28;"
        "return [...canvas.getContext('2d').getImageData(14 * side, 9 * side, side, side).data]; }"
    )
    assert len(np.unique(np.reshape(cell, (-1, 4)), axis=0)) == 1, "one pixel, one colour"
    without = hand.shown()
    slider.fill("1")
    assert hand.shown() != without
    hand.canvas.focus()
    hand.press("c")
    assert hand.shown() == without


def test_nothing_that_was_saved_is_lost_and_nothing_drawn_is_forgotten(hand):
    """Reload, a killed kernel, a restarted one: told in words, and made good by running again."""
    hand.drag((0.2, 0.2), (0.4, 0.2))
    hand.told("Saved, 1 of 2 marked")
    first = hand.until("a.png")
    hand.lab.save()
    hand.page.reload()
    hand.root.wait_for(timeout=60_000)
    hand.told("Saved, 1 of 2 marked")
    hand.click("Undo")
    hand.until("a.png", 0)
    hand.click("Redo")
    hand.until("a.png", int(first.sum()))
    hand.told("Saved, 1 of 2 marked")
    os.kill(hand.page.evaluate(PID), signal.SIGKILL)
    hand.page.get_by_role("dialog").get_by_role("button", name="Ok").click()
    hand.drag((0.2, 0.8), (0.4, 0.8))
    hand.told("1 stroke is kept in this window")
    np.testing.assert_array_equal(hand.mask("a.png"), first)
    hand.lab.run_all()
    hand.told("Saved, 1 of 2 marked")
    both = first | along(SIZES["a.png"], (0.2, 0.8), (0.4, 0.8), 1.75)
    assert (hand.mask("a.png") != both).sum() <= 4
    hand.click("Previous")
    hand.image_is("a.png")  # before the restart, which would drop what is on its way
    hand.lab.restart()
    before = hand.shown()
    hand.drag((0.8, 0.5), (0.8, 0.5))
    hand.told("run this cell again")
    hand.page.mouse.move(0, 0)  # no brush over the picture
    assert hand.shown() != before, "the dot that waits is seen"
    hand.lab.picture("annotator-restarted")


def test_masks_are_exported_and_imported(hand):
    hand.drag((0.3, 0.3), (0.5, 0.5))
    mask = hand.until("a.png")
    hand.click("Export")
    hand.told("Exported to annotations/export")
    out = hand.folder / "annotations" / "export"
    np.testing.assert_array_equal(np.asarray(Image.open(out / "wrong" / "a.png.png")) == 255, mask)
    (found,) = json.loads((out / "annotations.json").read_text())["annotations"]
    assert found["area"] == mask.sum()
    kept = shutil.copytree(out, hand.folder.parent / "elsewhere", dirs_exist_ok=True)
    for path in (kept / "annotations.json", kept):
        hand.click("Clear layer")
        hand.until("a.png", 0)
        hand.page.evaluate(EXECUTE, f"annotator.import_masks({str(path)!r})")
        np.testing.assert_array_equal(hand.until("a.png", int(mask.sum())), mask)
        hand.told("Saved, 1 of 2 marked")


NAMED = ("button", "slider", "progressbar", "application", "status", "DisclosureTriangle")
CONTRASTS = """root => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  return [...root.querySelectorAll('*')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
      const [one, two] = [parse(getComputedStyle(e).color), ground(e)].map(light);
      return [e.textContent, (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)];
    });
}"""


LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"


@pytest.fixture(params=[LIGHT, DARK])
def theme(hand, request) -> Iterator[str]:
    """JupyterLab in a theme; it remembers it, so the light one is put back for what follows."""

    def change(name: str) -> None:
        hand.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
        )
        hand.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")

    change(request.param)
    yield request.param
    change(LIGHT)


def test_names_focus_and_contrast(hand, theme):
    hand.root.locator("summary").click()
    for text, contrast in hand.root.evaluate(CONTRASTS):
        assert contrast >= 4.5, text
    tree = hand.page.context.new_cdp_session(hand.page)
    tree.send("DOM.enable")
    document = tree.send("DOM.getDocument")["root"]["nodeId"]
    found = tree.send("DOM.querySelector", {"nodeId": document, "selector": ".xbl-annotator"})
    nodes = tree.send("Accessibility.queryAXTree", {"nodeId": found["nodeId"]})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes
             if not node["ignored"] and node["role"]["value"] in NAMED]  # fmt: skip
    assert len([role for role, _ in named if role == "button"]) == 10
    assert {role for role, _ in named} == set(NAMED)
    assert not [role for role, name in named if not name and role != "status"]
    stops = []
    hand.root.get_by_role("button", name="Object").focus()
    hand.press("Shift+Tab")  # from here on by keyboard
    for _ in range(14):
        stops.append(hand.page.evaluate(
            "() => { const at = document.activeElement, look = getComputedStyle(at);"
            "return [at.closest('.xbl-annotator') !== null, at.tagName, look.outlineStyle,"
            " parseFloat(look.outlineWidth)]; }"
        ))  # fmt: skip
        hand.press("Tab")
    assert [stop[1] for stop in stops].count("BUTTON") == 10
    assert {"CANVAS", "INPUT", "SUMMARY"} <= {stop[1] for stop in stops}
    for inside, tag, style, width in stops:
        assert inside and style == "solid" and width >= 2, (tag, style, width)
    hand.lab.picture(f"annotator-{theme.split()[-1].lower()}")


SWITCH = """() => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.widgets.forEach((cell, n) => {
    const source = cell.model.sharedModel.getSource();
    if (!source.startsWith('SIMULATE = False')) return;
    cell.model.sharedModel.setSource(source.replace('False', 'True'));
    notebook.activeCellIndex = n;
  });
  void window.jupyterapp.commands.execute('notebook:run-all-below');
}"""


def test_from_a_folder_to_a_refined_model(lab):
    """The notebook for one's own data: nothing marked is told, then 25 marks, then the cure."""
    lab.open("notebooks/your_own_data.ipynb").run_all()
    texts = json.dumps(lab.outputs())
    assert "0 images are marked" in texts and "Nothing is marked yet: mark some" in texts
    lab.page.evaluate(SWITCH)
    refining = lab.cell("refine(model")
    refining.get_by_text(re.compile(r"\b[1-4]/5")).wait_for(timeout=LATER)  # while it trains
    refining.get_by_text("5/5").wait_for(timeout=LATER)
    told = lab.page.get_by_text(re.compile(r"% before, .*% after")).last
    before, after = map(float, re.findall(r"([\d.]+)%", told.inner_text(timeout=LATER)))
    assert after > before + 20
    described = lab.page.locator("figure.xbl-refined img").get_attribute("alt")
    assert described.startswith("Before and after refining. 25 marked images; share")
    lab.page.get_by_text("weights: ").last.wait_for()
    assert lab.errors() == []
    store = AnnotationStore(lab.server.folder / "build" / "your_own_data" / "images")
    assert len(store.marked) == 25 and (store.home / "refined.pt").is_file()
    for_the_readme(lab, store)


def for_the_readme(lab, store: AnnotationStore) -> None:
    """One picture: the annotator on a marked image, and beside it what refining has changed."""
    figure = lab.server.folder / "build" / "before_after.png"
    lab.page.evaluate(EXECUTE, BEST.format(path=str(figure)))
    hand = Hand(lab, store.images.root)
    hand.canvas.focus()
    hand.press("c", "c")  # the CAM off and on: what Python has sent is painted
    lab.page.wait_for_timeout(500)
    alone = lab.picture("annotator-alone", hand.root)
    left = Image.open(alone).convert("RGB")
    right = Image.open(figure).convert("RGB")
    parts = [ImageOps.contain(left, (620, 800)), ImageOps.contain(right, (570, 800))]
    joined = Image.new("RGB", (1200, max(part.height for part in parts)), "white")
    for part, x in zip(parts, (0, 630), strict=True):
        joined.paste(part, (x, (joined.height - part.height) // 2))
    joined.save(alone.with_name("annotator.png"), optimize=True)
    assert alone.with_name("annotator.png").stat().st_size < 300_000
