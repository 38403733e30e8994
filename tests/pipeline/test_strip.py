"""xblcore.pipeline.strip: a save in JupyterLab changes nothing that DVC sees."""

import copy
import os
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from xblcore.pipeline import strip

REPOSITORY = Path(__file__).parents[2]


def written() -> NotebookNode:
    """A notebook as an author writes it."""
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("# Training"),
        v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("print(seed)"),
    ]
    return v4.new_notebook(cells=cells)


def saved(notebook: NotebookNode) -> NotebookNode:
    """The same, run and saved in JupyterLab."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = {
        "kernelspec": {"display_name": "XBL (Python 3)", "language": "python", "name": "xbl"},
        "language_info": {"name": "python", "version": "3.13.1", "file_extension": ".py"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"a": {}}}},
        "toc-autonumbering": True,
    }
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata.setdefault("tags", [])
        cell.metadata |= {
            "trusted": True,
            "editable": True,
            "slideshow": {"slide_type": ""},
            "scrolled": True,
            "execution": {"iopub.status.busy": "2026-01-01T00:00:00.000000Z"},
        }
        if cell.cell_type == "markdown":
            cell.setdefault("attachments", {})
        else:
            cell.execution_count = 10 + number
            cell.outputs = [nbformat.v4.new_output("stream", text=f"{number}\n")]
    return notebook


def test_a_saved_notebook_gives_the_same_bytes() -> None:
    assert written().cells[0].id != written().cells[0].id  # random
    text = strip.dumps(strip.strip(written()))
    assert strip.dumps(strip.strip(saved(written()))) == text
    assert strip.dumps(strip.strip(nbformat.reads(text, as_version=4))) == text


def test_what_the_author_wrote_stays() -> None:
    notebook = written()
    notebook.cells[2].metadata.slideshow = {"slide_type": "slide"}
    notebook.cells[0].attachments = {"a.png": {"image/png": "AAAA"}}
    stripped = strip.strip(saved(notebook))
    nbformat.validate(stripped)
    assert [cell.source for cell in stripped.cells] == [cell.source for cell in notebook.cells]
    assert stripped.cells[0].attachments == notebook.cells[0].attachments
    assert stripped.cells[1].metadata == {"tags": ["parameters"]}
    assert all(not cell.outputs for cell in stripped.cells[1:])


def test_a_checked_cell_keeps_what_it_printed_in_one_piece() -> None:
    notebook = saved(written())
    cell = notebook.cells[2]
    cell.metadata["tags"] = [strip.CHECKED]
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="1\n"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning of this machine\n"),
        nbformat.v4.new_output("stream", name="stdout", text="2\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=7),
    ]
    stripped = strip.strip(notebook)
    nbformat.validate(stripped)
    kept = stripped.cells[2]
    assert [(output.name, output.text) for output in kept.outputs] == [("stdout", "1\n2\n")]
    assert kept.execution_count == 1  # whatever it was; nbval wants one
    assert strip.dumps(strip.strip(stripped)) == strip.dumps(stripped)
    assert not stripped.cells[1].outputs


@pytest.mark.parametrize("hidden", [True, False])
def test_a_solution_is_folded_however_it_was_left(hidden: bool) -> None:
    notebook = saved(written())
    for cell in notebook.cells[1:]:
        cell.metadata["jupyter"] = {"source_hidden": hidden, "outputs_hidden": False}
    notebook.cells[2].metadata["tags"] = [strip.FOLDED]
    stripped = strip.strip(notebook)
    assert "jupyter" not in stripped.cells[1].metadata
    assert stripped.cells[2].metadata["jupyter"] == {"source_hidden": True}


def test_the_argument_is_left_alone() -> None:
    notebook = saved(written())
    before = copy.deepcopy(notebook)
    strip.strip(notebook)
    assert notebook == before


def test_copies_change_only_with_the_content(folder: Path) -> None:
    path = folder / "notebooks" / "paper" / "train.ipynb"
    target = folder / "build" / "notebooks" / "paper" / "train.ipynb"
    stale = folder / "build" / "notebooks" / "gone.ipynb"
    for kept_out in (".ipynb_checkpoints/train-checkpoint.ipynb", "paper/.hidden.ipynb"):
        (folder / "notebooks" / kept_out).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(written(), folder / "notebooks" / kept_out)
    nbformat.write(written(), path)
    assert strip.main([]) == 0
    os.utime(target, (1, 1))
    nbformat.write(saved(written()), path)
    stale.touch()
    assert strip.main([]) == 0
    assert target.stat().st_mtime == 1  # not even touched
    assert [p for p in (folder / "build").rglob("*") if p.is_file()] == [target]

    changed = written()
    changed.cells[2].source = "print(seed + 1)"
    nbformat.write(changed, path)
    assert strip.main([]) == 0
    assert target.stat().st_mtime != 1
    assert "seed + 1" in target.read_text()


def test_in_place(folder: Path) -> None:
    path = folder / "notebooks" / "explore.ipynb"
    path.parent.mkdir()
    nbformat.write(saved(written()), path)
    assert strip.main(["--in-place"]) == 0
    assert path.read_text() == strip.dumps(strip.strip(written()))
    assert not (folder / "build").exists()


@pytest.mark.parametrize("text", ["", "not JSON", "[]"])
def test_a_file_that_is_no_notebook_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = folder / "notebooks" / "broken.ipynb"
    path.parent.mkdir()
    path.write_text(text)
    assert strip.main([]) == 1
    assert f"{path} must be a Jupyter notebook, got" in capsys.readouterr().err


def test_committed_notebooks_are_stripped() -> None:
    for path in strip.notebooks(REPOSITORY / "notebooks"):
        assert path.read_text(encoding="utf-8") == strip.dumps(strip.strip(strip.read(path))), (
            f"{path} holds outputs or a machine's metadata; "
            "run: python -m xblcore.pipeline.strip --in-place"
        )
