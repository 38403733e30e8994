"""Executed notebooks are reproducible and independent of the user's configuration."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from tests.study.conftest import tiny_params, write_params
from xblcore.study import notebook, prepare

CELL = """\
import os, sys, time
import matplotlib
from matplotlib import pyplot as plt
print(task, os.getcwd() == folder, matplotlib.rcParams["lines.linewidth"])
print("a message", file=sys.stderr)
print("startup" in globals())
time.sleep(0.1)
figure, ax = plt.subplots(figsize=(1, 1))
lines = ax.plot([0, 1])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a notebook and without data; the environment is restored afterwards."""
    folder = tmp_path / "project"
    write_params(folder, tiny_params())
    monkeypatch.chdir(folder)
    for name in ("MPLBACKEND", "MATPLOTLIBRC", "IPYTHONDIR", "PYDEVD_DISABLE_FILE_VALIDATION"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell('task = "none"\nfolder = ""', metadata={"tags": ["parameters"]}),
        v4.new_code_cell(CELL),
    ]
    metadata = {"language_info": {"name": "python"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), folder / "source.ipynb")
    return folder


def test_two_executions_give_the_same_file_whatever_the_user_configures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"task": "decoy_coco", "folder": str(folder)}
    notebook.execute(Path("source.ipynb"), Path("results/first.ipynb"), parameters)
    home = folder / "home"
    (home / "ipython" / "profile_default" / "startup").mkdir(parents=True)
    (home / "ipython" / "profile_default" / "startup" / "a.py").write_text("startup = True")
    (home / "matplotlibrc").write_text("lines.linewidth: 77\nsavefig.format: svg\n")
    monkeypatch.setenv("MPLBACKEND", "svg")
    monkeypatch.setenv("MATPLOTLIBRC", str(home))
    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    notebook.execute(Path("source.ipynb"), Path("results/second.ipynb"), parameters)
    first, second = (folder / "results" / f"{name}.ipynb" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    executed = nbformat.read(first, as_version=4)
    nbformat.validate(executed)
    assert executed.cells[1].metadata.tags == ["injected-parameters"]
    outputs = executed.cells[2].outputs
    text = {output.name: output.text for output in outputs if output.output_type == "stream"}
    assert text == {"stdout": "decoy_coco True 1.5\nFalse\n", "stderr": "a message\n"}
    figure = next(output for output in outputs if output.output_type == "display_data")
    assert "image/png" in figure.data


def test_task_without_data_gets_a_note_instead(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing.json does not exist; run: make data"):
        prepare.available()
    (folder / "data" / "built").mkdir(parents=True)
    (folder / "data" / "built" / "missing.json").write_text('{"decoy_coco": "No answer."}')
    target = "results/decoy_coco/task.ipynb"
    command = ["notebook", "source.ipynb", target, "-p", "task", "decoy_coco"]
    monkeypatch.setattr(sys, "argv", command)
    notebook.main()
    for place in ("results/decoy_coco", "build/tasks/decoy_coco"):  # the outputs of the DVC stage
        text = (folder / place / "MISSING.md").read_text()
        assert "decoy_coco was not run" in text
        assert "No answer." in text
    assert not (folder / target).exists()
    assert "No answer." in capsys.readouterr().out
    assert prepare.available() == ["decoy_fashion_mnist", "decoy_cifar10"]


def test_preparing_leaves_out_tasks_without_raw_files(
    built: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True)
    for name in ("TINY", "fashion-mnist"):
        (raw / name).symlink_to(built / "data" / "raw" / name)
    prepare.main()
    assert set(prepare.missing()) == {"decoy_cifar10", "decoy_coco", "natural_shortcut"}
    assert prepare.available() == ["decoy_fashion_mnist"]
    captured = capsys.readouterr()
    assert captured.out == "decoy_fashion_mnist: tiny data\n"
    assert "decoy_cifar10 is left out, because its data is unavailable" in captured.err
    (raw / "fashion-mnist").unlink()
    prepare.main()
    assert prepare.available() == ["decoy_fashion_mnist"]  # which was built before
    shutil.rmtree(raw.parent / "built" / "decoy_fashion_mnist")
    with pytest.raises(SystemExit, match="No task has any data"):
        prepare.main()
