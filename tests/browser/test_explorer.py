"""The explorer in a real JupyterLab and as a page by Voila: by mouse, by keys, after a restart."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

NOTEBOOK = "notebooks/explore.ipynb"
RUNS = Path(__file__).parents[2] / "results" / "decoy_coco" / "runs.csv"
LATER = 120_000  # milliseconds for a notebook to run


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).select_option(label=option)


def panels(page: Page) -> Locator:
    return page.locator(".xbl-panel-title")


def dot(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=re.compile(f"^{re.escape(name)}:"))


@pytest.fixture
def explorer(lab) -> Page:
    lab.open(NOTEBOOK).run_all()
    expect(panels(lab.page)).to_have_count(5, timeout=LATER)
    expect(lab.page.locator(".xbl-dot").first).to_be_visible(timeout=LATER)
    return lab.page


def test_widgets_filters_and_dots_by_mouse(explorer, lab):
    expect(panels(explorer).nth(3)).to_have_text("XBL-D")
    expect(panels(explorer).nth(4)).to_have_text("ERM")
    choose(explorer, "Task", "Decoy MS-COCO")
    expect(explorer.get_by_role("heading", name="Decoy MS-COCO (stand-in data)")).to_be_visible()
    choose(explorer, "Method", "RRR")
    expect(panels(explorer).nth(3)).to_have_text("RRR")
    choose(explorer, "Show", "flipped by the decoy")
    expect(explorer.locator(".xbl-status")).to_contain_text("of 30 images")
    flipped = explorer.get_by_role("row", name="Flipped by the decoy")
    expect(flipped.get_by_role("cell").first).to_have_text("yes")
    before = explorer.locator(".xbl-row").inner_html()
    explorer.get_by_role("button", name="Next image").click()
    expect(explorer.locator(".xbl-row")).not_to_have_js_property("innerHTML", before)
    runs = pd.read_csv(RUNS)
    (weight,) = runs.loc[runs["chosen"] & (runs["method"] == "xbl_overlap"), "weight"].unique()
    run = f"XBL-overlap, weight {weight:g}, seed 3"
    dot(explorer, run).click(force=True)
    expect(panels(explorer).nth(3)).to_have_text("XBL-overlap")
    expect(explorer.get_by_label("Seed", exact=True)).to_have_value(re.compile("3"))
    expect(explorer.get_by_text(f"{run}.")).to_be_visible()
    lab.picture("explorer-lab")


def test_everything_can_be_reached_and_done_with_keys_alone(explorer):
    explorer.get_by_label("Task", exact=True).focus()
    for _ in range(40):
        explorer.keyboard.press("Tab")
        if explorer.evaluate("document.activeElement.matches('.xbl-dot')"):
            break
    focused = explorer.locator(".xbl-dot:focus")
    first = focused.get_attribute("aria-label")
    ring = focused.locator(".xbl-ring")
    assert ring.evaluate("ring => getComputedStyle(ring).strokeWidth") == "4px"
    explorer.keyboard.press("Home")
    explorer.keyboard.press("ArrowRight")
    second = focused.get_attribute("aria-label")
    assert second != first
    explorer.keyboard.press("Enter")
    expect(focused).to_have_attribute("aria-pressed", "true")
    expect(explorer.locator(".xbl-line")).to_have_text(f"Chosen: {second}")
    expect(explorer.get_by_text(f"{second.partition(':')[0]}.", exact=False).first).to_be_visible()
    seen = {second}
    for _ in range(200):
        explorer.keyboard.press("ArrowRight")
        seen.add(focused.get_attribute("aria-label"))
    assert len(seen) >= explorer.locator(".xbl-dot").count() - 1, "every dot is reached"
    explorer.get_by_label("Method", exact=True).focus()
    outline = "document.activeElement => getComputedStyle(document.activeElement).outlineWidth"
    assert explorer.evaluate(outline.replace("document.activeElement =>", "() =>")) == "3px"


def test_a_restarted_kernel_is_told_and_the_cells_run_again(explorer, lab):
    lab.restart()
    told = "getComputedStyle(document.querySelector('.xbl-explorer'), '::before').content"
    explorer.wait_for_function(f"() => {told}.includes('Run the cells of the notebook again')")
    lab.picture("explorer-restarted")
    lab.run_all()
    expect(panels(explorer)).to_have_count(5, timeout=LATER)
    assert explorer.evaluate(told) == "none"


def test_as_a_page_by_voila(page, voila, lab):
    page.goto(voila.url().partition("?")[0])
    expect(page).to_have_url(re.compile("/login"), timeout=LATER)  # nobody without the token
    page.goto(voila.url(f"voila/render/{NOTEBOOK}"))
    expect(panels(page)).to_have_count(5, timeout=LATER)
    expect(page.locator(".xbl-dot").first).to_be_visible(timeout=LATER)
    choose(page, "Task", "Decoy CIFAR-10")
    expect(page.get_by_role("heading", name="Decoy CIFAR-10 (stand-in data)")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("pre, .jp-InputArea-editor")).to_have_count(0)
    choose(page, "Image", page.get_by_label("Image").locator("option").nth(4).inner_text())
    page.set_viewport_size({"width": 1240, "height": 1900})
    page.locator(".xbl-explorer").evaluate("part => part.style.padding = '12px'")
    lab.picture("explorer", page.locator(".xbl-explorer"))
