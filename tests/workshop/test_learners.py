"""xblcore.pipeline.learners: no solution left, nobody's work lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from workshop_cells import NOTEBOOKS, WORKSHOP, tagged

from xblcore.pipeline import learners


def rewrite(path: Path, change) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_go_and_exercises_stay(path):
    before = nbformat.read(path, as_version=4)
    after = learners.for_learners(before)
    nbformat.validate(after)
    solutions = [cell.source for cell in before.cells if tagged(cell, "solution")]
    assert solutions
    assert [c.source for c in after.cells] == [
        cell.source for cell in before.cells if not tagged(cell, "solution")
    ]
    text = learners.dumps(after)
    assert not [source for source in solutions if source in text]
    assert all(not cell.get("outputs") for cell in after.cells)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    learners.write(WORKSHOP, tmp_path / "mine")
    return tmp_path / "mine"


def test_all_notebooks_and_the_readme_are_written(folder: Path):
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in NOTEBOOKS} | {"README.md", learners.MADE}
    again = learners.write(WORKSHOP, folder)
    assert (again.new, again.kept, len(again.same)) == ([], [], len(NOTEBOOKS) + 1)


def test_a_notebook_that_was_worked_in_is_left_alone_and_the_others_are_written(folder: Path):
    worked = folder / NOTEBOOKS[0].name
    rewrite(worked, lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("mine = 1")))
    other = folder / NOTEBOOKS[-1].name
    other.unlink()
    before = worked.read_bytes()
    for new in ([other], []):  # the second time as well: what was worked in is remembered
        written = learners.write(WORKSHOP, folder)
        assert (written.new, written.kept) == (new, [worked])
        assert worked.read_bytes() == before and other.is_file()
    assert f"left alone, changed by somebody or not made here: {worked.name}\n" in str(written)
    assert ".venv/bin/python -m xblcore.pipeline.learners FOLDER" in str(written)
    worked.rename(folder / "mine.ipynb")
    assert learners.write(WORKSHOP, folder).new == [worked]


def test_a_notebook_of_another_edition_that_was_worked_in_is_left_alone(folder: Path, tmp_path):
    """Taken back to how it was handed out, it is nobody's work and is replaced."""
    path = folder / NOTEBOOKS[0].name
    handed_out = path.read_bytes()
    rewrite(path, lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("mine = 1")))
    edition = tmp_path / "edition"
    shutil.copytree(WORKSHOP, edition)
    cell = nbformat.v4.new_markdown_cell("New.")
    rewrite(edition / path.name, lambda notebook: notebook.cells.append(cell))
    assert learners.write(edition, folder).kept == [path]
    path.write_bytes(handed_out)
    assert learners.write(edition, folder).new == [path]


def test_without_a_record_every_notebook_counts_as_someone_s_work(folder: Path):
    (folder / learners.MADE).unlink()
    path = folder / NOTEBOOKS[0].name
    rewrite(path, lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("mine = 1")))
    assert learners.write(WORKSHOP, folder).kept == [path]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("README.md", "utf-8"), ("README.md", "latin-1"), (NOTEBOOKS[0].name, "latin-1")],
)
def test_a_file_that_was_not_made_here_stays_be_it_utf_8_or_not(tmp_path: Path, name, encoding):
    own = tmp_path / name
    content = "meine Übung\n".encode(encoding)
    own.write_bytes(content)
    for _ in range(2):
        assert learners.write(WORKSHOP, tmp_path).kept == [own]
        assert own.read_bytes() == content


def test_a_notebook_that_was_only_run_stays_and_is_no_reason_to_refuse(folder: Path):
    def run(notebook):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [nbformat.v4.new_output("stream", text="ran")]

    path = folder / NOTEBOOKS[0].name
    rewrite(path, run)
    before = path.read_bytes()
    written = learners.write(WORKSHOP, folder)
    assert (written.new, written.kept) == ([], [])
    assert path.read_bytes() == before


def test_a_new_edition_replaces_what_nobody_changed(folder: Path, tmp_path: Path):
    edition = tmp_path / "edition"
    shutil.copytree(WORKSHOP, edition)
    rewrite(
        edition / NOTEBOOKS[0].name,
        lambda notebook: notebook.cells.append(nbformat.v4.new_markdown_cell("New.")),
    )
    assert learners.write(edition, folder).new == [folder / NOTEBOOKS[0].name]
    assert "New." in (folder / NOTEBOOKS[0].name).read_text()


def test_the_command_says_what_it_did_and_what_helps(tmp_path: Path, capsys):
    assert learners.main([str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine'}: {len(NOTEBOOKS) + 1} files written\n"
    (tmp_path / "mine" / learners.MADE).write_text("[]")
    assert learners.main([str(tmp_path / "mine")]) == 1
    assert "delete it" in capsys.readouterr().err


def test_a_learners_notebook_runs_to_its_end_with_every_blank_left(folder: Path):
    """The one with the least training; a blank is told of and stops nothing."""
    path = folder / "2_grad_cam_by_hand.ipynb"
    notebook = nbformat.read(path, as_version=4)
    blanks = [cell for cell in notebook.cells if tagged(cell, "exercise")]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(WORKSHOP)}}).execute()
    said = [cell.outputs[0]["data"]["text/plain"] for cell in blanks]
    assert len(said) == 4
    assert all(text.startswith("✗ Not yet: there is still a blank") for text in said)
