"""A learner at work in JupyterLab: a mistake is named where it was made, a slider redraws."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from PIL import Image

from xblcore.pipeline import learners

WORKSHOP = Path(__file__).parents[2] / "notebooks" / "workshop"
NOTEBOOK = "2_grad_cam_by_hand.ipynb"
MISTAKEN = """def grad_cam(features, gradients):
    weighted = gradients * features
    return weighted.sum(0)


checks.grad_cam(grad_cam)"""
HIGH_ENOUGH = 8000  # pixels: the whole notebook, so that nothing has to be scrolled to


@pytest.fixture
def handed_out(lab, request):
    """The learners' version up to section 2.3, with one exercise done wrong, all cells run."""
    folder = lab.server.folder / "build" / request.node.name
    learners.write(WORKSHOP, folder)
    notebook = nbformat.read(folder / NOTEBOOK, as_version=4)
    sources = [cell.source for cell in notebook.cells]
    mistaken = next(n for n, s in enumerate(sources) if s.endswith("checks.grad_cam(grad_cam)"))
    notebook.cells[mistaken].source = MISTAKEN
    notebook.cells = notebook.cells[: sources.index("explore.reading()") + 1]
    nbformat.write(notebook, folder / NOTEBOOK)
    lab.page.set_viewport_size({"width": 1540, "height": HIGH_ENOUGH})
    return lab.open(f"build/{request.node.name}/{NOTEBOOK}").run_all()


def test_a_learner_is_told_what_is_off_and_can_go_on(handed_out):
    page = handed_out.page
    page.get_by_role("status").filter(has_text="but it is HiResCAM").wait_for()
    page.get_by_text("Going on with xblcore's, since your grad_cam is not right yet.").wait_for()
    assert page.get_by_role("status").filter(has_text="✗ Not yet").count() == 2
    assert page.get_by_role("status").filter(has_text="✓ Right").count() == 0
    picture(handed_out, first="Exercise 2.2: the map", last="by_hand = checks.GRAD_CAM")


def test_a_slider_redraws_its_figure_by_keyboard(handed_out):
    cell = handed_out.page.locator(".jp-Notebook .jp-Cell").last
    figure = cell.locator("img")
    before = figure.get_attribute("src")
    slider = cell.get_by_role("slider")
    slider.focus()
    slider.press("ArrowLeft")
    handed_out.page.wait_for_function(
        "before => { const all = document.querySelectorAll('.jp-Cell');"
        " const image = all[all.length - 1].querySelector('img');"
        " return image && image.src !== before }",
        arg=before,
    )
    assert figure.count() == 1
    assert float(slider.get_attribute("aria-valuenow")) < 1


def picture(lab, *, first: str, last: str) -> None:
    """From one cell to another, without the bars around them."""
    cells = lab.page.locator(".jp-Notebook .jp-Cell")
    top = cells.filter(has_text=first).first.bounding_box()
    end = cells.filter(has_text=last).first.bounding_box()
    lab.page.mouse.click(2, 2)
    path = lab.picture("workshop")
    with Image.open(path) as window:
        area = window.crop((top["x"], top["y"], top["x"] + top["width"], end["y"] + end["height"]))
    area.save(path, optimize=True)
