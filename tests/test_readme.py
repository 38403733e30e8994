"""What the README names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xblcore import config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = ("build/", "data/raw", "data/decoy")
NAMED = sorted(
    {name.rstrip("/") for name in re.findall(r"`([\w<>.-]+/[\w<>./-]*)`", TEXT)}
    | set(re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT))
)


@pytest.mark.parametrize("name", [name for name in NAMED if not name.startswith(MADE)])
def test_files_that_the_readme_names_are_there(name):
    for task in config.load(ROOT).tasks:
        assert (ROOT / name.replace("<task>", task)).exists()


def test_the_readme_begins_with_the_two_commands():
    commands = re.findall(r"^(make \w+|dvc repro|conda env create)", TEXT, re.MULTILINE)
    assert commands[:4] == ["make reproduce", "make test", "conda env create", "dvc repro"]


def test_no_placeholder_is_left():
    assert "@@" not in TEXT
