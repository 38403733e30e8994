"""Which files of the library a module rests on, found by following its imports."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent


def closure(*modules: str) -> list[Path]:
    """The files of modules and of all that they import of the library, directly or not.

    Followed in the text, wherever an import stands, without running it. What is imported by a name
    made at run time is not found: the registry of methods imports its entries so, in order that
    what one method does not depend on the others.

    Args:
        modules: dotted names.

    Returns:
        Sorted paths.

    Raises:
        ValueError: one is not a module of the library.

    >>> [path.name for path in closure("xblcore.cam")]
    ['cam.py', 'capture.py']
    """
    waiting: set[Path] = set()
    for name in modules:
        path = file_of(name)
        if path is None:
            raise ValueError(f"modules must be of {PACKAGE.name}, got {name!r}")
        waiting.add(path)
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        found.add(path)
        named = imported(path.read_text(encoding="utf-8"))
        waiting |= {file for name in named if (file := file_of(name))} - found
    return sorted(found)


def digests(*modules: str) -> dict[str, str]:
    """SHA-256 of each file of :func:`closure`, by its path from the folder of the library."""
    return {
        path.relative_to(PACKAGE.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in closure(*modules)
    }


def imported(source: str) -> set[str]:
    r"""Dotted names of all that a piece of code imports, and that may be modules.

    Raises:
        ValueError: a relative import, which cannot be told apart here.

    >>> sorted(imported("import ast, sys\nfrom xblcore import cam"))
    ['ast', 'sys', 'xblcore', 'xblcore.cam']
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(
                    f"imports must be absolute, got a relative one in line {node.lineno}"
                )
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def file_of(module: str) -> Path | None:
    """File of a module of the library; None for any other name, one inside a module too.

    A package is its ``__init__.py``; the library's own, which says nothing, is none.
    """
    first, *rest = module.split(".")
    if first != PACKAGE.name or not rest:
        return None
    path = PACKAGE.joinpath(*rest)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
