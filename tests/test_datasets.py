"""Datasets: the real task, the store, the IDX reader, the registry, the data sheet."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from xblcore import datasets, decoys
from xblcore.datasets import fashion_mnist, sources
from xblcore.datasets.drawing import Pool, draw_splits
from xblcore.datasets.settings import DataConfig, DecoyConfig
from xblcore.datasets.sources import Source
from xblcore.datasets.split import Split
from xblcore.datasets.tasks import Recipe

PROJECT = Path(__file__).parents[1]
TASK = "decoy_fashion_mnist"
# The laptop profile; the data sheet's table is of these splits.
LAPTOP = DataConfig(n_train=8000, n_val=2000, n_test=5000, seed=0, decoy=DecoyConfig(size=4))
BASES = ("train", "val", "test_decoy", "test_clean")


@pytest.fixture(scope="session")
def raw_root(tmp_path_factory):
    """The original files, from the project's own folder or else by a real fetch."""
    here = PROJECT / "data" / "raw"
    if not sources.missing_files(fashion_mnist.SOURCE, here):
        return here
    root = tmp_path_factory.mktemp("raw")
    assert datasets.fetch_task(TASK, LAPTOP, raw_root=root, progress=False) == "original"
    return root


@pytest.fixture(scope="session")
def built(raw_root, tmp_path_factory):
    root = tmp_path_factory.mktemp("built")
    datasets.build(TASK, LAPTOP, raw_root=raw_root, out_root=root)
    return root


@pytest.fixture(scope="session")
def splits(built):
    return {name: datasets.load(TASK, split=name, root=built) for name in datasets.SPLITS}


# --- the real task -------------------------------------------------------------------------------


def test_splits_are_what_they_say(splits):
    sizes = {name: len(split) for name, split in splits.items()}
    assert sizes == {
        "train": 8000, "val": 2000, "test_decoy": 5000, "test_clean": 5000,
        "train_clean": 8000, "val_swapped": 2000, "test_decoy_swapped": 5000,
    }  # fmt: skip
    for name, split in splits.items():
        assert split.images.dtype == np.float32 and split.labels.dtype == np.int64
        assert split.images.shape[1:] == (1, 28, 28)
        assert split.images.min() == 0 and split.images.max() == 1
        assert set(split.labels.tolist()) == set(range(10))
        assert not (split.object_mask & split.decoy_mask).any()
        assert split.object_mask.any((1, 2)).all()
        size = 0 if name.endswith("clean") else 16
        assert (split.decoy_mask.sum((1, 2)) == size).all()


def test_splits_share_no_image(built, raw_root):
    """By identity and by content, for all pairs of splits that are not twins."""
    everything = [fashion_mnist.read_pool(raw_root, which).images for which in ("train", "t10k")]
    content = [image.tobytes() for image in np.concatenate(everything)]
    index = {name: datasets.source_index(TASK, split=name, root=built) for name in BASES}
    for one, other in itertools.combinations(BASES, 2):
        assert not set(index[one]) & set(index[other])
        assert not {content[i] for i in index[one]} & {content[i] for i in index[other]}
    for name in BASES:
        assert len(set(index[name])) == len(index[name])
        assert ((index[name] < 60_000) == (name in ("train", "val"))).all()


