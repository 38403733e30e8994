"""Digests of the code behind each method: one file each, rewritten as a whole."""

from __future__ import annotations

import dataclasses

import pytest

from xblcore import config, imports
from xblcore.methods import METHODS
from xblcore.pipeline import code


def test_every_method_has_its_own_file_and_none_is_left_over(tmp_path):
    (tmp_path / "gone.txt").write_text("")
    paths = code.write(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.stem for path in paths] == list(METHODS)
    digests = imports.digests("xblcore.methods.cdep")
    expected = "".join(f"{digest}  {path}\n" for path, digest in digests.items())
    assert (tmp_path / "cdep.txt").read_text(encoding="utf-8") == expected
    assert {"xblcore/methods/cdep.py", "xblcore/losses/contextual.py"} <= set(digests)


def test_the_same_code_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in code.write(tmp_path / "a")]
    assert first == [path.read_bytes() for path in code.write(tmp_path / "b")]


def test_a_method_that_there_is_not_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    grid = config.load()
    wrong = dataclasses.replace(grid, methods=[*grid.methods, "xbl_dd"])
    monkeypatch.setattr(config, "load", lambda: wrong)
    with pytest.raises(ValueError, match="got 'xbl_dd'; did you mean 'xbl_d'"):
        code.write(tmp_path / "code")
    assert not (tmp_path / "code").exists()
