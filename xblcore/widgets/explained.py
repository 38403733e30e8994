"""Which layer of any module to explain, and what the module makes of images there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xblcore.cam import CamMethod, ScoreKind, explain
from xblcore.capture import evaluating, find_layer

BATCH = 100  # images explained at a time
# A shortcut may speak against the other classes rather than for its own: the logit hides that.
SCORE: ScoreKind = "log_prob"


def spatial_layer(
    model: nn.Module, images: Tensor, layer: str | None = None
) -> tuple[str, tuple[int, int]]:
    """Name and grid ``(h, w)`` of the layer to explain.

    Args:
        model: any module; run once, in eval mode.
        images: ``(N, C, H, W)``, one is enough.
        layer: its name; None: what ``model.cam_layer`` names, else the last layer to finish whose
            output is ``(N, K, h, w)`` with more than one cell, the outer one of two that share it.

    Raises:
        ValueError: no such layer, or one without a spatial output.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> spatial_layer(model, torch.zeros(1, 1, 4, 4))
    ('1', (2, 2))
    """
    if layer is None and isinstance(getattr(model, "cam_layer", None), str):
        layer = str(model.cam_layer)
    if layer is not None:
        find_layer(model, layer)
    found: list[tuple[str, tuple[int, int]]] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append((name, (output.shape[2], output.shape[3])))

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if name and layer in (None, name)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            f"layer must be one whose output is (N, K, h, w) with several cells, got {layer!r}; "
            "name one of: " + ", ".join(name for name, _ in model.named_modules() if name)
        )
    return found[-1]


def looked_at(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str, method: CamMethod
) -> tuple[Tensor, Tensor]:
    """CAMs ``(M, h, w)`` of the labels, and predictions ``(M,)``, both on the CPU."""
    cams, predictions = [], []
    for some, target in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        cam = explain(model, some, target, layer=layer, method=method, score=SCORE)
        cams.append(cam.cpu())
        with evaluating(model), torch.no_grad():
            predictions.append(model(some).argmax(1).cpu())
    return torch.cat(cams), torch.cat(predictions)
