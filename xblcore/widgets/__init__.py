"""Annotate images with a brush and refine a model by what was marked, in a notebook or without.

Names are imported when they are first used: what has no front end needs no anywidget, and what
trains nothing needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xblcore.widgets.annotator import Annotator, cam_of
    from xblcore.widgets.drawing import Drawing
    from xblcore.widgets.marked import MarkedImages
    from xblcore.widgets.refined import Refined
    from xblcore.widgets.refining import refine
    from xblcore.widgets.simulated import simulate
    from xblcore.widgets.store import AnnotationStore
    from xblcore.widgets.strokes import Stroke

_HOMES = {
    "AnnotationStore": "store",
    "Annotator": "annotator",
    "Drawing": "drawing",
    "MarkedImages": "marked",
    "Refined": "refined",
    "Stroke": "strokes",
    "cam_of": "annotator",
    "refine": "refining",
    "simulate": "simulated",
}

__all__ = [
    "AnnotationStore", "Annotator", "Drawing", "MarkedImages", "Refined", "Stroke",
    "cam_of", "refine", "simulate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept, so that it is looked for once.
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
