"""The data of a run: those of the built task, changed as told and in no other way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import toy_task
from toy_task import GRID, SIZE, TASK

from xblcore import config, datasets, distance, models, prepare
from xblcore.evaluate import Marked
from xblcore.experiments import data
from xblcore.experiments.feedback import KINDS
from xblcore.experiments.spec import Spec
from xblcore.methods import METHODS, Annotations

PLAIN = Spec(TASK, "xbl_d", 3.0, 0)
MASKS = [field.name for field in dataclasses.fields(Annotations)]


@pytest.fixture
def load(root, own):
    """The data of the plain run, or of one that differs from it."""

    def load(**changed):
        return data.load(dataclasses.replace(PLAIN, **changed), own, root)

    return load


@pytest.fixture
def plain(load):
    return load()


def same(one, other):
    """Equal, where NaN equals NaN."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


def annotations_of(run):
    return run.training["train"].annotations


def everything(run):
    """All tensors of a run's data by name, in one flat mapping."""
    found = {f"swapped {name}": images for name, images in run.swapped.items()}
    for name, part in run.training.items():
        found |= {f"{name} images": part.images, f"{name} labels": part.labels}
        found |= {f"{name} {mask}": getattr(part.annotations, mask) for mask in MASKS}
    for name, part in run.evaluation.items():
        fields = dataclasses.fields(Marked)
        found |= {f"{name} {field.name}": getattr(part, field.name) for field in fields}
    if run.second_swapped is not None:
        found["second swapped"] = run.second_swapped
    return found


def differing(one, other):
    one, other = everything(one), everything(other)
    assert one.keys() == other.keys()
    return {name for name in one if not same(one[name].float(), other[name].float())}


# ---------------------------------------------------------------- the plain run


def test_the_plain_run_has_the_data_of_the_main_grid(root, own, plain):
    """Tensor by tensor; but the oracle's clean images come with the marks that it does not need."""
    built = prepare.load_data(config.load(root).task(TASK), root=root / "data" / "decoy")
    grid_run = data.RunData(
        plain.model, built.training, built.evaluation, built.swapped, None, built.kind
    )
    unlike = {f"train_clean {mask}" for mask in MASKS}
    assert differing(plain, grid_run) <= unlike
    assert plain.second_swapped is None and plain.kind == built.kind == "original"
    learn_from_clean = [n for n in METHODS if METHODS[n].train_split == "train_clean"]
    assert learn_from_clean == ["oracle"] and not METHODS["oracle"].needs


def test_fewer_images_are_the_first_ones(root, own, plain):
    few = dataclasses.replace(own, n_train=20, n_val=6, n_test=10)
    fewer = data.load(PLAIN, few, root)
    counts = {"train": 20, "train_clean": 20, "val": 6, "val_swapped": 6,
              "test_decoy": 10, "test_clean": 10}  # fmt: skip
    before = everything(plain)
    for name, found in everything(fewer).items():
        split = name.split()[1] if name.startswith("swapped") else name.split()[0]
        assert same(found, before[name][: counts[split]])


def test_the_network_is_untrained_and_drawn_by_the_seed(load, own):
    for seed in (0, 1):
        built = models.build(own.model, channels=1, classes=3, size=SIZE, seed=seed)
        found = load(seed=seed).model.state_dict()
        assert found.keys() == built.state_dict().keys()
        assert all(torch.equal(found[name], value) for name, value in built.state_dict().items())


def test_looking_for_the_grid_teaches_a_network_nothing(root, own, monkeypatch):
    """One with batch norm would learn from the image that it is shown."""
    monkeypatch.setitem(
        models.MODELS, "normalised", models.Network((4, 4), pools=1, normalised=True)
    )
    found = data.load(PLAIN, dataclasses.replace(own, model="normalised"), root).model
    built = models.build("normalised", channels=1, classes=3, size=SIZE, seed=0)
    assert any("running_mean" in name for name in built.state_dict())
    for name, value in built.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


# ---------------------------------------------------------------- what is marked


@pytest.mark.parametrize(
    ("layer", "grid"),
    [(None, GRID), ("features", GRID), ("features.0", (8, 8)), ("head.0", (2, 2))],
)
def test_marks_lie_on_the_grid_of_the_layer_explained_in_training(layer, grid, root, load, plain):
    run = load(layer=layer)
    split = datasets.load(TASK, split="train", root=root / "data" / "decoy")
    marked, coarse = annotations_of(run), distance.to_grid(split.object_mask, grid)
    assert (marked.object_mask.numpy() == coarse).all()
    assert (marked.decoy_mask.numpy() == distance.to_grid(split.decoy_mask, grid)).all()
    assert (marked.distance.numpy() == distance.distance_map(coarse)).all()
    assert (marked.decoy_pixels.numpy() == split.decoy_mask).all(), "and on the pixels"
    if layer != PLAIN.layer:
        assert differing(load(layer="features"), plain) == set()
    for part in run.evaluation.values():
        assert part.object_mask.shape[1:] == GRID, "measured on the network's own"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("head.2", r"layer must return features \(N, K, h, w\) of the images, got 'head.2'"),
        ("features.9", "layer must be a module of the model, got 'features.9'; there are: "),
    ],
)
def test_a_layer_without_a_grid(layer, message, load):
    with pytest.raises(ValueError, match=message):
        load(layer=layer)


