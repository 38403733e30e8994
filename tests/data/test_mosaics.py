"""Mosaics: where the photos lie, and which ones are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.tiny import make_raw
from xblcore import data
from xblcore.data import cifar10
from xblcore.data.splits import Drawn, clean_examples
from xblcore.examples import Examples

HORSE, TRUCK = 7, 9


def numbered_photos(count: int) -> Examples:
    """Photos whose every pixel has the photo's number, in classes 0 to 9 in turn."""
    numbers = np.arange(count, dtype=np.uint8)
    return clean_examples(numbers[:, None, None, None].repeat(3, 1).repeat(32, 2).repeat(32, 3),
                          numbers % 10)  # fmt: skip


def compose(count: int, *, context: float | None = None) -> Drawn:
    photos = numbered_photos(100)
    objects = [np.array([7, 17, 27]), np.array([9, 19])]
    return cifar10.compose(photos, objects, count, np.random.default_rng(0), context=context)


def test_mosaic_shows_the_object_on_its_mask_and_four_background_photos_elsewhere() -> None:
    drawn = compose(40)
    for image, mask, label, source in zip(
        drawn.examples.images.numpy(), drawn.examples.object_mask.numpy(),
        drawn.examples.labels.tolist(), drawn.source.tolist(), strict=True,
    ):  # fmt: skip
        assert source % 10 == (HORSE, TRUCK)[label]
        assert (image[:, mask] == source).all()
        assert mask.sum() == 32 * 32
        rows, columns = np.nonzero(mask)
        assert np.ptp(rows) == np.ptp(columns) == 31
        for row in (0, 32):
            for column in (0, 32):
                cell = np.s_[row : row + 32, column : column + 32]
                shown = np.unique(image[(slice(None), *cell)][:, ~mask[cell]])
                assert len(shown) <= 1  # 0 if the object covers the cell
                assert not set(shown % 10) & {HORSE, TRUCK}


def test_classes_are_balanced_and_photos_are_reused_only_when_all_have_been_used() -> None:
    drawn = compose(12)
    assert drawn.examples.labels.tolist() == [0, 1] * 6
    assert drawn.source[0::2].tolist() == [7, 17, 27, 7, 17, 27]
    assert drawn.source[1::2].tolist() == [9, 19, 9, 19, 9, 19]
    assert not torch.equal(drawn.examples.images[0], drawn.examples.images[6])


@pytest.mark.parametrize(
    ("context", "expected"), [(None, 0.004), (0.0, 0.004), (0.8, 0.8), (1.0, 1.0)]
)
def test_context_ties_the_background_to_the_label(context: float | None, expected: float) -> None:
    drawn = compose(500, context=context)
    tied = []
    for image, mask, label in zip(
        drawn.examples.images.numpy(), drawn.examples.object_mask.numpy(),
        drawn.examples.labels.tolist(), strict=True,
    ):  # fmt: skip
        classes = set(np.unique(image[0][~mask] % 10))
        tied.append(classes == {cifar10.CLASSES.index(cifar10.TIED[label])})
    assert np.mean(tied) == pytest.approx(expected, abs=0.05)


def test_training_and_test_mosaics_use_different_photos(tmp_path: Path) -> None:
    raw = make_raw(tmp_path, n_train=200, n_test=100)
    train, test = (drawn.examples for drawn in cifar10.read(raw))
    splits = cifar10.draw_mosaics(
        raw, data.DataConfig(n_train=30, n_val=10, n_test=20, context=0.5)
    )
    used = {}
    for name, drawn in splits.items():
        pool = train if name in ("train", "val") else test
        used[name] = set(drawn.source.tolist())
        for image, mask, source in zip(
            drawn.examples.images, drawn.examples.object_mask, drawn.source, strict=True
        ):
            assert torch.equal(image[:, mask].reshape(3, 32, 32), pool.images[source])
    assert not used["train"] & used["val"]
    assert not used["test_decoy"] & used["test_clean"]
