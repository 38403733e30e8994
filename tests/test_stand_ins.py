"""The stand-ins: exact masks, the object alone tells the class, the same loader, the sheet."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import originals
import pytest
from PIL import Image
from pycocotools.coco import COCO

from xblcore import config as params
from xblcore import datasets, decoys
from xblcore.datasets import annotation, coco_stand_in, fashion_mnist, scenes, stand_ins
from xblcore.datasets.settings import DataConfig, DecoyConfig
from xblcore.pipeline import decoy

PROJECT = Path(__file__).parents[1]
CIFAR, COCO_TASK = "decoy_cifar10", "decoy_coco"
BASES = ("train", "val", "test_decoy", "test_clean")
# Enough to see that something tells the class; the data sheet's tables are of the laptop profile.
SMALL = {
    CIFAR: DataConfig(
        n_train=1200, n_val=100, n_test=300, seed=0, decoy=DecoyConfig(size=4), data="stand-in"
    ),
    COCO_TASK: DataConfig(
        n_train=300, n_val=60, n_test=120, seed=0, decoy=DecoyConfig(size=8), data="stand-in",
        image_size=64,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def raw_root(tmp_path_factory):
    """The original files, which are read once, for that takes a second each time."""
    root = originals.raw_root(tmp_path_factory.mktemp("raw"))
    pools = fashion_mnist.read_pools(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "read_pools", lambda _: pools)
        yield root


@pytest.fixture(scope="module", params=[CIFAR, COCO_TASK])
def built(request, raw_root, tmp_path_factory):
    """A task, the folder that it was built in, and its splits."""
    task, root = request.param, tmp_path_factory.mktemp("built")
    assert datasets.fetch_task(task, SMALL[task], raw_root=raw_root) == "stand-in"
    datasets.build(task, SMALL[task], raw_root=raw_root, out_root=root)
    return (
        task,
        root,
        {name: datasets.load(task, split=name, root=root) for name in datasets.SPLITS},
    )


def pixels_of(split):
    return np.rint(255 * split.images.transpose(0, 2, 3, 1)).astype(np.uint8)


# --- what the scenes are like --------------------------------------------------------------------


def test_splits_are_what_they_say(built):
    task, root, splits = built
    config = SMALL[task]
    side, classes = (32, 10) if task == CIFAR else (64, 2)
    about = datasets.manifest(task, root=root)
    assert about["data"] == "stand-in" and len(about["classes"]) == classes
    for name, split in splits.items():
        count = config.n_test if name.startswith("test") else config.n_val
        assert len(split) == (config.n_train if name.startswith("train") else count)
        assert split.images.shape[1:] == (3, side, side)
        assert set(split.labels.tolist()) == set(range(classes))
        size = 0 if name.endswith("clean") else config.decoy.size**2
        assert (split.decoy_mask.sum((1, 2)) == size).all()
    palette = decoys.colour_palette(classes)
    train = splits["train"]
    colours = pixels_of(train)[train.decoy_mask].reshape(len(train), -1, 3)
    assert (colours == palette[train.labels][:, None]).all()


def test_garments_of_test_scenes_are_test_garments_and_none_is_shown_twice(built):
    task, root, _ = built
    index = {name: datasets.source_index(task, split=name, root=root) for name in BASES}
    everything = np.concatenate(list(index.values()))
    assert len(set(everything.tolist())) == len(everything)
    for name in BASES:
        assert ((index[name] < 60_000) == (name in ("train", "val"))).all()


def test_masks_are_exact(built, raw_root):
    """Outside the mask the scene is its ground, bit for bit; inside it is of one tint."""
    task, root, splits = built
    stream, style = (2, stand_ins.CIFAR_LIKE) if task == CIFAR else (5, coco_stand_in.COCO_LIKE)
    split = splits["train_clean"]
    images, source = pixels_of(split), datasets.source_index(task, split="train", root=root)
    for n in range(60):
        ground = scenes.ground(style, np.random.default_rng([0, stream, source[n]]))
        ground = np.rint(255 * ground.clip(0, 1)).astype(np.uint8)
        outside = ~split.object_mask[n]
        assert (images[n][outside] == ground[outside]).all()
        inside = images[n][split.object_mask[n]].astype(float)
        bright = inside[inside.max(1) > 60]
        assert np.ptp(bright / bright.max(1, keepdims=True), axis=0).max() < 0.05
    areas = split.object_mask.sum((1, 2))
    assert areas.min() > 20 and areas.max() < split.object_mask[0].size


def test_the_labels_are_those_of_the_garments(built, raw_root):
    task, root, splits = built
    train, test = fashion_mnist.read_pools(raw_root)
    labels = np.concatenate([train.labels, test.labels])
    own = range(10) if task == CIFAR else coco_stand_in.CATEGORIES
    for name in BASES:
        garments = labels[datasets.source_index(task, split=name, root=root)]
        assert (np.array(own)[splits[name].labels] == garments).all()


# --- neither ground nor tint nor place tells the class -------------------------------------------


def moments(images, masks):
    """Mean and standard deviation of each channel over the pixels of a mask, image by image."""
    parts = [image[mask] / 255 for image, mask in zip(images, masks, strict=True)]
    return np.array([np.r_[part.mean(0), part.std(0)] for part in parts])


def tint(images, masks):
    """The brightest pixel of the object, each channel as a share of the largest."""
    found = []
    for image, mask in zip(images, masks, strict=True):
        inside = image[mask].astype(float)
        brightest = inside[inside.sum(1).argmax()]
        found.append(brightest / max(brightest.max(), 1))
    return np.array(found)


def corners(images, masks):
    """Colours at the corners of the scene, wherever the garment is."""
    return images[:, [1, 1, -2, -2], [1, -2, 1, -2]].reshape(len(images), -1) / 255


def extent(images, masks):
    """Area, height and width of the object: this does tell the class."""
    rows, columns = masks.any(2).sum(1), masks.any(1).sum(1)
    return np.stack([masks.sum((1, 2)) / rows / columns, rows / columns], axis=1)


def accuracy(features, train, test):
    """The better of nearest class mean and least squares, learned on one split, of another."""
    x, y = (features(pixels_of(split), split.mask) for split in (train, test))
    scale, shift = x.std(0) + 1e-9, x.mean(0)
    x, y = (x - shift) / scale, (y - shift) / scale
    means = np.array([x[train.labels == k].mean(0) for k in range(train.labels.max() + 1)])
    nearest = ((y[:, None] - means) ** 2).sum(-1).argmin(1)
    one_hot = np.eye(len(means))[train.labels]
    weights = np.linalg.lstsq(np.c_[x, np.ones(len(x))], one_hot, rcond=None)[0]
    linear = (np.c_[y, np.ones(len(y))] @ weights).argmax(1)
    return max((guess == test.labels).mean() for guess in (nearest, linear))


@dataclasses.dataclass
class Masked:
    """A split seen through the object or through the ground."""

    images: np.ndarray
    labels: np.ndarray
    mask: np.ndarray


def through(split, *, ground):
    mask = ~split.object_mask if ground else split.object_mask
    return Masked(split.images, split.labels, mask)


@pytest.mark.parametrize(("features", "ground"), [(moments, True), (corners, True), (tint, False)])
def test_neither_ground_nor_tint_tells_the_class(built, features, ground):
    task, _, splits = built
    classes = 10 if task == CIFAR else 2
    train, test = (through(splits[name], ground=ground) for name in ("train_clean", "test_clean"))
    count = len(test.labels)
    spread = np.sqrt((1 - 1 / classes) / classes / count)
    assert accuracy(features, train, test) < 1 / classes + 3 * spread


def test_the_object_does(built):
    """Else the test above would show nothing."""
    task, _, splits = built
    train, test = (through(splits[name], ground=False) for name in ("train_clean", "test_clean"))
    assert accuracy(extent, train, test) > (0.35 if task == CIFAR else 0.75)


# --- made again, and read by others --------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_other_scenes(built, raw_root, tmp_path):
    task, root, _ = built
    config = dataclasses.replace(SMALL[task], n_train=40, n_val=20, n_test=20)
    manifests = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        raw = tmp_path / f"raw-{name}"
        raw.mkdir()
        (raw / "fashion-mnist").symlink_to(raw_root / "fashion-mnist")
        own = dataclasses.replace(config, seed=seed)
        datasets.fetch_task(task, own, raw_root=raw)
        path = datasets.build(task, own, raw_root=raw, out_root=tmp_path / name)
        manifests.append(path.read_text())
    assert manifests[0] == manifests[1] != manifests[2]
    part = datasets.load(task, split="train", root=tmp_path / "one")
    source = datasets.source_index(task, split="train", root=tmp_path / "one").tolist()
    if task == CIFAR:  # a scene does not depend on how many there are
        whole = datasets.source_index(task, split="train", root=root).tolist()
        assert source == whole[:40]
        full = datasets.load(task, split="train", root=root)
        assert (part.images == full.images[:40]).all()


def test_the_scenes_are_a_coco_that_others_read(built, raw_root):
    task, root, splits = built
    if task == CIFAR:
        pytest.skip("has no files")
    folder = raw_root / "coco-stand-in"
    reader = COCO(str(folder / "instances_test.json"))
    assert sorted(reader.getCatIds()) == [7, 9] and len(reader.getImgIds()) == 240
    split = splits["test_clean"]
    for n, image_id in enumerate(datasets.source_index(task, split="test_clean", root=root)[:30]):
        (instance,) = reader.loadAnns(reader.getAnnIds([image_id]))
        mask = reader.annToMask(instance).astype(bool)
        assert (mask == split.object_mask[n]).all() and mask.sum() == instance["area"]
        x, y, width, height = instance["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
        (entry,) = reader.loadImgs([image_id])
        with Image.open(folder / "images" / entry["file_name"]) as image:
            assert (np.asarray(image) == pixels_of(split)[n]).all()


def test_scenes_of_another_config_take_the_place_of_the_old_ones(raw_root, tmp_path):
    (tmp_path / "fashion-mnist").symlink_to(raw_root / "fashion-mnist")
    config = dataclasses.replace(SMALL[COCO_TASK], n_train=12, n_val=4, n_test=6)
    datasets.fetch_task(COCO_TASK, config, raw_root=tmp_path)
    folder = tmp_path / "coco-stand-in"
    assert len(list((folder / "images").iterdir())) == 28
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    datasets.fetch_task(COCO_TASK, config, raw_root=tmp_path)
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp, "nothing was made again"
    smaller = dataclasses.replace(config, n_train=8)
    datasets.fetch_task(COCO_TASK, smaller, raw_root=tmp_path)
    assert len(list((folder / "images").iterdir())) == 24
    with pytest.raises(ValueError, match="coco-stand-in must be gathered for .* got .*; run: pyth"):
        datasets.build(COCO_TASK, config, raw_root=tmp_path, out_root=tmp_path)

    image = sorted((folder / "images").iterdir())[0]
    image.write_bytes(image.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"sha256 of .*{image.name} must be .* it was altered"):
        datasets.build(COCO_TASK, smaller, raw_root=tmp_path, out_root=tmp_path)
    datasets.fetch_task(COCO_TASK, smaller, raw_root=tmp_path)
    datasets.build(COCO_TASK, smaller, raw_root=tmp_path, out_root=tmp_path)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="manifest.json must be a manifest, got KeyError"):
        datasets.build(COCO_TASK, smaller, raw_root=tmp_path, out_root=tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="manifest.json must be there, .* run: python -m"):
        datasets.build(COCO_TASK, smaller, raw_root=tmp_path, out_root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 50}, "image_size must be at least 56, got 50"),
        ({"image_size": None}, "image_size must be a number of pixels for decoy_coco, got None"),
        ({"n_train": 12_000}, "scenes of a class must be at most 6000, got 6030; lower n_train"),
    ],
)
def test_settings_that_do_not_fit(raw_root, tmp_path, changes, message):
    (tmp_path / "fashion-mnist").symlink_to(raw_root / "fashion-mnist")
    config = dataclasses.replace(SMALL[COCO_TASK], **changes)
    with pytest.raises(ValueError, match=message):
        datasets.fetch_task(COCO_TASK, config, raw_root=tmp_path)


# --- params.yaml and the data sheet --------------------------------------------------------------


def settings_of(task, profile, monkeypatch):
    """What params.yaml says of a task, whether the grid has it or not."""
    study = dataclasses.replace(params.load(PROJECT), profile=profile, tasks=[CIFAR, COCO_TASK])
    monkeypatch.setattr(params, "load", lambda *_: study)
    return decoy.settings(task)


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_the_profiles_have_settings_for_both_tasks(profile, monkeypatch):
    for task in (CIFAR, COCO_TASK):
        config = settings_of(task, profile, monkeypatch)
        assert config.data == ("stand-in" if profile == "smoke" else "auto")
        assert config.decoy.kind == "predictive"
    assert settings_of(CIFAR, profile, monkeypatch).of_kind("original").annotation == "complement"
    config = settings_of(COCO_TASK, profile, monkeypatch)
    sizes = [(c.image_size, c.decoy.size) for c in map(config.of_kind, ("original", "stand-in"))]
    assert sizes == [(224, 16), (64, 8)]


def test_the_centre_annotation_is_as_good_as_the_data_sheet_says(built):
    """Against the stand-in's exact masks."""
    task, _, splits = built
    if task != CIFAR:
        pytest.skip("the objects of the scenes are not in the centre")
    split = splits["train_clean"].take(slice(0, 300))
    found = annotation.centre_object(pixels_of(split))
    truth = split.object_mask
    overlap = ((found & truth).sum((1, 2)) / (found | truth).sum((1, 2))).mean()
    text = f"intersection over union {overlap:.2f}"
    assert text in (PROJECT / "data" / "README.md").read_text(), text


