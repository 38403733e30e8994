"""Files of ``torch.save``, read as data: tensors and plain values, nothing that could be run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch


def read(path: Path) -> Any:
    """What ``torch.save`` wrote to a file, on the CPU or where it was.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that holds more than tensors and plain values.
    """
    with path.open("rb") as file:
        try:
            return torch.load(file, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError,
                TypeError, AttributeError) as error:  # fmt: skip
            # Without PyTorch's own words, which advise to read it without this protection.
            raise ValueError(
                f"{path} must hold tensors and plain values alone, got another or a damaged file "
                f"({type(error).__name__}); delete it and make it anew"
            ) from error
