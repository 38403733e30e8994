"""The start page leads somewhere: every link and picture of it is there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PROSE = "\n".join(
    cell.source
    for cell in nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4).cells
    if cell.cell_type == "markdown"
)
LINKS = sorted(set(re.findall(r"\]\(([^)\s]+)\)", PROSE)))


@pytest.mark.parametrize("link", LINKS)
def test_a_link_of_the_start_page_leads_to_a_file(link):
    assert (NOTEBOOKS / link).is_file()


def test_every_notebook_that_a_reader_opens_can_be_reached_from_the_start_page():
    shown = {path.relative_to(NOTEBOOKS).as_posix() for path in NOTEBOOKS.rglob("*.ipynb")}
    run_by_the_pipeline = {f"paper/{name}.ipynb" for name in ("train", "task", "paper")}
    hidden = shown - set(LINKS) - {"start.ipynb"} - run_by_the_pipeline
    assert not {name for name in hidden if ".ipynb_checkpoints" not in name}
