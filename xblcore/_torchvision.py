"""Let ``import torchvision`` succeed beside a PyTorch that its compiled operators do not match.

The published torchvision wheel is linked against CUDA. With a CPU build of PyTorch its operators do
not load, and the import stops at ``operator torchvision::nms does not exist``, because the Python
part registers extensions of two operators. Declaring their schemas first is enough for the Python
parts (models, transforms, datasets), which is all that is used here. Import this module before
torchvision; where the compiled operators load, it does nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def declare_missing_operators() -> torch.library.Library | None:
    """Declare the schemas, unless the compiled operators load; the library must be kept alive."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _compiled_operators_load(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    return library


def _compiled_operators_load(folder: Path) -> bool:
    for path in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(path))
        except OSError:
            continue
        return True
    return False


LIBRARY = declare_missing_operators()
