"""Options that several benchmarks have, and bad ones told before anything is timed."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CORES = os.cpu_count() or 1


def whole(most: int | None = None) -> Callable[[str], int]:
    """Type of an option that is a whole number from 1 on.

    >>> whole(most=2)("2")
    2
    """
    rule = "at least 1" if most is None else f"from 1 to {most}"

    def parsed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = 0
        if number < 1 or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"must be a whole number, {rule}, got {text!r}")
        return number

    return parsed


def file(text: str) -> Path:
    """Type of an option that names a file to write."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text!r}")
    return path


JOBS = {"type": whole(), "default": min(2, CORES)}


def make(folder: Path, option: str) -> None:
    """Make the folder that is written to in the end.

    Raises:
        ValueError: it cannot be made, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{option} must lead to a folder that can be written to, got {folder}: {error.strerror}"
        ) from error


@contextmanager
def told(
    parser: argparse.ArgumentParser, *, begun: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """A bad option, or a file that is not there or damaged, ends the block with a sentence.

    Args:
        parser: of the options.
        begun: whether measuring has begun: what fails from then on is a fault of the benchmark's
            own, and keeps its traceback.
    """
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if begun():
            raise
        parser.error(str(error))
