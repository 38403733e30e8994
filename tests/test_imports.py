"""Following imports: what a module rests on is found, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xblcore import imports


def names(*modules: str) -> list[str]:
    return [path.relative_to(imports.PACKAGE).as_posix() for path in imports.closure(*modules)]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library whose files may be changed."""
    folder = tmp_path / "xblcore"
    shutil.copytree(imports.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(imports, "PACKAGE", folder)
    return folder


def test_imports_are_followed_through_modules_and_packages():
    assert names("xblcore.methods.rrr") == [
        "cam.py", "capture.py", "losses/common.py", "losses/input_gradient.py",
        "methods/base.py", "methods/rrr.py",
    ]  # fmt: skip
    assert "losses/contextual.py" in names("xblcore.losses")  # from its __init__.py
    assert "methods/rrr.py" not in names("xblcore.study")  # the registry imports it when asked for
    assert {"study.py", "methods/rrr.py"} <= set(names("xblcore.study", "xblcore.methods.rrr"))


def test_imports_count_wherever_they_stand_and_whatever_they_name(library):
    (library / "late.py").write_text(
        "import numpy, xblcore.stats\n"
        "def f():\n    from xblcore.losses import common as c\n    from xblcore import distance\n"
        "from xblcore.decoys import Mask\n"
    )
    direct = imports.imported((library / "late.py").read_text())
    files = {path.name for name in direct if (path := imports.file_of(name))}
    assert files == {"stats.py", "common.py", "distance.py", "decoys.py", "__init__.py"}


def test_a_digest_follows_the_file_and_the_files_it_rests_on(library):
    before = imports.digests("xblcore.methods.rrr")
    assert list(before) == [f"xblcore/{name}" for name in names("xblcore.methods.rrr")]
    for changed, touched in {"losses/contextual.py": False, "losses/common.py": True}.items():
        path: Path = library / changed
        path.write_text(path.read_text() + "# more\n")
        after = imports.digests("xblcore.methods.rrr")
        assert {k for k in before if before[k] != after[k]} == ({f"xblcore/{changed}"} if touched
                                                                else set())  # fmt: skip


@pytest.mark.parametrize("name", ["xblcore.nothing", "numpy", "xblcore.cam.explain", "xblcore"])
def test_what_is_no_module_of_the_library(name):
    with pytest.raises(ValueError, match=f"modules must be of xblcore, got '{name}'"):
        imports.closure(name)


@pytest.mark.parametrize("source", ["from . import cam", "from .cam import explain"])
def test_a_relative_import_is_refused(source):
    with pytest.raises(ValueError, match="imports must be absolute, got a relative one in line 2"):
        imports.imported(f"import ast\n{source}")
