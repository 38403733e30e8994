"""xblcore.project: the root from everywhere, files whole or absent, one writer."""

from pathlib import Path

import pytest

from xblcore import project


@pytest.mark.parametrize("below", [".", "notebooks/paper", "results"])
def test_root_from_any_folder_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (folder / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder / below)
    assert project.root() == folder.resolve()
    assert project.root(folder / below / "missing.csv") == folder.resolve()


def test_root_needs_both_marks(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "params.yaml").touch()
    assert project.root(inner) == folder.resolve()


def test_root_falls_back_to_the_installed_project(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "__file__", str(folder / "xblcore" / "project.py"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert project.root() == folder.resolve()


def test_root_outside_a_project_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "__file__", str(tmp_path / "project.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"no folder with params\.yaml and dvc\.yaml.*-e \."
    ):
        project.root()


def test_write_atomic_replaces_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    for text in ("old", "new"):
        with project.write_atomic(path) as temporary:
            assert temporary.suffix == ".csv" and temporary.parent == path.parent
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_write_atomic_has_ordinary_permissions(tmp_path: Path) -> None:
    with project.write_atomic(tmp_path / "a") as temporary:
        temporary.touch()
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_write_atomic_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), project.write_atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    with pytest.raises(FileNotFoundError), project.write_atomic(path):
        pass  # wrote nothing
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_one_writer(folder: Path) -> None:
    path = folder / "results" / "runs"
    with project.only_writer(path):
        with project.only_writer(folder / "results" / "other"):
            pass
        with (
            pytest.raises(TimeoutError, match=r"is being written by another run \(process \d+\)"),
            project.only_writer("results/../results/runs", wait=0),  # another spelling
        ):
            pytest.fail("a second writer was let in")
    with project.only_writer(path, wait=0):  # free again
        pass
