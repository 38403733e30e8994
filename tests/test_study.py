"""The runs of one task x method on a tiny real task: resumed, not mixed up, byte for byte again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math

import pandas as pd
import pytest
import torch
import toy_task
from toy_task import SIZE, TASK

from xblcore import config, datasets, metrics, models, prepare, study
from xblcore.evaluate import predict
from xblcore.explainers import CAMS, EXPLAINERS, HELD_OUT
from xblcore.methods import METHODS
from xblcore.trained import gallery_cams, load_model

RUNS = [(1.0, 0), (3.0, 0)]  # of xbl_d, then (the chosen weight, 1)


@pytest.fixture
def root(tmp_path):
    return toy_task.build(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    """Weight and seed of every run that is really trained, in order."""
    seen, run = [], study.run

    def counted(*arguments, weight, seed):
        seen.append((weight, seed))
        return run(*arguments, weight=weight, seed=seed)

    monkeypatch.setattr(study, "run", counted)
    return seen


# ---------------------------------------------------------------- runs


def test_every_weight_meets_the_sweep_seeds_and_the_chosen_one_the_rest(root, trained):
    result = study.train_method(TASK, "xbl_d", root=root)
    assert trained == [*RUNS, (result.weight, 1)]
    table = result.table()
    val = table[(table.split == "val_swapped") & (table.metric == "accuracy") & (table.seed == 0)]
    assert result.weight == val.sort_values("weight").set_index("weight").value.idxmax()
    assert [run.seed for run in result.chosen] == [0, 1]
    assert {run.weight for run in result.chosen} == {result.weight}


def test_the_table_is_tidy_and_complete(root):
    table = study.train_method(TASK, "xbl_d", root=root).table()
    assert ",".join(table.columns) == (
        "task,data,method,weight,chosen,seed,split,explainer,metric,value,nan_share"
    )
    keys = ["weight", "seed", "split", "explainer", "metric"]
    assert not table.duplicated(keys).any()
    assert table.groupby(["weight", "seed"]).size().nunique() == 1
    assert set(table.data) == {"original"} and set(table.task) == {TASK}
    assert table.chosen.dtype == bool and set(table[table.chosen].seed) == {0, 1}
    assert table[table.chosen].weight.nunique() == 1
    assert set(table.split) == {"val", "val_swapped", "test_decoy", "test_clean"}
    assert set(table.explainer) == {"none", *EXPLAINERS}
    held_out = table[table.explainer.isin([explainer.name for explainer in HELD_OUT])]
    assert set(held_out.split) == {"test_decoy"}, "they cost too much for every split"
    for explainer in CAMS:
        splits = set(table[table.explainer == explainer.name].split)
        assert splits == {"val", "test_decoy", "test_clean"}
    assert set(table.metric) == set(metrics.METRICS)
    flips = table[table.metric == "decoy_flip_rate"]
    assert set(flips.split) == {"val", "test_decoy"}
    wrong = table[table.metric == "wrong_reason"]
    assert set(wrong.split) == {"val", "test_decoy"}, "there is no decoy on clean"
    assert table.nan_share.between(0, 1).all()
    assert (table.value.isna() == (table.nan_share == 1)).all()


@pytest.mark.parametrize("name", METHODS)
def test_one_call_trains_any_method_and_measures_it(name, root):
    """One epoch with the default weight for the task."""
    toy_task.write_params(root, epochs=1, ramp_epochs=0)
    settings = config.load(root).task(TASK)
    data = prepare.load_data(settings, root=root / "data" / "decoy")
    done = study.run(data, settings, METHODS[name])
    assert done.weight == METHODS[name].weight_for(TASK) and done.seed == 0
    (log,) = done.history
    assert math.isfinite(log.cross_entropy) and math.isfinite(log.penalty)
    assert (log.penalty != 0) == (METHODS[name].penalty is not None)
    accuracy = [m.value for m in done.measurements if m.metric == "accuracy"]
    assert len(accuracy) == 4 and all(0 <= value <= 1 for value in accuracy)
    again = study.new_model(settings, data, seed=0).state_dict()
    assert all(not torch.equal(done.state[key], again[key]) for key in again)


def test_the_oracle_learns_from_clean_images(root, monkeypatch):
    seen = {}
    fit = study.fit

    def spying(model, data, method, *arguments, **options):
        seen[method.name] = data.images
        return fit(model, data, method, *arguments, **options)

    monkeypatch.setattr(study, "fit", spying)
    for name in ("erm", "oracle"):
        study.train_method(TASK, name, root=root)
    folder = root / "data" / "decoy"
    for name, split in (("erm", "train"), ("oracle", "train_clean")):
        images = datasets.load(TASK, split=split, root=folder).images
        assert (seen[name].numpy() == images).all()


def test_unknown_names(root):
    with pytest.raises(ValueError, match="method must be one of erm, .*, got 'xbld'"):
        study.train_method(TASK, "xbld", root=root)
    with pytest.raises(ValueError, match=f"task must be one of {TASK}, got 'mnist'"):
        study.train_method("mnist", "erm", root=root)
    with pytest.raises(
        ValueError, match="must have weights of 'rrr', got those of erm, oracle, xbl_d; give"
    ):
        study.train_method(TASK, "rrr", root=root)


# ---------------------------------------------------------------- resuming


def test_a_killed_stage_goes_on_at_the_last_finished_run(root, trained, monkeypatch):
    """And comes to the same bytes as one that was never killed."""
    counted = study.run

    def killed(*arguments, weight, seed):
        if len(trained) == 2:
            raise KeyboardInterrupt
        return counted(*arguments, weight=weight, seed=seed)

    monkeypatch.setattr(study, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        study.train_method(TASK, "xbl_d", root=root)
    assert trained == RUNS
    monkeypatch.setattr(study, "run", counted)
    resumed = study.train_method(TASK, "xbl_d", root=root)
    assert trained == [*RUNS, (resumed.weight, 1)], "one run was left to do"

    study.save(resumed, root / "resumed", root=root)
    assert not list((root / "build").rglob("*.pt")), "the results replace the checkpoints"
    study.save(study.train_method(TASK, "xbl_d", root=root), root / "whole", root=root)
    assert len(trained) == 6, "all three anew"
    for name in ("runs.csv", "history.csv", "weights.pt"):
        assert (root / "resumed" / name).read_bytes() == (root / "whole" / name).read_bytes()
    assert torch.load(root / "whole" / "weights.pt").keys() == {"0", "1"}


@pytest.mark.parametrize("change", ["nothing", "weights", "setting", "code"])
def test_a_changed_setting_or_code_takes_up_no_finished_run(change, root, trained, monkeypatch):
    study.train_method(TASK, "erm", root=root)
    assert trained == [(0.0, 0), (0.0, 1)]
    if change == "weights":  # of another method
        toy_task.write_params(root, weights={"xbl_d": [7]})
    elif change == "setting":
        toy_task.write_params(root, learning_rate=0.002)
    elif change == "code":
        monkeypatch.setattr(study.imports, "digests", lambda *_modules: {})
    study.train_method(TASK, "erm", root=root)
    assert len(trained) == (4 if change in ("setting", "code") else 2)


# ---------------------------------------------------------------- results


@pytest.fixture
def saved(root, monkeypatch):
    """XBL-D trained and saved where the later stages look."""
    monkeypatch.chdir(root)
    result = study.train_method(TASK, "xbl_d", root=root)
    study.save(result, root / "build" / "runs" / TASK / "xbl_d", root=root)
    return result


def test_what_is_saved_belongs_together(root, saved):
    folder = root / "build" / "runs" / TASK / "xbl_d"
    assert {path.name for path in folder.iterdir()} == {
        "runs.csv", "history.csv", "weights.pt", "manifest.json",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(folder / "runs.csv"), saved.table())
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == 3 * 2 and set(history.epoch) == {1, 2}
    assert ",".join(history.columns) == "weight,chosen,seed,epoch,cross_entropy,penalty,accuracy"
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert manifest["method"] == "xbl_d" and manifest["weight"] == saved.weight
    assert manifest["config"]["learning_rate"] == 0.001 and manifest["data"] == "original"
    assert manifest["device"] == "cpu"
    assert manifest["packages"]["torch"] == importlib.metadata.version("torch")
    assert manifest["files"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("weights.pt", "runs.csv", "history.csv")
    }
    assert len(manifest["seconds"]) == 3 and all(s > 0 for s in manifest["seconds"].values())
    assert str(root) not in text, "no path of the machine"


def test_kept_networks_are_those_that_were_measured(root, saved):
    settings = config.load(root).task(TASK)
    data = prepare.load_data(settings, root=root / "data" / "decoy")
    clean, table = data.evaluation["test_clean"], saved.table()
    for seed in (0, 1):
        model = load_model(TASK, "xbl_d", settings, data, seed=seed, root=root)
        assert not model.training
        right = predict(model, clean.images).argmax(1) == clean.labels
        row = table.query("chosen and seed == @seed and split == 'test_clean'")
        row = row[row.metric == "accuracy"]
        assert row.value.item() == pytest.approx(right.double().mean().item())
    with pytest.raises(ValueError, match="seed must be one of 0, 1, got 7"):
        load_model(TASK, "xbl_d", settings, data, seed=7, root=root)
    with pytest.raises(FileNotFoundError, match=f"no networks of erm on {TASK}; run: dvc repro tr"):
        load_model(TASK, "erm", settings, data, root=root)


def test_the_gallery_shows_what_the_first_network_sees(root, saved):
    settings = config.load(root).task(TASK)
    data = prepare.load_data(settings, root=root / "data" / "decoy")
    name = study.WATCHED.name
    cams, predictions = gallery_cams(TASK, ["xbl_d"], name, settings, data)
    assert saved.chosen[0].over_training.shape == (2, 3, SIZE // 2, SIZE // 2)
    assert torch.equal(cams["xbl_d"], saved.chosen[0].over_training[-1])
    model = load_model(TASK, "xbl_d", settings, data, root=root)
    assert predictions["xbl_d"] == model(data.gallery.images).argmax(1).tolist()
    with pytest.raises(ValueError, match=f"explainer must be one of {', '.join(EXPLAINERS)}, got"):
        gallery_cams(TASK, ["xbl_d"], "lime", settings, data)


def test_weights_come_from_the_seed(root):
    settings = config.load(root).task(TASK)
    data = prepare.load_data(settings, root=root / "data" / "decoy")
    built = models.build("small_cnn", channels=1, classes=3, size=SIZE, seed=1)
    for one, other in zip(
        study.new_model(settings, data, seed=1).parameters(), built.parameters(), strict=True
    ):
        assert torch.equal(one, other)
