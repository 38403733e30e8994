"""dvc.yaml tells the truth: each stage depends on just the modules that it imports."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "xblcore"
# They start what a stage runs and decide nothing in it; a change there must not retrain.
STARTERS = {
    f"xblcore/pipeline/{name}.py"
    for name in ("notebook", "execute", "lifeline", "dvc_command", "reproduce")
}

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def modules_of(source: str) -> set[Path]:
    """Files of xblcore that a piece of code imports directly."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(file_of(node.module))
            found |= {file_of(f"{node.module}.{alias.name}") for alias in node.names}
    return {path for path in found if path is not None}


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    if not module.startswith("xblcore"):
        return None
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def closure(files: set[Path]) -> set[Path]:
    """The files and all that they import, directly or not."""
    seen: set[Path] = set()
    waiting = set(files)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= modules_of(path.read_text(encoding="utf-8")) - seen
    return seen


def commands(stage: dict) -> list[str]:
    return stage["cmd"] if isinstance(stage["cmd"], list) else [stage["cmd"]]


def imported(stage: dict) -> set[str]:
    """Modules that the commands of a stage, and the notebooks that they run, import."""
    start: set[Path] = set()
    for command in commands(stage):
        words = command.split()
        start.add(file_of(words[words.index("-m") + 1]))
        for word in words:
            if word.startswith("build/notebooks/"):
                notebook = nbformat.read(ROOT / word.removeprefix("build/"), as_version=4)
                cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
                start |= modules_of("\n".join(cells))
    start = {path for path in start if path.relative_to(ROOT).as_posix() not in STARTERS}
    names = {path.relative_to(ROOT).as_posix() for path in closure(start)}
    return {name for name in names if not only_docstring(ROOT / name)}


def only_docstring(path: Path) -> bool:
    return path.name == "__init__.py" and len(ast.parse(path.read_text("utf-8")).body) <= 1


def listed(stage: dict) -> set[str]:
    """Modules that a stage says it depends on, folders opened."""
    found = set()
    for dependency in stage["deps"]:
        path = ROOT / dependency
        if dependency.startswith("xblcore"):
            assert path.exists(), f"{dependency} is not there"
            found |= {path} if path.is_file() else set(path.rglob("*.py"))
    names = {path.relative_to(ROOT).as_posix() for path in found if path.suffix == ".py"}
    return {name for name in names if not only_docstring(ROOT / name)}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_what_it_imports_and_on_nothing_else(name):
    stage = STAGES[name]
    assert imported(stage) - listed(stage) == set(), "imported, but not in deps"
    assert listed(stage) - imported(stage) == set(), "in deps, but not imported"


def test_training_does_not_depend_on_how_results_are_shown():
    """A change to a figure or a table must not retrain anything."""
    assert not listed(STAGES["train"]) & {
        "xblcore/results.py", "xblcore/plots/results.py", "xblcore/claims.py", "xblcore/stats.py"
    }  # fmt: skip


def test_the_imports_are_really_followed():
    """The closure is not empty for want of finding anything."""
    assert {"xblcore/cam.py", "xblcore/losses.py"} <= imported(STAGES["train"])
