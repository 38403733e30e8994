"""The results page from disk in Chromium: by keyboard, on a phone, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plots.test_page import write_page

VIEWS = {"desktop": (1280, 720), "phone": (390, 844)}
# Texts whose contrast with their background is below 4.5, by the formula of WCAG 2.
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => rgba(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  return [...document.querySelectorAll("main *, nav *")].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((node) => {
      const style = getComputedStyle(node);
      let behind = node;
      while (rgba(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
      const pair = [light(node.closest("svg") ? style.fill : style.color),
                    light(getComputedStyle(behind).backgroundColor)].sort((a, b) => a - b);
      return (pair[1] + 0.05) / (pair[0] + 0.05) < 4.5;
    }).map((node) => node.outerHTML.slice(0, 80));
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = write_page(tmp_path_factory.mktemp("page"))
    return path.as_uri()


@pytest.fixture(params=[("desktop", "light"), ("desktop", "dark"), ("phone", "light")])
def opened(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page with its explorer, which must log and fetch nothing."""
    name, theme = request.param
    width, height = VIEWS[name]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, has_touch=name == "phone"
    )
    page, faults = context.new_page(), list[str]()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda one: None if one.url[:5] in ("file:", "data:") else
            faults.append(one.url))  # fmt: skip
    page.goto(url)
    page.locator(".thumbs button").first.wait_for()
    yield page
    assert faults == []
    context.close()


def test_first_view_fits_and_can_be_read(opened: Any) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate(FAINT) == []
    opened.locator(".example canvas").nth(2).wait_for()  # the example of the lead
    before = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    opened.locator("#theme").press("Enter")  # light
    opened.locator("#theme").press("Enter")  # dark
    after = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (before == after) == opened.evaluate(
        "matchMedia('(prefers-color-scheme: dark)').matches"
    )


def test_first_view_takes_less_than_a_second(browser: Any, url: str) -> None:
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(url)
    page.locator(".example canvas").first.wait_for()
    found = session.send("Performance.getMetrics")["metrics"]
    # Of the CPU, whatever else the machine does; with all that comes after the first view.
    assert 0 < {one["name"]: one["value"] for one in found}["ThreadTime"] < 1
    page.close()


def test_tabs_tables_and_dots_by_keyboard(opened: Any) -> None:
    tabs, press = opened.get_by_role("tab"), opened.keyboard.press
    tabs.first.focus()
    press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    panel = opened.get_by_role("tabpanel")
    assert panel.count() == 1 and "stand-in" in panel.inner_text()
    head = panel.locator("th").nth(4)  # recovery
    for order, first in (("ascending", "ERM"), ("descending", "Oracle")):
        head.locator("button").focus()
        press("Enter")
        assert head.get_attribute("aria-sort") == order
        assert panel.locator("tbody").first.locator("td").first.inner_text() == first
    dots, tip = panel.locator("circle"), opened.locator("#tip")
    dots.first.focus()
    assert "ERM, seed 0" in tip.inner_text()
    press("ArrowRight")
    assert "ERM, seed 1" in tip.inner_text()
    assert panel.locator("circle.same").count() == 3  # the same run in each chart
    press("Escape")
    assert tip.is_hidden()


def test_explorer_by_keyboard(opened: Any) -> None:
    images, facts = opened.locator(".thumbs button"), opened.locator("#x-facts")
    canvas = opened.locator(".pair canvas").first
    before = canvas.evaluate("node => node.toDataURL()")
    images.first.focus()
    opened.keyboard.press("ArrowRight")
    assert images.nth(1).get_attribute("aria-checked") == "true"
    facts.get_by_text("Test image 6").wait_for()
    assert facts.locator("td.wrong").count() == 1  # ERM, with this decoy
    assert canvas.evaluate("node => node.toDataURL()") != before
    assert images.locator("xpath=self::*[@class='flips']").count() == 4
    opened.locator("#x-left").select_option("rrr")
    opened.locator("#x-opacity").press("Home")  # no CAM: both methods show the same image
    left, right = opened.locator(".pair canvas").evaluate_all("all => all.map(c => c.toDataURL())")
    assert left == right
    assert "RRR" in opened.locator(".pair figcaption").first.inner_text()
    assert images.locator("xpath=self::*[@class='flips']").count() == 0
