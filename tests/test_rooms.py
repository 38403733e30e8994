"""The rooms of the design: who may import whom, and what must not be needed for what."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xblcore"

ANY = None
# Section 4 of the design, and the rooms that came with the first task. A new module belongs to one
# of these, or gets a line here that says what it may know.
ROOMS: dict[str, set[str] | None] = {
    "__init__": set(),
    "_torchvision": set(),
    "cam": {"capture"},
    "capture": set(),
    "checkpoints": {
        "config",
        "evaluate",
        "imports",
        "methods",
        "prepare",
        "project",
        "train",
        "weights",
    },
    "claims": {"informativeness", "plots", "project", "results", "stats"},
    "config": {"project"},
    "datasets": {"decoys", "project"},
    "decoys": set(),
    "distance": set(),
    "evaluate": {"capture", "explainers", "metrics"},
    "experiments": ANY,
    "expected": {"config", "project", "results", "tolerance"},
    "explainers": {"cam", "capture"},
    "explorer": ANY,
    "gradients": {"methods", "train"},
    "imports": set(),
    "informativeness": {"results", "stats"},
    "inventory": {"config", "plots", "project", "results"},
    "losses": {"models"},  # contextual decomposition has a rule for each of their layers
    "manifest": set(),
    "methods": {"cam", "losses", "released"},
    "metrics": set(),
    "models": set(),
    "pipeline": ANY,
    "plots": {"project", "results"},
    "prepare": {"config", "datasets", "distance", "evaluate", "methods", "models", "train"},
    "project": set(),
    "released": set(),
    "reported": {"config", "expected", "project", "results", "tolerance"},
    "resampling": set(),
    "results": {"config", "project", "stats"},
    "selection": set(),
    "stats": {"resampling"},
    "tables": {"plots", "results"},
    "study": ANY,
    "tolerance": set(),
    "trained": ANY,
    "train": {"cam", "capture", "methods", "metrics"},
    "verify": {"expected"},
    "weights": set(),
    "widgets": ANY,
    "workshop": ANY,
}
WITHOUT_TORCH = (
    "claims", "config", "datasets", "decoys", "distance", "expected", "imports", "informativeness",
    "inventory", "plots", "reported", "resampling", "results", "selection", "stats", "tables",
    "tolerance", "verify",
)  # fmt: skip


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(source: str, package: str) -> set[str]:
    """Dotted names that a module of ``package`` imports, anywhere in it, relative ones resolved."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def rooms_in(names: set[str]) -> set[str]:
    inside = {name.split(".")[1] for name in names if name.startswith("xblcore.")}
    return inside | ({"xblcore as a whole"} if "xblcore" in names else set())


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of_file(path: Path) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return imports_of(path.read_text(encoding="utf-8"), package)


def test_imports_are_found_however_they_are_written():
    source = """
import numpy as np, xblcore.cam
from xblcore import losses as explanation_losses, released
from xblcore.datasets.store import read
from . import sources
from .store import write
from .. import train
from ..metrics import iou
def late():
    from xblcore import study
"""
    assert rooms_in(imports_of(source, "xblcore.datasets")) == {
        "cam", "losses", "released", "datasets", "train", "metrics", "study",
    }  # fmt: skip
    assert rooms_in(imports_of("import xblcore", "xblcore")) == {"xblcore as a whole"}


def test_the_rooms_of_the_design_are_there():
    """One for each line of its table."""
    assert set(map(room_of, FILES.values())) >= set(ROOMS)


@pytest.mark.parametrize("file", FILES)
def test_a_module_imports_only_the_rooms_that_its_own_may_know(file):
    room = room_of(FILES[file])
    assert room in ROOMS, f"give {room!r} a line in ROOMS that says what it may import"
    allowed = ROOMS[room]
    if allowed is ANY:
        return
    used = rooms_in(imports_of_file(FILES[file])) - {room}
    assert used <= allowed, f"{file} must not import {', '.join(sorted(used - allowed))}"


@pytest.mark.parametrize("file", [f for f in FILES if room_of(FILES[f]) in WITHOUT_TORCH])
def test_no_torch_where_arrays_and_tables_do(file):
    outside = {name.split(".")[0] for name in imports_of_file(FILES[file])}
    assert not outside & {"torch", "torchvision"}


def import_without(*missing: str, rooms: tuple[str, ...]) -> str:
    """Names of all modules loaded in a fresh interpreter without the ``missing`` packages."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES.values()
        if room_of(path) in rooms and path.stem not in ("__init__", "__main__")
    ]
    script = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*(name for name, module in sys.modules.items() if module))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_imports_without_torchvision():
    library = tuple(room for room in ROOMS if room != "pipeline")
    assert "xblcore.cam" in import_without("torchvision", rooms=library).split()


def test_arrays_and_tables_need_no_torch():
    assert "torch" not in import_without(rooms=WITHOUT_TORCH).split()


def test_a_map_needs_no_tables_figures_or_pictures():
    loaded = set(
        import_without(rooms=("cam", "losses", "released", "methods", "models", "train")).split()
    )
    assert "torch" in loaded
    assert not loaded & {"pandas", "matplotlib", "skimage", "torchvision", "xblcore.study"}
