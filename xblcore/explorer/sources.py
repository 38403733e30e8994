"""Where a task can be explored from here, found out without loading torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from xblcore import config, project, results
from xblcore.explorer import gallery
from xblcore.explorer.committed import Committed
from xblcore.explorer.views import Source

COMMITTED, LIVE = "committed", "live"
NAMES = {COMMITTED: "committed gallery", LIVE: "live, networks trained here"}


def open_source(origin: str, task: str, *, root: Path | None = None) -> Source:
    """The committed gallery, or the networks trained here.

    Raises:
        ValueError, FileNotFoundError: it is not there or damaged; the message says what to do.
    """
    if origin == COMMITTED:
        return Committed(gallery.load(task, root=root))
    if missing := why_not_live(task, root=root):
        raise FileNotFoundError(missing)
    from xblcore.explorer.live import Live  # here, since it loads torch

    return Live(task, root=root)


def why_not_live(task: str, *, root: Path | None = None) -> str:
    """What is missing for computing live, and how to get it; empty if nothing is."""
    home = root or project.root()
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed; run: make setup"
    folders = [results.folder(task, name, root=home) for name in config.load(home).methods]
    if not any((folder / "weights.pt").is_file() for folder in folders):
        return "no networks were trained here; run: make reproduce"
    if not (home / "data" / "decoy" / task / "manifest.json").is_file():
        return f"the images are not here; run: dvc repro decoy@{task}"
    return ""


def origins(task: str, *, root: Path | None = None) -> list[str]:
    """Those of :data:`NAMES` that are there, the one that opens at once first."""
    found = [COMMITTED] if gallery.path_of(task, root=root).is_file() else []
    return found if why_not_live(task, root=root) else [*found, LIVE]
