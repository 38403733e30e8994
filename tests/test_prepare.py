"""From a task's files to tensors: every split with its own annotations, on the network's grid."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import toy_task
from toy_task import GRID, SIZE, TASK

from xblcore import config, datasets, distance, prepare


@pytest.fixture
def settings(tmp_path):
    return config.load(toy_task.build(tmp_path)).task(TASK)


def test_every_split_reaches_the_learner_with_its_own_annotations(settings, tmp_path):
    folder = tmp_path / "data" / "decoy"
    data = prepare.load_data(settings, root=folder)
    assert (data.channels, data.classes, data.size, data.kind) == (1, 3, SIZE, "original")
    assert set(data.training) == {"train", "train_clean"}
    assert set(data.evaluation) == {"val", "val_swapped", "test_decoy", "test_clean"}
    assert set(data.swapped) == {"val", "test_decoy"}
    learned = {name: (part, part.annotations) for name, part in data.training.items()}
    measured = {name: (part, part) for name, part in data.evaluation.items()}
    for name, (part, known) in (learned | measured).items():
        split = datasets.load(TASK, split=name, root=folder)
        coarse = distance.to_grid(split.object_mask, GRID)
        assert (part.images.numpy() == split.images).all()
        assert (part.labels.numpy() == split.labels).all()
        assert (known.object_mask.numpy() == coarse).all()
        assert (known.decoy_mask.numpy() == distance.to_grid(split.decoy_mask, GRID)).all()
        assert (known.distance.numpy() == distance.distance_map(coarse)).all()
    for name in learned:
        split = datasets.load(TASK, split=name, root=folder)
        assert (data.training[name].annotations.decoy_pixels.numpy() == split.decoy_mask).all()
    for name, images in data.swapped.items():
        split = datasets.load(TASK, split=f"{name}_swapped", root=folder)
        assert (images.numpy() == split.images).all()


def test_the_gallery_shows_one_image_of_each_class(settings, tmp_path, monkeypatch):
    data = prepare.load_data(settings, root=tmp_path / "data" / "decoy")
    test_decoy = data.evaluation["test_decoy"]
    assert data.gallery.labels.tolist() == [0, 1, 2]
    for n, label in enumerate(data.gallery.labels):
        first = int((test_decoy.labels == label).nonzero()[0])
        for field in dataclasses.fields(data.gallery):
            assert torch.equal(
                getattr(data.gallery, field.name)[n], getattr(test_decoy, field.name)[first]
            )
    monkeypatch.setattr(prepare, "GALLERY", 2)
    fewer = prepare.load_data(settings, root=tmp_path / "data" / "decoy")
    assert fewer.gallery.labels.tolist() == [0, 1]


def test_other_data_have_another_fingerprint(settings, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "decoy"
    before = prepare.load_data(settings, root=folder).fingerprint
    assert before == prepare.load_data(settings, root=folder).fingerprint
    build = toy_task.pool
    monkeypatch.setattr(toy_task, "pool", lambda count, first: build(count, first + 1))
    toy_task.build(tmp_path)
    assert prepare.load_data(settings, root=folder).fingerprint != before


def test_a_device_that_is_not_there(settings, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cuda = dataclasses.replace(settings, device="cuda")
    with pytest.raises(ValueError, match="device must be one that is there, got 'cuda'; set"):
        prepare.device_of(cuda)
    assert prepare.device_of(dataclasses.replace(settings, device="auto")).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepare.device_of(cuda).type == "cuda"
    assert prepare.device_of(dataclasses.replace(settings, device="auto")).type == "cuda"
    assert prepare.device_of(dataclasses.replace(settings, device="cpu")).type == "cpu"
