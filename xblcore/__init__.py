"""Explanation-based learning with distance-aware losses, for PyTorch.

An explanation loss penalises attribution outside of what a person annotated. ``XBLDLoss`` turns
masks into such a loss, for any network:

>>> import torch
>>> from xblcore import XBLDLoss
>>> model = torch.nn.Sequential(
...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(64, 2))
>>> images, labels, object_mask = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 1]), torch.eye(4)
>>> explanation_loss = XBLDLoss(model, layer="0", weight=3.0)
>>> logits, penalty = explanation_loss(images, labels, object_mask.expand(3, 4, 4))
>>> (torch.nn.functional.cross_entropy(logits, labels) + penalty).backward()

Maps of a trained model, for a batch and for a data set:

>>> from xblcore import explain, explain_batches
>>> explain(model, images, layer="0").shape
torch.Size([3, 4, 4])
>>> [len(found["hires_cam"]) for found in explain_batches(model, [images, images], layer="0")]
[3, 3]

Its parts:

- :mod:`xblcore.module`: ``XBLDLoss``, from masks to the penalty
- :mod:`xblcore.cam`: differentiable Grad-CAM and HiResCAM, receptive fields
- :mod:`xblcore.explaining`: maps of whole data sets, overlays, files
- :mod:`xblcore.distance`: masks on the CAM grid, distance maps
- :mod:`xblcore.losses`: explanation losses: distance, overlap, input gradients, activations
- :mod:`xblcore.contextual`: contextual decomposition, for CDEP
- :mod:`xblcore.metrics`: metrics of explanations and of reliance on a decoy
- :mod:`xblcore.methods`: the registry of methods
- :mod:`xblcore.decoys`, :mod:`xblcore.examples`: decoys; images with labels and masks
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xblcore import (
        cam,
        contextual,
        decoys,
        distance,
        examples,
        explaining,
        losses,
        methods,
        metrics,
        module,
    )  # fmt: skip
    from xblcore.cam import explain
    from xblcore.explaining import explain_batches
    from xblcore.module import XBLDLoss

__version__ = "0.2.0"
__all__ = [
    "XBLDLoss", "cam", "contextual", "decoys", "distance", "examples", "explain", "explain_batches",
    "explaining", "losses", "methods", "metrics", "module",
]  # fmt: skip
_HOMES = {"XBLDLoss": "module", "explain": "cam", "explain_batches": "explaining"}


def __getattr__(name: str) -> Any:
    """Import a part when it is first used, so that ``import xblcore`` is fast."""
    if name not in __all__:
        raise AttributeError(f"module 'xblcore' has no attribute {name!r}")
    found = import_module(f"xblcore.{_HOMES.get(name, name)}")
    return getattr(found, name) if name in _HOMES else found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
