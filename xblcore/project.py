"""Where the project lies on disk, and how its files are written: whole or not at all, by one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

MARKS = ("params.yaml", "dvc.yaml")
NEARLY_FULL = 1 << 20  # bytes; with less of them free, a failed write failed for want of room
_serial = itertools.count()


def root(start: str | Path | None = None) -> Path:
    """Folder that holds ``params.yaml`` and ``dvc.yaml``.

    A notebook runs in its own folder under nbval and Jupyter, in the project's under DVC; code that
    asks here finds the same files from everywhere.

    Args:
        start: where to begin walking up; None begins at the current folder, then at this file,
            which an editable install leaves inside the project.

    Raises:
        FileNotFoundError: neither lies inside a project.
    """
    starts = [Path.cwd(), Path(__file__)] if start is None else [Path(start)]
    for begin in starts:
        begin = begin.resolve()
        for folder in (begin, *begin.parents):
            if all((folder / mark).is_file() for mark in MARKS):
                return folder
    raise FileNotFoundError(
        f"no folder with {' and '.join(MARKS)} at or above {' or '.join(map(str, starts))}; "
        "change to the folder you cloned, or install it there with: pip install -e ."
    )


@contextlib.contextmanager
def write_atomic(path: str | Path) -> Iterator[Path]:
    """Replace ``path`` by what the block writes, once it is complete and on the disk.

    Whoever reads ``path`` sees the old file or the new one. After an error, a full disk included,
    the old one stays and nothing else is left.

    Args:
        path: file to write; missing folders are made.

    Yields:
        A path in the same folder with the same suffix, for the block to write to.

    Raises:
        FileNotFoundError: the block wrote nothing there.
        OSError: the disk is full, also where the block's own error, PyTorch's say, does not tell.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tables" / "metrics.csv"
    >>> with write_atomic(path) as temporary:
    ...     _ = temporary.write_text("task,value")
    >>> path.read_text()
    'task,value'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since savefig and the like choose the format by it; process and serial
    # number keep two writers apart.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{next(_serial)}{path.suffix}")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except Exception as error:
        if shutil.disk_usage(path.parent).free < NEARLY_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(path: str | Path, *, wait: float = 5.0) -> Iterator[None]:
    """Hold the right to write ``path``, a file or a folder, inside the block.

    The operating system holds the lock and ends it with the process, however that ends. It lies
    under ``build/locks/``, so ``path`` itself need not exist.

    Args:
        path: what is to be written, under any spelling.
        wait: seconds to wait for another holder.

    Raises:
        TimeoutError: another process, which the message names, still holds it.
    """
    folder = root() / "build" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(os.path.relpath(Path(path).resolve(), root()))
    holder = folder / f"{name}.pid"
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=wait)
    except filelock.Timeout as error:
        pid = holder.read_text() if holder.is_file() else "unknown"
        raise TimeoutError(
            f"{path} is being written by another run (process {pid}); "
            f"wait until it ends, or end it with: kill {pid}"
        ) from error
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_name(text: str) -> str:
    """``text`` as one plain file name.

    >>> file_name("results/task/train.ipynb")
    'results_task_train.ipynb'
    """
    return re.sub(r"[^\w.@=-]+", "_", text)
