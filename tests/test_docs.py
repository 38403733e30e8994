"""Every Python snippet of the README and the recipes runs as it is; the site has no dead links."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import OrderedDict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def placeholders() -> dict[str, Any]:
    """What the README leaves to its reader: a network, images and masks."""
    model = nn.Sequential(OrderedDict(
        layer3=nn.Conv2d(3, 4, 16, stride=16), layer4=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(2),
        flat=nn.Flatten(), head=nn.Linear(16, 2),
    ))  # fmt: skip
    images, labels = torch.rand(4, 3, 224, 224), torch.tensor([0, 1, 0, 1])
    object_mask, wrong_mask = torch.zeros(2, 4, 224, 224, dtype=torch.bool)
    object_mask[:, 64:128, 64:128] = wrong_mask[:2, :32, :32] = True
    return {
        "model": model, "images": images, "labels": labels, "object_mask": object_mask,
        "wrong_mask": wrong_mask, "index": torch.arange(4),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "loader": DataLoader(TensorDataset(images, labels, object_mask, wrong_mask), batch_size=2),
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snippets of a page follow each other and may write files."""
    text = page.read_text(encoding="utf-8")
    if "import torchvision" in text or "from torchvision" in text:
        import xblcore._torchvision  # noqa: F401  declares what a CPU build of PyTorch lacks

        pytest.importorskip("torchvision")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = placeholders() if page.stem == "README" else {}
    snippets = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert snippets
    for snippet in snippets:
        above = "\n" * text[: snippet.start(1)].count("\n")  # so that tracebacks show the line
        exec(compile(above + snippet[1], page, "exec"), names)


class Page(HTMLParser):
    """Links of a page, and what other pages can link to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.names = set[str](), {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.names.add(value)
            elif value and name in ("href", "src") and not re.match(r"[a-z]+:|//", value):
                self.links.add(unquote(value))


def test_the_site_has_no_dead_links(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    site = tmp_path / "site"
    command = ["make", "-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}", f"SITE={site}", "site"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    pages = {path: Page(path) for path in site.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            name, part = urldefrag(link)
            target = (path.parent / name).resolve() if name else path
            # pdoc links to members of other packages as if they were on its page, and nbconvert
            # does not escape the quotes of a heading in the anchor of that heading.
            known = site / "api" in target.parents or target not in pages or '"' in part
            if not target.is_file() or not (known or part in pages[target].names):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert dead == []
