"""Weights are read as data: nowhere in the project is a file of them, or of anything, run."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch

from xblcore import checkpoints, weights

ROOT = Path(__file__).parents[1]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("xblcore", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
} | {
    path.relative_to(ROOT).as_posix(): "\n".join(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and not cell.source.startswith(("%", "!"))
    )
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))
}
# What runs, or may run, what it reads.
RUNS = ("pickle.load", "pickle.loads", "pickle.Unpickler", "pd.read_pickle", "joblib.load",
        "dill.load", "cloudpickle.load", "marshal.load", "marshal.loads", "shelve.open",
        "yaml.unsafe_load", "yaml.full_load", "torch.jit.load", "eval", "exec")  # fmt: skip


def unsafe(source: str) -> list[str]:
    """Calls that may run what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if (
            name in RUNS
            or given.get("allow_pickle") == "True"
            or (name == "torch.load" and given.get("weights_only") != "True")
            or (name == "yaml.load" and "_PlainLoader" not in ast.unparse(node))
        ):
            found.append(ast.unparse(node))
    return found


def test_the_scan_finds_what_it_looks_for():
    source = (
        "import torch\ntorch.load(p)\ntorch.load(p, weights_only=False)\nyaml.load(t, Loader)\n"
    )
    assert len(unsafe(source + "np.load(p, allow_pickle=True)\npickle.loads(b)")) == 5
    assert not unsafe("torch.load(p, weights_only=True)\nnp.load(p)\nmodel.eval()")


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_that_is_read_is_run(name):
    assert unsafe(SOURCES[name]) == []


class Attack:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def zipped(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"0": {"head.weight": torch.zeros(1), "more": Attack(mark)}}, file)
    return file.getvalue()


def legacy(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save([Attack(mark)], file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def cut(mark: Path) -> bytes:
    return zipped(mark)[:-100]


def other_archive(mark: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Attack(mark)))
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [zipped, legacy, cut, other_archive, lambda mark: pickle.dumps(Attack(mark)),
                lambda mark: b"", lambda mark: b"no weights"],
    ids=["zipped", "legacy", "cut", "other archive", "pickle", "empty", "text"],
)  # fmt: skip
def test_weights_that_attack_or_are_damaged_are_refused(content, tmp_path, monkeypatch):
    # PyTorch's own switch to take the protection away, where a call does not insist on it.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, path = tmp_path / "mark", tmp_path / "weights.pt"
    path.write_bytes(content(mark))
    for read in (weights.read, lambda path: checkpoints.once(path, lambda: pytest.fail("begun"))):
        with pytest.raises(ValueError, match="weights.pt must hold tensors and plain .* delete it"):
            read(path)
    assert not mark.exists()


def test_the_attack_works_on_an_ordinary_load(tmp_path):
    mark = tmp_path / "mark"
    torch.load(io.BytesIO(zipped(mark)), weights_only=False)
    assert mark.is_dir()


def test_a_kept_run_without_its_fields_is_named(tmp_path):
    torch.save({"measurements": []}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="run.pt must be a finished run, got KeyError.* delete it"):
        checkpoints.once(tmp_path / "run.pt", lambda: pytest.fail("begun"))
