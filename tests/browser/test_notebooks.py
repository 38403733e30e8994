"""The notebooks of the lab, opened and run in JupyterLab."""

from __future__ import annotations

import json
import re

import pytest

from xblcore import data, project
from xblcore.data import DataUnavailableError

LATER = 300_000  # milliseconds: for training on a busy machine
SWITCH = """() => {
  for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) {
    const source = cell.sharedModel.getSource();
    if (source.startsWith('SIMULATE = False')) {
      cell.sharedModel.setSource(source.replace('False', 'True'));
    }
  }
}"""


def test_a_card_of_the_start_page_opens_its_notebook(lab):
    lab.open("notebooks/start.ipynb")
    headings = lab.page.locator(".jp-Notebook h3")
    assert headings.count() == 4
    lab.page.get_by_role("link", name="explore.ipynb").click()
    lab.page.get_by_role("tab", name="explore.ipynb").wait_for()


def test_the_explorer_shows_networks_or_how_to_get_them(lab):
    lab.open("notebooks/explore.ipynb").run_all()
    explorer = lab.page.locator(".xbl-explorer")
    explorer.get_by_text("make reproduce").wait_for()  # the copy of the project has no runs
    assert explorer.get_by_role("combobox").count() == 4


def test_from_a_folder_to_a_refined_model(lab):
    try:
        data.fetch("decoy_fashion_mnist", data.DataConfig(1, 1, 1), raw=project.root() / "data/raw")
    except DataUnavailableError as error:
        pytest.skip(str(error))
    lab.open("notebooks/your_own_data.ipynb").run_all()
    texts = json.dumps(lab.outputs())
    assert "0 images are marked" in texts and "Nothing is marked yet" in texts
    lab.page.evaluate(SWITCH)
    lab.run_all()
    shown = lab.page.get_by_text(re.compile(r"accuracy in TEST: .*% before, .*% after")).last
    before, after = map(float, re.findall(r"([\d.]+)%", shown.inner_text(timeout=LATER)))
    assert after > before + 20
    described = lab.page.locator("figure.xbl-refined img").get_attribute("alt")
    assert "25 marked images" in described
    annotator = lab.page.locator(".xbl-annotator").first
    rows = annotator.get_by_role("row", name=re.compile("region blanked")).all_inner_texts()
    changed, correct = ([int(n) for n in re.findall(r"(\d+) of 25", row)] for row in rows)
    assert changed[0] > changed[1] and correct[0] < correct[1]
    masks = lab.server.folder / "build" / "sample" / "images" / "annotations"
    assert len(list(masks.rglob("*.png"))) == 25 and (masks / "refined.pt").is_file()