def test_clean_images_are_the_original_ones_and_decoys_the_field_s(splits, built, raw_root):
    pool = fashion_mnist.read_pool(raw_root, "train")
    index = datasets.source_index(TASK, split="train", root=built)
    original = pool.images[index, :, :, 0]
    clean, train = splits["train_clean"], splits["train"]
    assert (np.rint(clean.images[:, 0] * 255) == original).all()
    assert (clean.labels == pool.labels[index]).all() and (train.labels == clean.labels).all()
    assert (clean.object_mask == (original > 0)).all()
    assert (train.object_mask == (original > 0) & ~train.decoy_mask).all()

    def values(split):
        pixels = np.rint(split.images[:, 0] * 255)[split.decoy_mask].reshape(len(split), 16)
        assert (pixels == pixels[:, :1]).all()
        return pixels[:, 0]

    for name in ("train", "val"):
        assert (values(splits[name]) == 255 - 25 * splits[name].labels).all()
    for name in ("val_swapped", "test_decoy", "test_decoy_swapped"):
        assert set(values(splits[name])) == set(range(30, 256, 25))
    corners = train.decoy_mask[:, [0, 0, 27, 27], [0, 27, 0, 27]]
    assert (corners.sum(1) == 1).all() and (corners.mean(0) > 0.23).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [("train", "train_clean"), ("val", "val_swapped"), ("test_decoy", "test_decoy_swapped")],
)
def test_twins_differ_in_the_decoy_alone(splits, one, other):
    left, right = splits[one], splits[other]
    assert (left.labels == right.labels).all()
    differs = (left.images != right.images).any(1)
    assert not (differs & ~left.decoy_mask).any()
    if other != "train_clean":  # every pixel of the decoy has another value
        assert (left.decoy_mask == right.decoy_mask).all()
        assert (left.object_mask == right.object_mask).all()
        assert (differs == left.decoy_mask).all()


def test_what_the_decoy_tells_is_what_the_data_sheet_says(built):
    manifest = datasets.manifest(TASK, root=built)
    bits = {name: about["decoy_label_bits"] for name, about in manifest["splits"].items()}
    assert bits["train"] == pytest.approx(math.log2(10), abs=0.01)
    assert bits["val"] == pytest.approx(math.log2(10), abs=0.01)
    assert bits["test_decoy"] < 0.02 and bits["test_decoy_swapped"] < 0.02
    assert bits["test_clean"] == bits["train_clean"] == 0
    table = datasets.information_table(manifest)
    text = (PROJECT / "data" / "README.md").read_text()
    assert table in text, f"put this into data/README.md:\n{table}"


def test_same_seed_same_bytes_other_seed_other_images(raw_root, tmp_path):
    small = dataclasses.replace(LAPTOP, n_train=300, n_val=100, n_test=100)
    texts = []
    for name, config in (
        ("one", small),
        ("two", small),
        ("three", dataclasses.replace(small, seed=1)),
    ):
        path = datasets.build(TASK, config, raw_root=raw_root, out_root=tmp_path / name)
        texts.append(path.read_text())
    assert texts[0] == texts[1] != texts[2]
    assert str(tmp_path) not in texts[0] and str(raw_root) not in texts[0]


def test_a_small_profile_is_a_part_of_a_large_one(raw_root, splits, tmp_path):
    small = dataclasses.replace(LAPTOP, n_train=300, n_val=100, n_test=100)
    datasets.build(TASK, small, raw_root=raw_root, out_root=tmp_path)
    for name in ("train", "test_decoy", "test_clean", "test_decoy_swapped"):
        part = datasets.load(TASK, split=name, root=tmp_path)
        assert (part.images == splits[name].images[: len(part)]).all()
    val = datasets.load(TASK, split="val", root=tmp_path)
    assert (val.images == splits["val"].images[-len(val) :]).all()


# --- the store -----------------------------------------------------------------------------------


def toy_pool(count, first=0, *, side=8, channels=3):
    generator = np.random.default_rng(first)
    images = generator.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    labels = np.arange(count) % 2
    return Pool(images, labels, images[..., 0] > 128, np.arange(first, first + count))


def toy_task(raw_root, config):
    palette = decoys.colour_palette(2)
    return draw_splits(toy_pool(60), toy_pool(40, 60), palette=palette, config=config)


