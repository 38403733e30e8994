"""One file that changes if and only if a folder does."""

from __future__ import annotations

from xblcore.pipeline import digest


def test_a_digest_follows_content_and_names(tmp_path, capsys):
    folder, file = tmp_path / "results", tmp_path / "build" / "task.sha256"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("1")
    (folder / "deep" / "b.csv").write_text("2")
    assert digest.main([str(folder), str(file)]) == 0
    first = file.read_text()
    assert [line.split("  ")[1] for line in first.splitlines()] == ["a.csv", "deep/b.csv"]
    digest.main([str(folder), str(file)])
    assert file.read_text() == first
    (folder / "a.csv").write_text("3")
    digest.main([str(folder), str(file)])
    assert file.read_text() != first


def test_an_empty_folder_is_an_error_and_writes_nothing(tmp_path, capsys):
    assert digest.main([str(tmp_path / "gone"), str(tmp_path / "file")]) == 1
    assert "folder must hold files" in capsys.readouterr().err
    assert not (tmp_path / "file").exists()
