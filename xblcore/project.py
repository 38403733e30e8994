"""Locate the folder of the project, and write files atomically."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

MARKERS = ("params.yaml", "dvc.yaml")


def root() -> Path:
    """Return the folder that holds ``params.yaml`` and ``dvc.yaml``.

    The search goes up from the current folder, then from this file, which an editable install
    leaves inside the project.
    """
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if all((folder / marker).is_file() for marker in MARKERS):
                return folder
    raise FileNotFoundError(
        f"No folder with {' and '.join(MARKERS)} above {Path.cwd()}; "
        "change to the cloned repository first."
    )


@contextlib.contextmanager
def write_atomic(path: Path) -> Iterator[Path]:
    """Write to a temporary file in the same folder and rename it to ``path`` on success.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tables" / "metrics.csv"
    >>> with write_atomic(path) as temporary:
    ...     _ = temporary.write_text("task,value")
    >>> path.read_text()
    'task,value'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays because savefig and numpy.savez choose or append the format by it.
    # A name may already have the maximal length, so the stem is shortened.
    temporary = path.with_name(f".{path.stem[:32]}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