@pytest.fixture(scope="module")
def dots(raw_root, tmp_path_factory):
    """A folder of raw files in which each scene is a dot, to be made fast."""
    root = tmp_path_factory.mktemp("dots")
    (root / "fashion-mnist").symlink_to(raw_root / "fashion-mnist")

    def dot(grey, style, generator):
        mask = np.zeros((style.side, style.side), bool)
        mask[style.side // 2, style.side // 2] = True
        return np.repeat(mask[..., None], 3, -1).astype(np.uint8), mask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "scene", dot)
        yield root


@pytest.mark.parametrize(
    ("task", "kind"), [(CIFAR, "predictive"), (COCO_TASK, "predictive"), (COCO_TASK, "released")]
)
def test_what_the_decoy_tells_is_what_the_data_sheet_says(task, kind, dots, tmp_path, monkeypatch):
    """The laptop profile; what the scenes show has no part in the table."""
    config = settings_of(task, "laptop", monkeypatch)
    config = dataclasses.replace(
        config, data="stand-in", decoy=dataclasses.replace(config.decoy, kind=kind)
    )
    datasets.fetch_task(task, config, raw_root=dots)
    datasets.build(task, config, raw_root=dots, out_root=tmp_path)
    manifest = datasets.manifest(task, root=tmp_path)
    bits = {name: about["decoy_label_bits"] for name, about in manifest["splits"].items()}
    if kind == "predictive":
        assert bits["train"] > 0.99 * np.log2(len(manifest["classes"]))
    else:
        chance = manifest["splits"]["train"]["chance_bits"]
        assert bits["train"] < 3 * chance < 0.02, "the released decoy does not tell the class"
    table = datasets.information_table(manifest)
    text = (PROJECT / "data" / "README.md").read_text()
    assert table in text, f"put this into data/README.md:\n{table}"
