"""Watches what Python code does to the rest of the machine while a reader reads.

CPython tells an audit hook of every file that is opened, changed or removed and of every command
and connection that is begun, whichever library does it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Events whose arguments begin with so many paths.
PATHS = {
    "open": 1, "os.chmod": 1, "os.link": 2, "os.listdir": 1, "os.mkdir": 1, "os.remove": 1,
    "os.rename": 2, "os.rmdir": 1, "os.scandir": 1, "os.symlink": 2, "os.truncate": 1,
    "shutil.rmtree": 1,
}  # fmt: skip
NEVER = (
    "ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system",
    "pickle.find_class", "socket.", "subprocess.Popen", "webbrowser.open",
)  # fmt: skip
# A reader may import what it needs only now; that reads code, from here alone.
CODE = tuple({os.path.realpath(sysconfig.get_path(key)) for key in ("stdlib", "purelib", "platlib")}
             | {os.path.realpath(path) for path in sys.path if path})  # fmt: skip
SUFFIXES = (".py", ".pyc", ".so")

_inside: str | None = None
_seen: list[str] = []
_hooked = False


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """The block may read and write below ``folder`` and nowhere else, and may start nothing.

    Raises:
        AssertionError: it did something else.
    """
    global _inside, _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # for good: there is no way to take one back
        _hooked = True
    _seen.clear()
    _inside = os.path.realpath(folder)
    try:
        yield
    finally:
        _inside = None
    assert not _seen, f"a reader must stay in {folder} and start nothing, got {_seen}"


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _inside is None:
        return
    if event.startswith(NEVER):
        _seen.append(f"{event} {arguments!r:.200}")
    elif event in PATHS:
        reads = event == "open" and arguments[1] in ("r", "rb")
        lists = event == "os.listdir"
        for path in arguments[: PATHS[event]]:
            named = isinstance(path, str | bytes | os.PathLike)  # else opened before
            if named and not _allowed(os.fsdecode(path), reads, lists):
                _seen.append(f"{event} {arguments!r:.200}")


def _allowed(path: str, reads: bool, lists: bool) -> bool:
    real = os.path.realpath(path)
    if real == _inside or real.startswith(f"{_inside}{os.sep}"):
        return True
    if lists:  # the folders in which a module is looked for
        return real in CODE or os.path.isfile(os.path.join(real, "__init__.py"))
    return reads and real.startswith(CODE) and real.endswith(SUFFIXES)
