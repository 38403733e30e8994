"""Sprites hold the pixels, and the explorer what the networks say about the same images."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from xblcore import data
from xblcore.metrics import decoy_flip_rate, distance_focus
from xblcore.study import evaluate, explainers, gallery, runs
from xblcore.study.config import Config
from xblcore.study.runs import Run


def decoded(url: str) -> Tensor:
    """Pixels ``(C, H, W)`` of an image in a URL."""
    content = base64.b64decode(url.removeprefix("data:image/webp;base64,"))
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).permute(2, 0, 1)


def tile(url: str, n: int, size: tuple[int, int], *, columns: int = gallery.COLUMNS) -> Tensor:
    (height, width), (row, column) = size, divmod(n, columns)
    image = decoded(url)
    return image[:, row * height :, column * width :][:, :height, :width]


def random_images(count: int, channels: int = 3, side: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, side, side)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_sprite_holds_every_image_exactly(channels: int) -> None:
    images = random_images(13, channels)
    url = gallery.sprite(images)
    assert decoded(url).shape == (3, 10, 50)
    for n, image in enumerate(images):
        assert tile(url, n, (5, 5)).equal(image.expand(3, -1, -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_over_the_clean_image_give_the_image(channels: int) -> None:
    clean = random_images(3, channels)
    image = clean.clone()
    image[:, :, 1:3, 2:4] = 255 - image[:, :, 1:3, 2:4]
    found = gallery.changed(image, clean)
    assert set(found[:, 3].unique().tolist()) == {0, 255}
    assert (found[:, 3] > 0).sum() == 3 * 4
    shown = torch.where(found[:, 3:] > 0, found[:, :3], clean)
    assert shown.equal(image.expand(-1, 3, -1, -1))


def test_cams_are_scaled_to_their_own_maximum() -> None:
    cams = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0)) * 7
    cams[2] = 0
    found = gallery.quantised(cams).float() / 255
    assert found.amax((1, 2)).tolist() == [1, 1, 0, 1]
    peak = cams.amax((1, 2), keepdim=True).clamp(min=1e-9)
    assert (found - cams / peak).abs().max() <= 0.5 / gallery.LEVELS + 1e-6


@pytest.mark.parametrize("task", ["decoy_fashion_mnist", "decoy_coco"])
def test_explorer_agrees_with_the_networks(tiny: Config, tmp_path: Path, task: str) -> None:
    settings = tiny.task(task)
    finished = runs.results([Run(task, "erm", 0, 0), Run(task, "xbl_d_plus", 1, 1)], progress=False)
    path = tmp_path / "tasks" / "explorer.json"
    by_method = {result.run.method: result for result in finished}
    gallery.write(gallery.explorer(by_method, settings, count=20), path)
    found = json.loads(path.read_text(encoding="utf-8"))
    index = torch.tensor(found["index"])
    shown = runs.load_split(finished[0].run, settings, "test_decoy").take(index)
    swapped = runs.load_split(finished[0].run, settings, "test_decoy_swapped").take(index)
    clean = data.load(task, split="test_decoy_clean").take(index)
    assert found["labels"] == shown.labels.tolist()
    assert found["codes"] == data.decoyed(task, split="test_decoy").codes[index].tolist()
    size, grid = (found["side"],) * 2, tuple(found["grid"])
    masks = torch.stack([tile(found["masks"], n, size)[0] for n in range(len(index))])
    assert (masks == gallery.DECOY).equal(shown.decoy_mask)
    assert (masks == gallery.OBJECT).equal(shown.object_mask & ~shown.decoy_mask)
    drawn = tile(found["decoy"], 0, size)
    assert (drawn[3] > 0).equal((shown.images[0] != clean.images[0]).any(0))
    for row, (method, own) in enumerate(found["methods"].items()):
        result = by_method[method]
        assert (own["seed"], own["weight"]) == (result.run.seed, result.run.weight)
        assert own["accuracy"] == runs.clean_accuracy(result)
        model = runs.trained_model(result, settings)
        logits = [evaluate.predict(model, part.images) for part in (shown, swapped, clean)]
        assert own["classes"] == [one.argmax(1).tolist() for one in logits]
        flips = [a != b for a, b in zip(*own["classes"][:2], strict=True)]
        assert flips == decoy_flip_rate(*logits[:2]).bool().tolist()
        for kind in gallery.CAMS:
            explainer = explainers.get(kind)
            cams = evaluate.attributions(model, shown.images, explainer, layer=model.cam_layer)
            place = row * len(index) + 1  # of the second image
            drawn = tile(found["cams"][kind], place, grid, columns=len(index))[0]
            assert drawn.equal(gallery.quantised(cams)[1])
            cells = shown.on_grid(grid).cells
            assert cells is not None
            focus = distance_focus(cams, cells.distance)
            percent = [None if value != value else round(100 * value) for value in focus.tolist()]
            assert own["metrics"][kind]["distance_focus"] == percent
