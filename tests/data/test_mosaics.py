"""Mosaics: where the photos lie, and which ones are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def compose(count: int, *, contexts: bool = False) -> Drawn:
    photos = numbered_photos(100)
    objects = [np.array([7, 17, 27]), np.array([9, 19])]
    return cifar10.compose(photos, objects, count, np.random.default_rng(0), contexts=contexts)


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


def test_contexts_show_the_same_object_on_photos_of_one_class() -> None:
    plain, drawn = compose(40), compose(40, contexts=True)
    assert plain.contexts is None
    assert drawn.contexts is not None
    assert torch.equal(plain.examples.images, drawn.examples.images)
    mask = drawn.examples.object_mask
    for images, name in zip(drawn.contexts, cifar10.BACKGROUNDS, strict=True):
        shown, background = images[:, 0][mask], images[:, 0][~mask]
        assert torch.equal(shown, drawn.examples.images[:, 0][mask])
        assert set((background % 10).tolist()) == {cifar10.CLASSES.index(name)}


def test_natural_shortcut_ties_the_background_to_the_label_in_training_only(tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "raw", n_train=400, n_test=200)
    root = tmp_path / "built"
    settings = data.DataConfig(n_train=300, n_val=50, n_test=100)
    data.build("natural_shortcut", settings, raw=raw, out=root)
    for split, low, high in (("train", 0.95, 0.999), ("test_decoy", 0.35, 0.65)):
        done = data.decoyed("natural_shortcut", split=split, root=root)
        tied = (done.codes == done.examples.labels).float().mean()
        assert low < tied < high
        same = done.examples.object_mask[:, None].expand_as(done.examples.images)
        assert torch.equal(done.examples.decoy_mask, ~done.examples.object_mask)
        assert torch.equal(done.examples.images[same], done.swapped.images[same])
        clean = data.load("natural_shortcut", split=f"{split}_clean", root=root)
        assert torch.equal(done.examples.images[same], clean.images[same])


def test_training_and_test_mosaics_use_different_photos(tmp_path: Path) -> None:
    raw = make_raw(tmp_path, n_train=200, n_test=100)
    train, test = (drawn.examples for drawn in cifar10.read(raw))
    splits = cifar10.draw_mosaics(raw, data.DataConfig(n_train=30, n_val=10, n_test=20))
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
