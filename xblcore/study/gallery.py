"""Images, CAMs, predictions and metrics of single test images, for the explorer of the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, pad

from xblcore import data, project
from xblcore.metrics import METRICS
from xblcore.study import evaluate, explainers, runs
from xblcore.study.config import TaskSettings
from xblcore.study.runs import Result

COUNT = 60  # images, as many of each class
COLUMNS = 10  # of a sprite
LARGEST = 96  # side of the images in pixels; larger ones are reduced
LEVELS = 51  # steps of a CAM from 0 to its own maximum
CAMS = ("hires_cam", "grad_cam")
VIEWS = ("decoy", "swapped", "clean")  # with the decoy, with that of another class, without
OBJECT, DECOY = 127, 255  # values of the sprite of masks


def spread(labels: Tensor, count: int) -> Tensor:
    """Positions of the first images of each class, ``(n,)``, by class.

    From ``labels (N,)``, with ``n <= count``: each class has ``count // classes`` images at most.

    >>> spread(torch.tensor([1, 0, 1, 0, 1]), 4)
    tensor([1, 3, 0, 2])
    """
    classes = labels.unique().tolist()
    each = max(1, count // len(classes))
    return torch.cat([(labels == label).nonzero()[:each, 0] for label in classes])[:count]


def sprite(images: Tensor, *, lossless: bool = True, columns: int = COLUMNS) -> str:
    """Put images ``(N, C, H, W)``, uint8, side by side, row by row, as the URL of a WebP file.

    ``C`` is 1 (grey), 3 (RGB) or 4 (RGBA). The last row is filled with zeros.
    """
    images = pad(images, (0, 0) * 3 + (0, -len(images) % columns))
    channels, height, width = images.shape[1:]
    grid = images.reshape(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = grid.reshape(-1, columns * width, channels)  # (rows * H, columns * W, C)
    pixels = pixels.expand(-1, -1, 3) if channels == 1 else pixels
    return webp(Image.fromarray(pixels.numpy()), lossless=lossless, quality=85)


def webp(image: Image.Image, *, quality: int, lossless: bool = False) -> str:
    """Encode an image as the URL of a WebP file."""
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=quality, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def changed(image: Tensor, clean: Tensor) -> Tensor:
    """RGBA images ``(N, 4, H, W)`` that are transparent where nothing differs from ``clean``.

    Both are uint8 ``(N, C, H, W)``; drawn over the clean image, the result looks like ``image``.
    """
    opaque = (image != clean).any(1, keepdim=True)
    return torch.cat([image.expand(-1, 3, -1, -1) * opaque, opaque.to(torch.uint8) * 255], 1)


def quantised(cams: Tensor) -> Tensor:
    """CAMs ``(N, h, w)``, each scaled to its own maximum, as uint8 in :data:`LEVELS` steps."""
    peak = cams.amax((1, 2), keepdim=True)
    relative = cams / torch.where(peak > 0, peak, 1)
    return ((relative * LEVELS).round() * (255 // LEVELS)).to(torch.uint8)


def explorer(
    chosen: Mapping[str, Result], settings: TaskSettings, *, count: int = COUNT
) -> dict[str, Any]:
    """Compare the networks of several methods on single images of ``test_decoy``.

    Args:
        chosen: a result of the main grid for each method, all of the same task.
        settings: of the task.
        count: number of images, the first ones of each class.

    Returns:
        What JSON can hold: of each image its position in the split (``index``), its label and the
        class of its decoy (``codes``); sprites of the images without decoy (``clean``), of what
        the two decoys change, of the masks, and for each explainer of all CAMs, method by method;
        of each method the predicted classes and their probabilities in each of :data:`VIEWS`, and
        for each explainer the metrics of every image, in percent.
    """
    first = next(iter(chosen.values())).run
    done = data.decoyed(first.task, split="test_decoy", decoy=settings.decoy)
    every = data.load(first.task, split="test_decoy_clean")
    index = spread(every.labels, count)
    views = [part.take(index) for part in (done.examples, done.swapped, every)]
    shown, grid = views[0], runs.own_grid(first, settings)
    cells = shown.on_grid(grid).cells
    assert cells is not None
    side = min(LARGEST, shown.images.shape[2])
    decoy, swapped, clean = (
        adaptive_avg_pool2d(view.images.float(), side).round().to(torch.uint8) for view in views
    )
    marks = torch.where(shown.decoy_mask, DECOY, shown.object_mask * OBJECT)[:, None].float()
    methods, maps = dict[str, Any](), {name: list[Tensor]() for name in CAMS}
    for name, result in chosen.items():
        model = runs.trained_model(result, settings).cpu()
        predicted = [evaluate.predict(model, view.images).softmax(1).max(1) for view in views]
        methods[name] = {
            "seed": result.run.seed, "weight": result.run.weight,
            "accuracy": runs.clean_accuracy(result), "metrics": {},
            "classes": [one.indices.tolist() for one in predicted],
            "percent": [(100 * one.values).round().int().tolist() for one in predicted],
        }  # fmt: skip
        for kind in CAMS:
            explainer = explainers.get(kind)
            cams = evaluate.attributions(model, shown.images, explainer, layer=model.cam_layer)
            maps[kind].append(quantised(cams))
            methods[name]["metrics"][kind] = {
                metric: [None if value != value else round(100 * value) for value in found.tolist()]
                for metric, found in evaluate.explanation_metrics(cams, cells).items()
                if METRICS[metric].kind in ("distance", "overlap")
            }
    return {
        "classes": list(data.info(first.task)["classes"]), "columns": COLUMNS, "side": side,
        "grid": list(grid), "index": index.tolist(), "labels": shown.labels.tolist(),
        "codes": done.codes[index].tolist(), "views": list(VIEWS), "methods": methods,
        "clean": sprite(clean, lossless=False), "decoy": sprite(changed(decoy, clean)),
        "swapped": sprite(changed(swapped, clean)),
        "masks": sprite(adaptive_max_pool2d(marks, side).to(torch.uint8)),
        "cams": {kind: sprite(torch.cat(own)[:, None], columns=len(index))
                 for kind, own in maps.items()},
    }  # fmt: skip


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write the data of the explorer as compact JSON."""
    with project.write_atomic(path) as temporary:
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        temporary.write_text(text, encoding="utf-8")
