"""The registry of methods: what each one is trained on, its explanation loss, and its source.

Each method is a module of this package, which holds its entry ``METHOD``. No list names them, and
one is imported when it is first asked for: so a new method is a new file, and whatever was trained
by another method does not depend on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from xblcore.methods.base import Annotations, Augment, Batch, Method, Need, Penalty, Step

__all__ = [
    "METHODS", "Annotations", "Augment", "Batch", "Method", "Need", "Penalty", "Step", "get",
]  # fmt: skip

FIRST = ("erm", "oracle")  # the floor and the ceiling lead every list


class Registry(Mapping[str, Method]):
    """Name to method, for every module of a package but those that begin with ``_`` and ``base``.

    Args:
        package: dotted name of the package.
        folder: where its modules lie.
    """

    def __init__(self, package: str, folder: Path) -> None:
        self._package = package
        found = {path.stem for path in folder.glob("[!_]*.py")} - {"base"}
        first = [name for name in FIRST if name in found]
        self._names = (*first, *sorted(found - {*first}))

    def __getitem__(self, name: str) -> Method:
        if name not in self._names:
            raise KeyError(name)
        entry = getattr(importlib.import_module(f"{self._package}.{name}"), "METHOD", None)
        if not isinstance(entry, Method) or entry.name != name:
            got = entry.name if isinstance(entry, Method) else entry
            raise ValueError(
                f"{self._package}.{name} must have METHOD, a Method of the name {name!r}, got "
                f"{got!r}"
            )
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without importing it


METHODS: Mapping[str, Method] = Registry(__name__, Path(__file__).parent)


def get(name: str) -> Method:
    """The method of this name.

    Raises:
        ValueError: there is none; the message lists those there are.

    >>> get("rrr").source
    'Ross, Hughes and Doshi-Velez 2017'
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]
