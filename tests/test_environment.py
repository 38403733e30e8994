"""One environment: pyproject.toml, requirements.lock and environment.yml agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
WANTED = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_the_lock_pins_each_dependency_within_its_range(wanted):
    pins = [pin for pin in LOCK if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
    assert pins, f"{wanted.name} is not in requirements.lock; run: make lock"
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "=="
        assert version.version in wanted.specifier, f"{pin} is outside {wanted}; run: make lock"


def test_each_package_that_the_library_imports_is_declared():
    imported = set()
    for path in (ROOT / "xblcore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    installed = packages_distributions()
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    for name in imported - {"xblcore", *sys.stdlib_module_names}:
        assert {canonicalize_name(dist) for dist in installed[name]} & declared, name


def test_the_lock_is_portable():
    """No local versions such as +cpu, no hashes, no addresses, no CUDA parts of one build."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"\+|--hash|://|@", text)
    assert not re.search(r"^(nvidia-|cuda-|triton)", text, re.MULTILINE)
    assert "torch==2.13.0" in text.splitlines()


LIGHT = [
    Requirement(line)
    for line in (ROOT / "requirements-explore.txt").read_text(encoding="utf-8").splitlines()
]


def test_the_light_environment_is_a_part_of_the_whole_one_without_pytorch():
    """Enough for the explorer on the committed results, at the versions of the lock."""
    pinned = {f"{pin.name}{pin.specifier}" for pin in LOCK}
    assert {f"{pin.name}{pin.specifier}" for pin in LIGHT} <= pinned
    assert not {"torch", "torchvision", "captum", "dvc"} & {pin.name for pin in LIGHT}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for wanted in map(Requirement, tomllib.loads(text)["dependency-groups"]["explore"]):
        pins = [
            pin for pin in LIGHT if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
        ]
        assert pins, f"{wanted.name} is not in requirements-explore.txt; run: make lock"
        for pin in pins:
            (version,) = pin.specifier
            assert version.version in wanted.specifier


def test_conda_uses_the_lock_and_a_python_that_the_project_admits():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [part for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip["pip"] == ["-r requirements.lock", "-e ."]
    (python,) = [part for part in environment["dependencies"] if str(part).startswith("python=")]
    assert python.split("=")[1] in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_every_package_folder_is_installed():
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in (ROOT / "xblcore").rglob("__init__.py")
    }
    assert folders == set(configured["tool"]["setuptools"]["packages"])
