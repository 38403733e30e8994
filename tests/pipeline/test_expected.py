"""Renewing what is expected: the copy in which the smoke profile is run, and a run that fails."""

from pathlib import Path

import pytest
import yaml

from xblcore.pipeline import expected


@pytest.fixture
def project(folder: Path) -> Path:
    """A project with one stage, which fails, and with things that a copy leaves out."""
    root = folder / "root"
    for name in ("results", "build", "data/raw", "data/decoy", ".venv", ".venv-test-oldest"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("made")
    (root / "params.yaml").write_text("# numbers\nprofile: laptop # the default\ndevice: cpu\n")
    (root / "dvc.yaml").write_text("stages: {strip: {cmd: exit 3}}\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    return root


def test_a_copy_has_the_data_and_nothing_that_was_run(project, folder):
    copy = folder / "copy"
    expected.copy_in_profile(project, copy, "smoke")
    files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    ours = {name for name in files if not name.startswith(".git/")}
    assert ours == {"params.yaml", "dvc.yaml", ".dvc/config", "data/raw/file"}
    text = (copy / "params.yaml").read_text()
    assert yaml.safe_load(text) == {"profile": "smoke", "device": "cpu"}
    assert text.startswith("# numbers\nprofile: smoke # the default\n"), "only the word changed"


def test_a_project_without_a_line_for_the_profile_is_refused(project, folder):
    (project / "params.yaml").write_text("device: cpu\n")
    with pytest.raises(ValueError, match="must have one line `profile: NAME`, got 0"):
        expected.copy_in_profile(project, folder / "copy", "smoke")


def test_a_smoke_run_that_fails_renews_nothing(project, monkeypatch, capfd):
    monkeypatch.chdir(project)
    assert expected.main(["--smoke"]) == 1
    assert "returned non-zero exit status" in capfd.readouterr().err
    assert not (project / "results" / "expected.json").exists()