def marked_images(run):
    """Which training images are marked, by every kind of mark at once."""
    marked = annotations_of(run)
    shown = marked.object_mask.flatten(1).any(1)
    assert torch.equal(shown, marked.decoy_mask.flatten(1).any(1))
    assert torch.equal(shown, marked.decoy_pixels.flatten(1).any(1))
    undefined = marked.distance.isnan().flatten(1)
    assert torch.equal(undefined.any(1), undefined.all(1))
    assert torch.equal(shown, ~undefined.any(1)), "no distance to what is not marked"
    return shown


@pytest.mark.parametrize("count", [1, 5, 32])
def test_so_many_images_are_marked_and_as_ever(count, load, plain):
    few = load(annotated=count)
    shown = marked_images(few)
    assert shown.sum() == count
    for name in MASKS:
        before, found = getattr(annotations_of(plain), name), getattr(annotations_of(few), name)
        assert torch.equal(found[shown], before[shown])
    expected = set() if count == 32 else {f"{split} {m}" for split in plain.training for m in MASKS}
    assert differing(few, plain) == expected, "nothing but what is marked"


def test_the_seed_draws_them_for_all_methods_alike_and_more_include_fewer(load):
    few, more = (marked_images(load(annotated=n)) for n in (5, 12))
    assert (more | few).equal(more)
    assert marked_images(load(annotated=5, method="rrr")).equal(few)
    assert not marked_images(load(annotated=5, seed=1)).equal(few)
    assert marked_images(load(annotated=5, feedback="jittered")).equal(few)


def test_more_than_there_are(load):
    with pytest.raises(ValueError, match=r"annotated must be in \[1, 32\], .* got 33"):
        load(annotated=33)


@pytest.mark.parametrize("kind", KINDS)
def test_feedback_changes_what_is_marked_and_never_what_is_measured_against(kind, load, plain):
    run = load(feedback=kind)
    marks = {f"{split} {mask}" for split in plain.training for mask in MASKS}
    changed = differing(run, plain)
    assert changed <= marks
    as_correct = ("correct", "boxes")  # the tiny task's objects fill their boxes
    assert (changed == set()) == (kind in as_correct)


def test_each_kind_of_feedback_reaches_the_learner(root, load, plain):
    split = datasets.load(TASK, split="train", root=root / "data" / "decoy")
    areas = {
        kind: annotations_of(load(feedback=kind)).decoy_pixels.sum((1, 2)).numpy() for kind in KINDS
    }
    for kind in ("correct", "boxes", "random"):
        assert (areas[kind] == 4).all()
    assert (areas["incomplete"] == 2).all() and (areas["dilated"] == 8).all()
    assert areas["jittered"].max() == 4 and areas["jittered"].min() == 1
    assert (areas["adversarial"] == split.object_mask.sum((1, 2))).all()
    wrong = annotations_of(load(feedback="adversarial"))
    assert (wrong.decoy_pixels.numpy() == split.object_mask).all()
    assert (wrong.object_mask.numpy() == distance.to_grid(~split.object_mask, GRID)).all()
    boxes = annotations_of(load(feedback="boxes"))
    assert same(boxes.decoy_pixels, annotations_of(plain).decoy_pixels), "a square's is the square"


def test_what_is_random_in_feedback_is_drawn_by_the_seed(load):
    one, same_seed, other = (load(feedback="random", seed=seed) for seed in (0, 0, 1))
    assert differing(one, same_seed) == set()
    assert "train decoy_pixels" in differing(one, other)
    assert {name.split()[0] for name in differing(one, other)} == {"train", "train_clean"}


# ---------------------------------------------------------------- other decoys


@pytest.mark.parametrize("size", [1, 3])
def test_another_size_is_another_size_everywhere(size, load, plain):
    run = load(decoy_size=size)
    assert (annotations_of(run).decoy_pixels.sum((1, 2)) == size**2).all()
    changed = (run.training["train"].images != run.training["train_clean"].images)[:, 0]
    assert torch.equal(changed, annotations_of(run).decoy_pixels)
    for name in ("val", "test_decoy"):
        part = run.evaluation[name]
        moved = (part.images != run.swapped[name])[:, 0].numpy()
        assert (part.decoy_mask.numpy() == distance.to_grid(moved, GRID)).all()
        assert (moved.sum((1, 2)) == size**2).all()
    untouched = {"train_clean images", *(name for name in everything(run) if "labels" in name)}
    untouched |= {name for name in everything(run) if name.startswith("test_clean")}
    assert not differing(run, plain) & untouched


def told(run, split):
    """Images ``(N,)`` of a split whose decoy has their class's value."""
    part = run.training["train"] if split == "train" else run.evaluation[split]
    reference = 255 - 25 * part.labels
    return (part.images * 255).round().flatten(1).eq(reference[:, None]).sum(1) >= 4


