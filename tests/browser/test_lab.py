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


def test_the_start_page_shows_its_pictures_and_what_is_here(lab):
    lab.open("notebooks/start.ipynb").run_all()
    lab.page.get_by_role("cell", name="Trained networks").wait_for()
    pictures = lab.page.locator(".jp-Notebook img")
    assert pictures.count() == 3
    for picture in pictures.all():
        assert picture.get_attribute("alt")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 600
    lab.picture("start")


def test_a_link_of_the_start_page_opens_the_notebook(lab):
    lab.open("notebooks/start.ipynb")
    lab.page.get_by_role("link", name="explore.ipynb").first.click()
    lab.page.get_by_role("tab", name="explore.ipynb").wait_for()