TOY = DataConfig(n_train=40, n_val=20, n_test=20, seed=0, decoy=DecoyConfig(size=3))


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A built task of two classes in colour, added the way a reader would add one."""
    recipe = Recipe(toy_task, ("even", "odd"), ())
    monkeypatch.setitem(datasets.TASKS, "toy", {"original": recipe})
    datasets.build("toy", TOY, raw_root=tmp_path / "raw", out_root=tmp_path)
    return tmp_path


def test_a_task_in_colour_is_one_function(toy):
    split = datasets.load("toy", split="train", root=toy)
    assert split.images.shape == (40, 3, 8, 8)
    manifest = datasets.manifest("toy", root=toy)
    assert manifest["data"] == "original" and manifest["classes"] == ["even", "odd"]
    assert manifest["splits"]["train"]["decoy_label_bits"] == pytest.approx(1, abs=0.05)
    patch = split.images.transpose(0, 2, 3, 1)[split.decoy_mask].reshape(40, 9, 3)
    assert (patch == np.array([[1, 0, 0], [0, 1, 1]], np.float32)[split.labels][:, None]).all()


def test_a_released_decoy_does_not_tell_the_class():
    config = dataclasses.replace(TOY, n_train=4000, decoy=DecoyConfig(size=3, kind="released"))
    palette = decoys.colour_palette(6)  # need not be one a class
    drawn = draw_splits(toy_pool(4020), toy_pool(40, 5000), palette=palette, config=config)
    assert len(np.unique(drawn["train"].values, axis=0)) == 6
    assert drawn["train"].information("decoy")["decoy_label_bits"] < 0.01


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda f: flip(f / "train/images.npy"), ValueError, r"sha256 of .*images\.npy must be"),
        (lambda f: flip(f / "train/corners.npy"), ValueError, r"altered since it was built; run:"),
        (
            lambda f: (f / "train/labels.npy").write_bytes(b""),
            ValueError,
            r"sha256 of .*labels\.npy must be .* run: python -m xblcore\.pipeline\.decoy toy",
        ),
        (
            lambda f: (f / "train/values.npy").unlink(),
            FileNotFoundError,
            r"values\.npy must be there, got no such file; run:",
        ),
        (
            lambda f: (f / "manifest.json").unlink(),
            FileNotFoundError,
            r"toy must be built under .*, got no manifest\.json there; run: python -m",
        ),
        (
            lambda f: (f / "manifest.json").write_text("{"),
            ValueError,
            r"manifest\.json must be a manifest, got JSONDecodeError.*; run:",
        ),
        (
            lambda f: (f / "manifest.json").write_text('{"format": 1, "task": "toy"}'),
            ValueError,
            r"manifest\.json must be a manifest, got KeyError\('data'\); run: python -m",
        ),
        (
            lambda f: (f / "manifest.json").write_text('{"format": 0, "task": "toy"}'),
            ValueError,
            r"must be \(1, 'toy'\), got \(0, 'toy'\); run:",
        ),
    ],
)
def test_loading_what_is_not_as_it_was_built(toy, harm, error, message):
    harm(toy / "toy")
    with pytest.raises(error, match=message):
        datasets.load("toy", split="train", root=toy)


@pytest.mark.parametrize(
    ("key", "value"), [("data", None), ("classes", "ten"), ("files", []), ("size", "2")]
)
def test_a_manifest_whose_values_are_of_another_kind_is_refused(toy, key, value):
    path = toy / "toy" / "manifest.json"
    manifest = json.loads(path.read_text())
    (manifest["config"]["decoy"] if key == "size" else manifest)[key] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=rf"be a manifest, got TypeError.*{key} .* run:"):
        datasets.manifest("toy", root=toy)


def test_a_killed_build_leaves_nothing_that_would_be_loaded(toy, monkeypatch):
    """Killed at every file in turn: the old build stays whole; at the rename: there is none."""
    old = datasets.manifest("toy", root=toy)
    other = dataclasses.replace(TOY, seed=1)

    def build():
        datasets.build("toy", other, raw_root=toy, out_root=toy)

    class Killed(BaseException):
        pass

    for last in (0, 5, 20):
        saves = itertools.count()

        def save(path, array, real=np.save, last=last, saves=saves):
            real(path, array)
            if next(saves) == last:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(np, "save", save)
            build()
        assert datasets.manifest("toy", root=toy) == old
        datasets.load("toy", split="train", root=toy)

    def rename(source, target):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", rename)
        build()
    with pytest.raises(FileNotFoundError, match="toy must be built under"):
        datasets.load("toy", split="train", root=toy)
    build()
    assert datasets.manifest("toy", root=toy)["config"]["seed"] == 1
    assert sorted(os.listdir(toy)) == ["toy"]


# --- the registry --------------------------------------------------------------------------------


def source(name):
    return Source(name, {"file": "0" * 64})


@pytest.mark.parametrize(
    ("data", "kind"), [("auto", "stand-in"), ("original", "original"), ("stand-in", "stand-in")]
)
def test_auto_comes_to_the_stand_in_and_says_so(monkeypatch, tmp_path, caplog, data, kind):
    recipes = {
        "original": Recipe(toy_task, ("even", "odd"), (source("not-to-be-had"),)),
        "stand-in": Recipe(toy_task, ("even", "odd"), ()),
    }
    monkeypatch.setitem(datasets.TASKS, "toy", recipes)
    config = dataclasses.replace(TOY, data=data)
    with caplog.at_level(logging.WARNING):
        if data == "original":
            with pytest.raises(FileNotFoundError, match="not-to-be-had must come from one of its"):
                datasets.fetch_task("toy", config, raw_root=tmp_path)
        else:
            assert datasets.fetch_task("toy", config, raw_root=tmp_path) == kind
            assert ("FALLING BACK TO THE STAND-IN" in caplog.text) == (data == "auto")
        datasets.build("toy", config, raw_root=tmp_path, out_root=tmp_path)
    assert datasets.manifest("toy", root=tmp_path)["data"] == kind
    assert ("USING THE STAND-IN" in caplog.text) == (data == "auto")


ARGUMENTS = {"n_train": 1, "n_val": 1, "n_test": 1, "seed": 0, "decoy": DecoyConfig(size=4)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: datasets.load("decoy_mnist", split="train"),
            "task must be one of decoy_fashion_mnist.*, got 'decoy_mnist'",
        ),
        (lambda: datasets.manifest("nothing"), "task must be one of .*, got 'nothing'"),
        (
            lambda: datasets.fetch_task("nothing", TOY, raw_root=Path()),
            "task must be one of .*, got 'nothing'",
        ),
        (
            lambda: datasets.load(TASK, split="test"),
            "split must be one of train, val, test_decoy, test_clean, .*, got 'test'",
        ),
        (
            lambda: datasets.fetch_task(
                TASK, dataclasses.replace(TOY, data="stand-in"), raw_root=Path()
            ),
            "data of decoy_fashion_mnist must be one of auto, original, got 'stand-in'",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"data": "real"}),
            "data must be one of auto, original, stand-in, got 'real'",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"n_train": 0}),
            "n_train must be an integer of at least 1, got 0",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"n_val": 1.5}),
            r"n_val must be an integer of at least 1, got 1\.5",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"image_size": 0}),
            "image_size must be an integer of at least 1 and at most 2048, got 0",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"image_size": 10**6}),
            "image_size must be an integer of at least 1 and at most 2048, got 1000000",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"annotation": "exact"}),
            "annotation must be one of complement, centre, got 'exact'",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"by_data": {"standin": {}}}),
            "by_data must be one of original, stand-in, got 'standin'",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"by_data": {"original": {"seed": 1}}}),
            "by_data of original must have no other keys than n_train, .*, margin, got seed",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"by_data": {"stand-in": {"margin": -1}}}),
            "margin must be an integer of at least 0, got -1",
        ),
        (
            lambda: DataConfig(**ARGUMENTS | {"seed": -1}),
            "seed must be an integer of at least 0, got -1",
        ),
        (lambda: DecoyConfig(size=0), "decoy size must be an integer of at least 1, got 0"),
        (
            lambda: DecoyConfig(size=4, kind="none"),
            "decoy kind must be one of predictive, released, got 'none'",
        ),
        (
            lambda: DecoyConfig.of({"size": 4, "colour": 1}),
            "decoy must have the key size and no other than size, kind, got size, colour",
        ),
        (lambda: DecoyConfig.of({}), "decoy must have the key size .* got none"),
        (
            lambda: toy_task(Path(), dataclasses.replace(TOY, n_train=41)),
            r"n_train \+ n_val must be at most 60, the training images, got 61",
        ),
        (
            lambda: toy_task(Path(), dataclasses.replace(TOY, n_test=21)),
            "n_test must be at most 20, half of the test images, got 21",
        ),
        (
            lambda: toy_task(Path(), dataclasses.replace(TOY, decoy=DecoyConfig(size=9))),
            "decoy size must be at most 8, got 9",
        ),
        (
            lambda: Split(np.zeros((2, 3, 3)), *[np.zeros(1)] * 3),
            r"images must be \(N, C, H, W\), got shape \(2, 3, 3\)",
        ),
        (
            lambda: Split(np.zeros((2, 1, 3, 3)), np.zeros(2), *[np.zeros((2, 3, 4))] * 2),
            r"object_mask must have shape \(2, 3, 3\) like images, got \(2, 3, 4\)",
        ),
    ],
)
def test_rejections(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_take_keeps_everything_together(splits):
    split = splits["val"]
    for index in ([5, 0], np.arange(3), slice(2, 6), split.labels == 3):
        part = split.take(index)
        for field in dataclasses.fields(Split):
            assert (getattr(part, field.name) == getattr(split, field.name)[index]).all()
        assert len(part) == len(part.labels)


# --- IDX -----------------------------------------------------------------------------------------


def idx(*header, body=b""):
    words = b"".join(number.to_bytes(4, "big") for number in header)
    return gzip.compress(words + body, mtime=0)  # the same bytes, and test name, in every worker


IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801


def test_idx_reads_big_endian_rows_first():
    packed = idx(IMAGES_MAGIC, 1, 2, 3, body=bytes(range(6)))
    images = fashion_mnist.read_idx(packed, name="x.gz", ndim=3)
    assert images.tolist() == [[[0, 1, 2], [3, 4, 5]]]


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"not gzip", r"x\.gz must be a whole gzip file, got: Not a gzipped file"),
        (b"", "magic number of .* must be 00000803, got an empty file"),
        (idx(IMAGES_MAGIC, 1, 2, 2, body=b"1234")[:-9], "a whole gzip file, got: Compressed"),
        (idx(LABELS_MAGIC, 1, body=b"1"), "magic number of .* must be 00000803, got 00000801"),
        (idx(IMAGES_MAGIC, 1), "must hold 3 dimensions, got a truncated header"),
        (idx(IMAGES_MAGIC, 1, 2, 2, body=b"123"), r"hold 4 bytes for shape \(1, 2, 2\), got 3"),
        (idx(IMAGES_MAGIC, 1, 2, 2, body=b"12345"), "must end after 4 bytes for shape .* got more"),
        (
            idx(IMAGES_MAGIC, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            "must hold at most 268435456 bytes, got shape",
        ),
    ],
)  # fmt: skip
def test_idx_that_is_broken(packed, message):
    with pytest.raises(ValueError, match=message):
        fashion_mnist.read_idx(packed, name="x.gz", ndim=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 10], r"labels must be in \[0, 10\), got 10"),
        ([0], "labels must be as many as images, 2, got 1"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        fashion_mnist.checked_pool(
            np.zeros((2, 2, 2), np.uint8), np.array(labels, np.uint8), first=0
        )


# --- the commands --------------------------------------------------------------------------------


def test_the_commands_fetch_and_build(raw_root, tmp_path, monkeypatch, capsys):
    from xblcore.pipeline import decoy, fetch

    study = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(study | {"profile": "laptop"}))
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert decoy.main([TASK]) == 1
    assert "must be in" in capsys.readouterr().err, "nothing was fetched yet"

    (tmp_path / "data" / "raw").mkdir(parents=True, exist_ok=True)
    (tmp_path / "data" / "raw" / "fashion-mnist").symlink_to(raw_root / "fashion-mnist")
    assert decoy.main([TASK]) == 0
    assert "decoy_fashion_mnist, original data" in capsys.readouterr().out
    assert len(datasets.load(TASK, split="val")) > 0, "found without naming a folder"
    assert decoy.settings(TASK) == LAPTOP, "change LAPTOP above, and the data sheet"
    assert fetch.main(["--task", "decoy_mnist"]) == 1
    assert "task must be one of" in capsys.readouterr().err
