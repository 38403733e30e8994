"""Finished runs on disk: the same when taken up again, and only where nothing decisive changed."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import toy_task
from toy_task import TASK

from xblcore import checkpoints, config, study
from xblcore.checkpoints import Run
from xblcore.evaluate import Measurement
from xblcore.train import EpochLog

RUN = Run(
    weight=3.0,
    seed=1,
    measurements=[Measurement("val", "none", "accuracy", 0.1 + 0.2, 0.0)],
    history=[EpochLog(1, 0.5, 1 / 3, 0.25)],
    over_training=torch.rand(2, 3, 4, 4),
    state={"head.weight": torch.rand(2, 3)},
    seconds=1.5,
)


def test_a_run_is_started_once_and_then_taken_up_as_it_was(tmp_path):
    started = []

    def start():
        started.append(1)
        return RUN

    path = tmp_path / "new" / "run.pt"
    first, again = (checkpoints.once(path, start) for _ in range(2))
    assert started == [1] and first is RUN
    for field in dataclasses.fields(Run):
        kept, was = getattr(again, field.name), getattr(RUN, field.name)
        if field.name == "state":
            assert kept.keys() == was.keys()
            kept, was = kept["head.weight"], was["head.weight"]
        assert torch.equal(kept, was) if isinstance(was, torch.Tensor) else kept == was


def test_an_undefined_measurement_stays_undefined(tmp_path):
    nan = dataclasses.replace(RUN.measurements[0], value=math.nan, nan_share=1.0)
    run = dataclasses.replace(RUN, measurements=[nan])
    checkpoints.once(tmp_path / "run.pt", lambda: run)
    again = checkpoints.once(tmp_path / "run.pt", lambda: pytest.fail("started again"))
    assert math.isnan(again.measurements[0].value)


def test_a_run_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        checkpoints.once(tmp_path / "run.pt", lambda: 1 / 0)
    assert not list(tmp_path.iterdir())


def test_dropping_forgets_one_task_x_method(tmp_path):
    for method in ("erm", "rrr"):
        checkpoints.once(checkpoints.folder(tmp_path, TASK, method) / "run.pt", lambda: RUN)
    checkpoints.drop(tmp_path, TASK, "erm")
    checkpoints.drop(tmp_path, TASK, "never there")
    assert [path.parent.name for path in tmp_path.rglob("*.pt")] == ["rrr"]


# ---------------------------------------------------------------- what a run depends on


@pytest.fixture
def key(tmp_path):
    """Key of one run, with some of what it is made of replaced."""
    settings = config.load(toy_task.build(tmp_path)).task(TASK)

    def make(*, settings_=None, data="some", code="some", **run):
        return checkpoints.run_key(
            dataclasses.replace(settings, **(settings_ or {})),
            data=data,
            code={"xblcore/train.py": code},
            **{"method": "xbl_d", "weight": 1.0, "seed": 0, **run},
        )

    return make


@pytest.mark.parametrize(
    "change",
    [
        {"settings_": {"epochs": 3}},
        {"settings_": {"ramp_epochs": 2.0}},
        {"settings_": {"learning_rate": 0.002}},
        {"settings_": {"batch_size": 8}},
        {"settings_": {"threads": 2}},
        {"settings_": {"explained_images": 9}},
        {"settings_": {"held_out_images": 9}},
        {"settings_": {"model": "other"}},
        {"data": "other"},
        {"code": "other"},
        {"method": "erm"},
        {"weight": 3.0},
        {"seed": 1},
    ],
)
def test_what_decides_a_number_decides_the_key(key, change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "other"},
        {"weights": {"xbl_d": [7.0]}},
        {"seeds": [0, 1, 2]},
        {"sweep_seeds": [1]},
        {"device": "auto"},
    ],
)
def test_what_decides_no_number_leaves_the_key(key, change, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert key(settings_=change) == key()


def test_the_devices_name_and_pytorchs_version_are_in_the_key(key, monkeypatch):
    before = key()
    monkeypatch.setattr(torch, "__version__", "0.4.1")
    assert key() != before
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert key(settings_={"device": "cuda"}) != before


DECIDING = (
    "cam", "capture", "distance", "evaluate", "explainers", "losses/by_distance", "losses/common",
    "methods/base", "methods/xbl_d", "metrics", "models", "prepare", "study", "train",
)  # fmt: skip
IDLE = ("methods/cdep", "losses/contextual", "released", "results", "plots/style")


@pytest.mark.parametrize("name", DECIDING + IDLE)
def test_the_code_that_a_run_rests_on_and_no_other(name, monkeypatch):
    before, read_bytes = study.code_of("xbl_d"), Path.read_bytes
    file = Path(checkpoints.__file__).parent / f"{name}.py"
    assert file.is_file()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read_bytes(path) + b"#" * (path == file))
    assert (study.code_of("xbl_d") != before) == (name in DECIDING)
