"""Write the pages of ``make site``: ``python docs/site.py FOLDER``.

The folder mirrors the repository: the results page, the executed notebooks, the workshop without
its solutions, and each file that one of these links to. Links to anything else become plain text.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from traitlets.config import Config

from xblcore import project
from xblcore.study import config, tables

ROOT = project.root()
INDEX = ROOT / "index.md"  # not a file, see index()
RESULTS = ROOT / "results" / "paper" / "index.html"
LINK = re.compile(r'(<(?:a|img)\b[^>]*?)\s(href|src)="([^":#]+)(#[^"]*)?"')
RENDERED = (".md", ".ipynb")
OPTIONS = Config(TagRemovePreprocessor={"enabled": True, "remove_cell_tags": {"solution"}})


def read(source: Path) -> nbformat.NotebookNode:
    """Read a notebook; a Markdown file is one with a single cell."""
    text = index() if source == INDEX else source.read_text(encoding="utf-8")
    if source.suffix == ".ipynb":
        return nbformat.reads(text, as_version=4)
    cells = [nbformat.v4.new_markdown_cell(text)]
    return nbformat.v4.new_notebook(cells=cells)


def heading(source: Path) -> str:
    """Return the first heading of a notebook or Markdown file."""
    found = re.search(r"^# (.+)$", read(source).cells[0].source, re.MULTILINE)
    return found[1] if found else source.stem


def place(source: Path) -> Path:
    """Return where a file of the repository lies on the site, relative to its folder."""
    path = source.relative_to(ROOT)
    return path.with_suffix(".html") if path.suffix in RENDERED else path


def index() -> str:
    """Return the text of the start page, with links to files of the repository."""
    measured = pd.read_csv(ROOT / "results" / "metrics.csv", usecols=["task", "data"])
    kinds = dict(zip(measured["task"], measured["data"], strict=True))
    questions = {name: own.question for name, own in config.load().experiments.items()}
    sections = {
        "Tasks, as executed": {path: tables.about(path.parent.name, kinds[path.parent.name])
                               for path in ROOT.glob("results/*/task.ipynb")},
        "Experiments, as executed": {path: questions.get(path.parent.name, heading(path))
                                     for path in ROOT.glob("results/experiments/*/*.ipynb")},
        "Workshop": {path: heading(path) for path in ROOT.glob("notebooks/workshop/**/*.ipynb")},
    }  # fmt: skip
    lines = [
        "# Distance-aware explanation-based learning",
        "- [**Results**](results/paper/index.html): claims, figures, an explorer of single images",
        "- [About this compendium](README.md)",
        "- [API reference](api/index.html) and [recipes](api/recipes.html) of the library",
    ]
    for name, entries in sections.items():
        lines += ["", f"## {name}", ""] if entries else []
        lines += [f"- [{text}]({path.relative_to(ROOT).as_posix()})"
                  for path, text in sorted(entries.items())]  # fmt: skip
    return "\n".join(lines)


def relink(match: re.Match[str], *, source: Path, found: list[Path]) -> str:
    """Point a link at the page of its file, and add the file to ``found``."""
    path = (source.parent / unquote(match[3])).resolve()
    if match[3].startswith("api/"):
        return match[0]
    if not (path.is_file() and path.is_relative_to(ROOT)):
        return match[0] if source.suffix == ".html" else match[1]
    found.append(path)
    url = Path(os.path.relpath(place(path), place(source).parent)).as_posix()
    return f'{match[1]} {match[2]}="{url}{match[4] or ""}"'


def build(target: Path) -> None:
    """Write all pages to the folder ``target``."""
    if not RESULTS.is_file():
        raise FileNotFoundError(f"{RESULTS.relative_to(ROOT)} must exist; run make reproduce first")
    exporter = HTMLExporter(config=OPTIONS)  # type: ignore[no-untyped-call]
    todo, done = [INDEX], set[Path]()
    while todo:
        if (source := todo.pop()) in done:
            continue
        done.add(source)
        page = target / place(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix in RENDERED:
            about = {"metadata": {"name": heading(source)}}
            html, _ = exporter.from_notebook_node(read(source), about)
        elif source.suffix == ".html":
            html = source.read_text(encoding="utf-8")
        else:
            shutil.copyfile(source, page)
            continue
        change = functools.partial(relink, source=source, found=todo)
        page.write_text(LINK.sub(change, html), encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
