"""Explain whole data sets, enlarge maps to the image, overlay and save them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xblcore import cam


def explain_batches(
    model: nn.Module, batches: Iterable[Any], *, layer: str | nn.Module,
    methods: Sequence[cam.CamMethod] = ("hires_cam",), target: int | None = None,
    score: Literal["logit", "log_prob"] = "logit", head: cam.Head | None = None,
    upsample: bool = False, reshape: cam.Reshape | None = None, output: cam.Output | None = None,
    progress: bool = True,
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    """Explain a data set batch by batch: one is in memory, and its maps share a forward pass.

    Args:
        model: as in :func:`xblcore.cam.explain`, on any device.
        batches: images ``(N, C, H, W)``, or tuples or lists that start with them, as from a
            ``DataLoader``.
        layer: explained layer.
        methods: one map for each.
        target: class to explain; None explains the predicted ones.
        score: ``logit`` or ``log_prob``.
        head: as in :func:`xblcore.cam.class_scores`.
        upsample: enlarge the maps to the size of the images.
        reshape: as in :func:`xblcore.cam.capture`.
        output: selects the logits from what the model returns.
        progress: show a bar, if tqdm is installed.

    Yields:
        For each batch, the map ``(N, h, w)`` of each method by its name, ``logits`` and ``target``,
        on the CPU.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> for found in explain_batches(model, torch.rand(2, 5, 1, 4, 4), layer="0", upsample=True):
    ...     print(found["hires_cam"].shape)
    torch.Size([5, 4, 4])
    torch.Size([5, 4, 4])
    """
    if score not in ("logit", "log_prob"):
        raise ValueError(
            f"score must be 'logit' or 'log_prob', got {score!r}; xblcore.cam.explain takes the "
            "generator that 'projection' needs"
        )
    device = next(model.parameters(), torch.empty(0)).device
    if progress:
        with contextlib.suppress(ModuleNotFoundError):
            batches = importlib.import_module("tqdm.auto").tqdm(batches)
    for batch in batches:
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        maps, logits, classes = cam.explained(
            model, images.to(device) if isinstance(images, Tensor) else images, target,
            layer=layer, methods=methods, score=score, head=head, reshape=reshape, output=output,
        )  # fmt: skip
        found: dict[str, Tensor] = {}
        for name, values in maps.items():
            found[name] = enlarged(values, images.shape[2:]) if upsample else values
        found |= {"logits": logits.detach(), "target": classes.expand(len(images))}
        yield {name: values.cpu() for name, values in found.items()}


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bring maps ``(N, h, w)`` to ``(N, H, W)``, bilinear.

    >>> enlarged(torch.tensor([[[0.0, 2.0]]]), (1, 4))
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    if not len(maps):
        return maps.new_zeros((0, *size))
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def overlay(images: Tensor, maps: Tensor, *, strength: float = 0.7) -> Tensor:
    """Heat maps, from black over red and yellow to white, on top of grey images.

    Args:
        images: ``(N, C, H, W)`` in [0, 1].
        maps: ``(N, h, w)``, non-negative; each is scaled to its maximum.
        strength: opacity of the heat where the map is at its maximum, in [0, 1].

    Returns:
        ``(N, 3, H, W)`` in [0, 1].

    >>> overlay(torch.ones(1, 1, 1, 1), torch.tensor([[[0.0]]])).flatten()
    tensor([1., 1., 1.])
    """
    if images.ndim != 4 or maps.ndim != 3 or len(images) != len(maps):
        shapes = f"{tuple(images.shape)} and {tuple(maps.shape)}"
        raise ValueError(f"images and maps must be (N, C, H, W) and (N, h, w), got {shapes}")
    if images.numel() and not 0 <= images.min() <= images.max() <= 1:
        raise ValueError(
            f"images must be in [0, 1], got {images.min():.3g} to {images.max():.3g}; undo their "
            "normalisation"
        )
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    heat = enlarged(maps.to(images), (images.shape[2], images.shape[3]))[:, None]  # (N, 1, H, W)
    peak = heat.amax((2, 3), keepdim=True)
    heat = heat / torch.where(peak > 0, peak, 1.0)
    colour = torch.cat([3 * heat, 3 * heat - 1, 3 * heat - 2], 1).clamp(0, 1)
    opacity = strength * heat
    return (1 - opacity) * images.mean(1, keepdim=True) + opacity * colour


def save(path: str | Path, values: Tensor) -> None:
    """Save maps as ``.npy``, or one image ``(3, H, W)`` or ``(H, W)`` in [0, 1] as ``.png``.

    A PNG needs Pillow.
    """
    path, array = Path(path), values.detach().cpu().float().numpy()
    if path.suffix == ".npy":
        np.save(path, array)
        return
    if path.suffix != ".png" or (array.ndim != 2 and array.shape[:-2] != (3,)):
        got = f"{path.name!r} for shape {array.shape}"
        raise ValueError(f"path must end in .npy, or in .png for one image, got {got}")
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise ValueError("path must end in .npy, got .png without Pillow; install it") from error
    pixels = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    pillow.fromarray(pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, -1)).save(path)
