"""Building and loading the tasks, on tiny data."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.tiny import make_raw
from xblcore import data
from xblcore.decoys import Decoy, grey_palette

CONFIG = data.DataConfig(n_train=60, n_val=20, n_test=30)
SHAPES = {
    "decoy_fashion_mnist": (1, 28, 28),
    "decoy_cifar10": (3, 32, 32),
    "decoy_coco": (3, 64, 64),
}
TASKS = list(SHAPES)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def built(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    for task in TASKS:
        assert data.fetch(task, CONFIG, raw=raw) == "tiny"
        data.build(task, CONFIG, raw=raw, out=out)
    return out


def source(built: Path, task: str, split: str) -> list[int]:
    with np.load(built / task / f"{split}.npz") as arrays:
        return arrays["source"].tolist()


@pytest.mark.parametrize("task", TASKS)
def test_splits_have_the_sizes_of_the_config_and_the_manifest_says_tiny(
    built: Path, task: str
) -> None:
    sizes = {split: len(data.load(task, split=split, root=built)) for split in data.SPLITS}
    assert sizes == {
        "train": 60, "train_clean": 60, "val": 20, "val_swapped": 20,
        "test_decoy": 30, "test_decoy_swapped": 30, "test_decoy_clean": 30, "test_clean": 30,
    }  # fmt: skip
    examples = data.load(task, split="train", root=built)
    assert examples.images.shape == (60, *SHAPES[task])
    assert examples.images.dtype == torch.uint8
    info = data.info(task, root=built)
    assert info["data"] == "tiny"
    assert info["config"] == dataclasses.asdict(CONFIG)
    assert len(info["classes"]) == (2 if task == "decoy_coco" else 10)
    assert examples.labels.max() < len(info["classes"])


@pytest.mark.parametrize("task", TASKS)
def test_decoys_predict_the_label_in_training_and_validation_only(built: Path, task: str) -> None:
    splits = ("train", "val", "test_decoy")
    done = {split: data.decoyed(task, split=split, root=built) for split in splits}
    for split, own in done.items():
        assert torch.equal(own.codes, own.examples.labels) == (split != "test_decoy")
    clean, shown = data.load(task, split="train_clean", root=built), done["train"].examples
    assert not clean.decoy_mask.any()
    changed = (clean.images != shown.images).any(1)  # otherwise the same images
    assert not (changed & ~shown.decoy_mask).any()
    swapped = data.load(task, split="val_swapped", root=built)
    assert torch.equal(swapped.images, done["val"].swapped.images)


@pytest.mark.parametrize("task", TASKS)
def test_no_image_is_in_two_splits(built: Path, task: str) -> None:
    for first, second in (("train", "val"), ("test_decoy", "test_clean")):
        assert not set(source(built, task, first)) & set(source(built, task, second))


@pytest.mark.parametrize("task", ["decoy_fashion_mnist", "decoy_cifar10"])
def test_images_of_a_small_config_are_among_those_of_a_large_one(
    raw: Path, built: Path, task: str, tmp_path: Path
) -> None:
    small = dataclasses.replace(CONFIG, n_train=30, n_val=10, n_test=10)
    data.build(task, small, raw=raw, out=tmp_path)
    for split in ("train", "val", "test_decoy", "test_clean"):
        assert set(source(tmp_path, task, split)) < set(source(built, task, split))


def test_a_seed_gives_the_same_data_and_another_seed_other_data(raw: Path, tmp_path: Path) -> None:
    digests = []
    for n, seed in enumerate((0, 0, 1)):
        config = dataclasses.replace(CONFIG, seed=seed)
        data.build("decoy_coco", config, raw=raw, out=tmp_path / str(n))
        digests.append(data.info("decoy_coco", root=tmp_path / str(n))["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_build_follows_the_config_and_the_raw_files(raw: Path, tmp_path: Path) -> None:
    task, larger = "decoy_fashion_mnist", dataclasses.replace(CONFIG, n_train=61)
    data.build(task, CONFIG, raw=raw, out=tmp_path)
    data.build(task, larger, raw=raw, out=tmp_path)
    assert len(data.load(task, split="train", root=tmp_path)) == 61
    before = data.info(task, root=tmp_path)["digest"]
    other = make_raw(tmp_path / "other raw", seed=1, n_train=100, n_test=60)
    data.build(task, larger, raw=other, out=tmp_path)
    assert data.info(task, root=tmp_path)["digest"] != before


def test_corrupt_file_is_reported_and_built_again(raw: Path, built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "decoy_cifar10", tmp_path / "decoy_cifar10")
    path = tmp_path / "decoy_cifar10" / "train.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sha256 of .*train.npz"):
        data.load("decoy_cifar10", split="train", root=tmp_path)
    data.build("decoy_cifar10", CONFIG, raw=raw, out=tmp_path)
    repaired = data.load("decoy_cifar10", split="train", root=tmp_path)
    assert torch.equal(
        repaired.images, data.load("decoy_cifar10", split="train", root=built).images
    )


def test_decoy_is_chosen_when_loading(built: Path) -> None:
    large = data.load("decoy_cifar10", split="train", decoy=Decoy(size=7), root=built)
    assert large.decoy_mask.sum((1, 2)).unique().tolist() == [49]
    clean = data.load("decoy_cifar10", split="train_clean", decoy=Decoy(size=7), root=built)
    assert not clean.decoy_mask.any()


def test_original_that_is_not_there_cannot_be_built(raw: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, source="original")
    with pytest.raises(data.DataUnavailableError):
        data.fetch("decoy_coco", config, raw=raw)
    with pytest.raises(data.DataUnavailableError, match=r"make data, or .*fetch\('decoy_coco"):
        data.build("decoy_coco", config, raw=raw, out=tmp_path)
    with pytest.raises(data.DataUnavailableError, match="no stand-in"):
        data.fetch("decoy_cifar10", dataclasses.replace(CONFIG, source="stand-in"), raw=raw)


def test_errors_at_the_boundary(raw: Path, built: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        data.load("decoy_coco", split="train", root=tmp_path)
    with pytest.raises(ValueError, match="split must be one of"):
        data.load("decoy_coco", split="test", root=built)
    with pytest.raises(ValueError, match="task must be one of"):
        data.build("decoy_mnist", CONFIG, raw=raw, out=tmp_path)
    with pytest.raises(ValueError, match="must be at most 1000"):
        data.build("decoy_cifar10", dataclasses.replace(CONFIG, n_train=990), raw=raw, out=tmp_path)
    for wrong in ({"n_val": 0}, {"source": "stand_in"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            dataclasses.replace(CONFIG, **wrong)


def test_a_task_of_ones_own_needs_a_function_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(raw: Path, config: data.DataConfig) -> dict[str, data.Drawn]:
        images = np.zeros((100, 1, 12, 12), np.uint8)
        pool = data.Drawn(data.clean_examples(images, np.arange(100) % 2), torch.arange(100))
        return data.draw_splits(pool, pool, config)

    own = data.Task(data.Recipe(("even", "odd"), grey_palette(2), Decoy(size=3), draw))
    monkeypatch.setitem(data.TASKS, "own", own)
    assert data.fetch("own", CONFIG, raw=tmp_path) == "original"
    data.build("own", CONFIG, raw=tmp_path, out=tmp_path)
    examples = data.load("own", split="train", root=tmp_path)
    assert examples.images.amax((1, 2, 3)).tolist() == [255 - 25 * n for n in examples.labels]
