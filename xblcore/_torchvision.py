"""Make ``import torchvision`` work with a CPU build of PyTorch; import this module first.

The published torchvision is linked against CUDA. Without CUDA its compiled operators do not load,
and importing it fails with ``operator torchvision::nms does not exist``. Models, transforms and
datasets do not need the operators; declaring the schemas of two of them is enough. Where the
operators load, this module does nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_operators() -> torch.library.Library | None:
    """Declare the schemas if the operators do not load; the library must be kept alive."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for path in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(path))
            return None
        except OSError:
            continue
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + SCHEMA)
    return library


LIBRARY = declare_missing_operators()
