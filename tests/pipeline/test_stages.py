"""dvc.yaml tells the truth: each stage depends on just the modules that it imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
import yaml

from xblcore.methods import METHODS
from xblcore.pipeline import code

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "xblcore"
# They start what a stage runs and decide nothing in it; a change there must not retrain.
STARTERS = {
    f"xblcore/pipeline/{name}.py"
    for name in ("notebook", "execute", "lifeline", "dvc_command", "reproduce")
}
# The same of what they import.
AROUND = {f"xblcore/pipeline/{name}.py" for name in ("__init__", "lifeline", "stage")}
REGISTRY, ENTRY = "xblcore/methods/__init__.py", "xblcore/methods/{}.py"


def stages_of(pipeline: str) -> dict[str, dict]:
    """Stages of a ``dvc.yaml``; of one that stands for several, the notebook of each."""
    found = {}
    for name, stage in yaml.safe_load((ROOT / pipeline).read_text(encoding="utf-8"))[
        "stages"
    ].items():
        each = stage.get("foreach", {None: ""})
        for key, item in each.items():
            text = json.dumps(stage.get("do", stage)).replace("${item}", item)
            found[f"{name}@{key}" if key else name] = json.loads(text)
    return found


STAGES = stages_of("dvc.yaml")
EXPERIMENTS = stages_of("experiments/dvc.yaml")


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


def imported(stage: dict, methods: Iterable[str]) -> set[str]:
    """Modules that the commands of a stage, and the notebooks that they run, import.

    The registry imports an entry when it is asked for: those of ``methods``.
    """
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
    found = closure(start)
    if ROOT / REGISTRY in found:
        found |= closure({ROOT / ENTRY.format(name) for name in methods})
    names = {path.relative_to(ROOT).as_posix() for path in found}
    return {name for name in names if not only_names(ROOT / name)} - AROUND


def only_names(path: Path) -> bool:
    """Whether a package only says what it is and gathers names: then nothing depends on it."""
    body = ast.parse(path.read_text("utf-8")).body
    harmless = all(
        isinstance(node, ast.ImportFrom | ast.Expr)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in body
    )
    return path.name == "__init__.py" and harmless


def listed(stage: dict) -> set[str]:
    """Modules that a stage says it depends on, folders opened."""
    found = set()
    for dependency in stage["deps"]:
        path = ROOT / dependency
        if dependency.startswith("xblcore"):
            assert path.exists(), f"{dependency} is not there"
            found |= {path} if path.is_file() else set(path.rglob("*.py"))
    names = {path.relative_to(ROOT).as_posix() for path in found if path.suffix == ".py"}
    return {name for name in names if not only_names(ROOT / name)}


@pytest.fixture(scope="module")
def digested(tmp_path_factory) -> dict[str, set[str]]:
    """Method to the modules in its file of ``build/code``, on which its training depends too."""
    paths = code.write(tmp_path_factory.mktemp("code"))
    lines = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in paths}
    return {name: {line.split("  ")[1] for line in each} for name, each in lines.items()}


@pytest.mark.parametrize(
    "name", [name for name in (*STAGES, *EXPERIMENTS) if name not in ("code", "train")]
)
def test_a_stage_depends_on_what_it_imports_and_on_nothing_else(name):
    stage = (STAGES | EXPERIMENTS)[name]
    needed = imported(stage, METHODS)
    assert needed - listed(stage) == set(), "imported, but not in deps"
    assert listed(stage) - needed == set(), "in deps, but not imported"


@pytest.mark.parametrize("method", METHODS)
def test_training_by_a_method_depends_on_what_it_imports_and_on_nothing_else(method, digested):
    stage = STAGES["train"]
    assert "build/code/${item.method}.txt" in stage["deps"]
    needed = imported(stage, [method])
    assert needed - listed(stage) - digested[method] == set(), "imported, but not in deps"
    assert (listed(stage) | digested[method]) - needed == set(), "in deps, but not imported"


def test_no_method_depends_on_another_nor_on_the_losses_of_another_family(digested):
    for name, files in digested.items():
        assert files & {ENTRY.format(other) for other in METHODS} == {ENTRY.format(name)}
    families = {
        name: {Path(file).stem for file in files if file.startswith("xblcore/losses/")} - {"common"}
        for name, files in digested.items()
    }
    assert families["erm"] == families["xbl_d_released"] == set()
    assert families["rrr"] == families["rbr"] == {"input_gradient"}
    assert families["xbl_d"] == {"by_distance"} and families["cdep"] == {"contextual"}


def test_what_digests_the_code_reads_all_of_it():
    assert STAGES["code"]["deps"] == ["xblcore"] and STAGES["code"]["outs"] == ["build/code"]


def test_the_losses_only_gather_names_and_the_registry_does_more():
    """Else methods, which import from modules of the losses, would depend on the package too."""
    assert only_names(PACKAGE / "losses" / "__init__.py")
    assert not only_names(ROOT / REGISTRY)


def test_training_does_not_depend_on_how_results_are_shown():
    """A change to a figure or a table must not retrain anything."""
    assert not listed(STAGES["train"]) & {
        "xblcore/results.py", "xblcore/plots/results.py", "xblcore/claims.py", "xblcore/stats.py"
    }  # fmt: skip


def test_the_imports_are_really_followed():
    """The closure is not empty for want of finding anything."""
    assert {"xblcore/cam.py", "xblcore/losses/by_distance.py"} <= imported(
        STAGES["train"], ["xbl_d"]
    )


@pytest.mark.parametrize("name", ["decoy", "train", "sweep", "around@feedback", "layers", "gaming"])
def test_what_a_profile_says_of_a_task_is_a_parameter(name):
    """The profile's own name would not do: the numbers behind it can be edited."""
    params = (STAGES | EXPERIMENTS)[name]["params"]
    task = "${item.task}" if name in STAGES else "${task}"
    assert {f"setup.{task}.profiles.${{profile}}", "profiles.${profile}"} <= {
        param for param in params if isinstance(param, str)
    }
