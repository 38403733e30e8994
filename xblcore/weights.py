"""Files of ``torch.save``, read as data: tensors and plain values, nothing that could be run."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch


def read(path: Path) -> Any:
    """What ``torch.save`` wrote to a file, on the CPU or where it was.

    Its checksums are verified first: ``torch.load`` does not look at them, and of a file with one
    bit turned it mostly gives other numbers without a word.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds more than tensors and plain values.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} in it is not what was written")
            file.seek(0)
            return torch.load(file, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError,
                TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
            # Without PyTorch's own words, which advise to read it without this protection.
            raise ValueError(
                f"{path} must hold tensors and plain values alone, got another or a damaged file "
                f"({type(error).__name__}); delete it and make it anew"
            ) from error
