"""What the start page says of a clone in each state."""

import shutil
from pathlib import Path

import pytest

from xblcore import config
from xblcore.inventory import inventory, markdown

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path):
    """A project in which nothing was run."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def pairs(clone):
    """How many tasks x methods the grid has."""
    grid = config.load(clone)
    return len(grid.tasks) * len(grid.methods)


def test_where_nothing_is_here_each_part_says_what_to_run(clone, pairs):
    parts = inventory(root=clone)
    assert [(part.name, part.here, part.detail) for part in parts] == [
        ("Results", False, "none"),
        ("Data", False, "none"),
        ("Trained networks", False, f"of 0 of {pairs} tasks and methods"),
        ("Workshop without solutions", False, "none"),
    ]
    table = markdown(parts)
    assert table.count("`make reproduce`") == 2 and table.count("`make data`") == 1
    assert table.count("`make workshop`") == 1


def test_what_is_here_is_found(clone):
    grid = config.load(clone)
    (clone / "results" / "paper").mkdir(parents=True)
    shutil.copy(ROOT / "results/paper/summary.csv", clone / "results/paper/summary.csv")
    (clone / "data/raw/fashion-mnist").mkdir(parents=True)
    for name in "abcd":
        (clone / "data/raw/fashion-mnist" / f"{name}.gz").touch()
    for task in grid.tasks:
        for method in grid.methods:
            folder = clone / "build" / "runs" / task / method
            folder.mkdir(parents=True)
            (folder / "weights.pt").touch()
    (clone / "build" / "workshop").mkdir()
    for name in ("2_later.ipynb", "1_first.ipynb"):
        (clone / "build" / "workshop" / name).touch()
    parts = inventory(root=clone)
    assert all(part.here for part in parts)
    found, workshop = parts[0], parts[-1]
    assert workshop.detail == "[build/workshop](../build/workshop/1_first.ipynb)"
    assert "stand-in" in found.detail, "of what is not the original, the reader is told"
    assert "make" not in markdown(parts)


@pytest.mark.parametrize("table", ["", "task,method\na,b\n", "\0"])
def test_a_damaged_table_is_told(clone, table):
    (clone / "results" / "paper").mkdir(parents=True)
    (clone / "results" / "paper" / "summary.csv").write_text(table)
    found = inventory(root=clone)[0]
    assert not found.here and "damaged" in found.detail and found.remedy == "make reproduce"


def test_networks_that_are_only_half_here_do_not_count_as_here(clone, pairs):
    folder = clone / "build" / "runs" / "decoy_coco" / "rrr"
    folder.mkdir(parents=True)
    (folder / "weights.pt").touch()
    (networks,) = [part for part in inventory(root=clone) if part.name == "Trained networks"]
    assert not networks.here and networks.detail == f"of 1 of {pairs} tasks and methods"
