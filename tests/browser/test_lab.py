"""JupyterLab opens and runs a cell: what the other tests of this folder stand on."""

import nbformat


def test_a_cell_runs_and_a_failing_one_is_seen(lab):
    cells = [nbformat.v4.new_code_cell(source) for source in ("print('a' + 'b')", "1 / 0")]
    path = lab.server.folder / "notebooks" / "scratch.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    lab.open("notebooks/scratch.ipynb")
    lab.command("notebook:run-all-cells")
    lab.page.get_by_text("ab", exact=True).wait_for()
    assert lab.errors() == ["ZeroDivisionError: division by zero"]