def test_a_less_predictive_decoy_tells_others_in_training_and_the_same_on_test(load, plain):
    assert told(plain, "train").all() and told(plain, "val").all()
    run = load(predictive=0.5)
    for split in ("train", "val"):
        here = told(run, split)
        assert 0.2 < here.double().mean() < 0.8
    assert torch.equal(told(run, "val_swapped"), ~told(run, "val"))
    assert differing(run, plain) == {
        "train images", "val images", "val_swapped images", "swapped val",
    }  # fmt: skip
    assert differing(run, load(predictive=0.5, seed=1)) == set(), "the same for all seeds"


# Every other pixel of the second decoy is black, whatever its value.
SEEN = torch.from_numpy(np.indices((SIZE, SIZE)).sum(0) % 2 == 0)


@pytest.mark.parametrize("marked", ["all", "first"])
def test_two_decoys_both_marked_or_the_first_alone(marked, load, plain):
    run = load(decoys=2, marked=marked)
    first = annotations_of(plain).decoy_pixels
    both = first | first.flip(1, 2)
    second = first.flip(1, 2) & SEEN
    shown = annotations_of(run).decoy_pixels
    assert torch.equal(shown, both if marked == "all" else first)
    grid = torch.from_numpy(distance.to_grid(shown.numpy(), GRID))
    assert torch.equal(annotations_of(run).decoy_mask, grid)
    moved = (run.training["train"].images != run.training["train_clean"].images)[:, 0]
    assert torch.equal(moved, first | second), "both are there, marked or not"
    for name in ("val", "test_decoy"):
        assert (run.evaluation[name].decoy_mask.sum((1, 2)) == 2).all(), "measured against both"


def test_each_of_two_decoys_is_swapped_by_itself(load):
    run = load(decoys=2)
    images = run.evaluation["test_decoy"].images
    first = (run.swapped["test_decoy"] != images)[:, 0]
    second = (run.second_swapped != images)[:, 0]
    assert (first.sum((1, 2)) == 4).all() and torch.equal(second, first.flip(1, 2) & SEEN)
    both = (run.evaluation["val_swapped"].images != run.evaluation["val"].images)[:, 0]
    assert (both.sum((1, 2)) == 4 + 2).all(), "the rule for the weight wants neither followed"


def test_clean_images_have_no_decoy_to_be_measured_against(load):
    part = load(decoys=2).evaluation["test_clean"]
    assert not part.decoy_mask.any()


# ---------------------------------------------------------------- kept and shared


def test_a_run_leaves_nothing_behind_for_the_next(load, plain):
    """The built arrays are kept in memory between runs."""
    for change in (
        {"decoy_size": 3}, {"predictive": 0.5}, {"decoys": 2, "marked": "first"},
        {"annotated": 3, "feedback": "adversarial"}, {"layer": "head.0"},
    ):  # fmt: skip
        once = load(**change)
        assert differing(load(**change), once) == set()
        assert differing(load(), plain) == set()


def test_images_changed_in_place_are_not_those_of_the_next_run(load):
    run, before = load(), load()
    for name, tensor in everything(run).items():
        if "labels" not in name:  # shared, and nothing writes to them
            tensor.zero_()
    assert differing(load(), before) == set()


def test_a_split_is_read_once_for_all_runs(root, own, monkeypatch):
    data._drawn.cache_clear()
    read, names = data.store.read, []

    def counted(folder, task, name):
        names.append(name)
        return read(folder, task, name)

    monkeypatch.setattr(data.store, "read", counted)
    for seed in (0, 1, 2):
        data.load(dataclasses.replace(PLAIN, seed=seed), own, root)
    assert sorted(names) == sorted(data.SPLITS)


def test_data_built_anew_are_read_anew(rewritable, own, monkeypatch):
    before = data.load(PLAIN, own, rewritable)
    prints = data.fingerprint(rewritable / "data" / "decoy", TASK)
    build = toy_task.pool
    monkeypatch.setattr(toy_task, "pool", lambda count, first: build(count, first + 1))
    toy_task.build(rewritable)
    assert data.fingerprint(rewritable / "data" / "decoy", TASK) != prints
    assert "train images" in differing(data.load(PLAIN, own, rewritable), before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_train": 33}, "n_train of the experiments must be at most 32, the images of train as"),
        ({"n_val": 13}, "n_val of the experiments must be at most 12, the images of val as built"),
        ({"n_test": 16}, "n_test of the experiments must be at most 15, the images of test_decoy"),
    ],
    ids=["train", "val", "test"],
)
def test_more_images_than_were_built(changed, message, root, own):
    with pytest.raises(ValueError, match=message):
        data.load(PLAIN, dataclasses.replace(own, **changed), root)


def test_a_task_that_was_not_built(own, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{TASK} must be built under .*; run: python -m"):
        data.load(PLAIN, own, tmp_path)


def test_a_decoy_that_does_not_fit_the_images(load):
    with pytest.raises(ValueError, match="2 decoys of 5 pixels must fit a side of 8 pixels"):
        load(decoys=2, decoy_size=5)


def test_nothing_is_drawn_from_the_global_generators(load):
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    load(feedback="random", annotated=5, predictive=0.5)
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
