"""The settings of the experiments: the project's own file in every profile, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_task
import yaml
from toy_task import TASK

from xblcore import config
from xblcore.experiments import settings
from xblcore.experiments.feedback import KINDS
from xblcore.methods import METHODS

ROOT = Path(__file__).parents[2]
PROFILES = ("smoke", "laptop", "paper")


WEIGHTS = {"erm": [0], "oracle": [0], "xbl_d": [1], "rrr_g": [1], "rrr": [1]}
PROFILE = {"switch_on": [1], "seeds": [0, 1], "task_settings": {}}


def in_profile(**changed) -> dict:
    """The profile of the toy settings, changed, as :func:`write_settings` takes it."""
    return {"profiles": {"toy": PROFILE | changed}}


@pytest.fixture(params=PROFILES)
def shipped(request, tmp_path):
    """Settings of the project in a profile, and the root that they were read from."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(params | {"profile": request.param})
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    path = tmp_path / settings.FILE
    path.parent.mkdir(parents=True)
    path.write_bytes((ROOT / settings.FILE).read_bytes())
    return settings.load(tmp_path), tmp_path


# ---------------------------------------------------------------- the project's own


def test_every_profile_loads(shipped):
    own, root = shipped
    task = own.task_config(root)
    assert own.profile == task.profile and own.task == task.task == TASK
    assert len(own.seeds) >= 2 and len(set(own.seeds)) == len(own.seeds)
    assert set(own.feedback) < set(KINDS) - {"correct"} or set(own.feedback) == set(KINDS) - {
        "correct"
    }
    assert all(count < task.n_train for count in own.annotated), "all is a condition of its own"
    assert task.decoy["size"] not in own.decoy_sizes and all(0 <= p < 1 for p in own.predictive)
    assert 0 not in own.switch_on


def test_no_condition_is_told_twice(shipped):
    for name, values in dataclasses.asdict(shipped[0]).items():
        if isinstance(values, list):
            assert len(set(values)) == len(values), name


def test_all_methods_of_the_registry_take_part_where_results_are_made(shipped):
    own, _ = shipped
    assert set(own.methods) <= set(METHODS) and set(own.weights) <= set(METHODS)
    if own.profile != "smoke":
        assert set(own.methods) == set(METHODS)
    for name in own.methods:
        tuned = METHODS[name].penalty is not None and not METHODS[name].fixed_weight
        assert (len(own.weights[name]) > 1) == (tuned and own.profile != "smoke")
        if not tuned:
            assert own.weights[name] == [METHODS[name].default_weight]


def test_the_runs_fit_into_the_data_of_the_main_grid(shipped):
    own, root = shipped
    small, built = own.task_config(root), config.load(root).task(TASK)
    for name in ("n_train", "n_val", "n_test"):
        assert getattr(small, name) <= getattr(built, name)
    assert (small.data, small.data_seed, small.decoy) == (built.data, built.data_seed, built.decoy)


# ---------------------------------------------------------------- a file


def test_what_a_profile_names_replaces_what_stands_above_it(rewritable, rewrite):
    profile = {"switch_on": [2], "seeds": [5], "task_settings": {"epochs": 9}, "annotated": [7]}
    rewrite(rewritable, profiles={"toy": profile, "unused": {"seeds": [1]}})
    own = settings.load(rewritable)
    assert (own.profile, own.annotated, own.switch_on, own.seeds) == ("toy", [7], [2], [5])
    assert own.feedback == ["jittered"]
    task, before = own.task_config(rewritable), config.load(rewritable).task(TASK)
    assert task == dataclasses.replace(before, epochs=9)
    assert own.weights["xbl_d"] == [1.0, 3.0], "numbers are floats, as in a key"
    assert all(isinstance(weight, float) for weight in own.weights["xbl_d"])


def test_it_is_found_from_inside_the_project(root, monkeypatch):
    monkeypatch.chdir(root / "data")
    assert settings.load() == settings.load(root)


def test_those_for_the_sweep_alone_are_not_everywhere(root):
    own = settings.load(root)
    assert own.methods == ["erm", "oracle", "xbl_d", "rrr_g", "rrr"]
    assert own.everywhere == ["erm", "oracle", "xbl_d", "rrr_g"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"wieghts": {}}, "must not have the key 'wieghts'; did you mean 'weights'"),
        ({"profiles": {"toy": {"sed": [1]}}}, "must not have the key 'sed'; did you mean 'seeds'"),
        ({"profiles": {"toy": {}}}, "must have the key 'switch_on', got none"),
        ({"profiles": {"laptop": {}}}, "must have profiles.toy, a mapping, got {'laptop'"),
        ({"annotated": "all"}, "annotated must be of type .*int.*, got 'all'"),
        ({"annotated": [2.5]}, "annotated must be of type int, got 2.5"),
        ({"weights": [1]}, r"weights must be of type .*dict.*, got \[1\]"),
        ({"methods": ["xbl_d"]}, "must include erm and oracle, beside which .*, got xbl_d"),
        ({"methods": ["erm", "rrr"]}, "must include oracle, beside which .*, got erm, rrr"),
        ({"methods": ["erm", "oracle", "hint"]}, "must have weights of hint, got none"),
        ({"sweep_only": ["rbr"]}, "sweep_only must be some of methods, .*, got rbr"),
        ({"sweep_only": ["erm"]}, "sweep_only must be some of methods, but erm and .*, got erm"),
        (
            {"methods": ["erm", "oracle", "erm"], "sweep_only": []},
            r"methods must be .* none of them twice, .*'erm'\]",
        ),
        ({"weights": WEIGHTS | {"xbl_d": []}}, r"weights.xbl_d must be one or more, .*, got \[\]"),
        ({"weights": WEIGHTS | {"rrr": [1, 1]}}, r"weights.rrr must be .*, got \[1.0, 1.0\]"),
        ({"weights": WEIGHTS | {"rrr": [-1]}}, r"weights.rrr must be .* each at least 0, got \[-1"),
        ({"annotated": [0]}, r"annotated must be .* each at least 1, got \[0\]"),
        ({"feedback": ["correct"]}, r"feedback must be .* other than correct, got \['correct'\]"),
        ({"decoy_sizes": [0]}, r"decoy_sizes must be .* each at least 1, got \[0\]"),
        ({"predictive": [1.0]}, r"predictive must be .* each in \[0, 1\), got \[1.0\]"),
        ({"layers": ["nope"]}, r"layers must be .* each features, head or .*, got \['nope'\]"),
        ({"cams": []}, r"settings.yaml: cams must be one or more, .*, got \[\]"),
        ({"scores": [""]}, r"scores must be .* each a name, got \[''\]"),
        ({"layer_factors": []}, r"layer_factors must be one or more, .*, got \[\]"),
        ({"layer_factors": [0]}, r"layer_factors must be .* each above 0, got \[0.0\]"),
        (in_profile(seeds=[]), r"settings.yaml: seeds must be one or more, .*, got \[\]"),
        (in_profile(seeds=[3, 3]), r"seeds must be .* none of them twice, .*, got \[3, 3\]"),
        (in_profile(seeds=[-1]), r"seeds must be .* each at least 0, got \[-1\]"),
        (in_profile(switch_on=[0]), r"switch_on must be .* each at least 1, got \[0\]"),
        (
            in_profile(task_settings={"task": "decoy_coco"}),
            "task_settings.task must be left out, .*co'",
        ),
        (
            in_profile(task_settings={"profile": "x"}),
            "task_settings.profile must be left out, .*'x'",
        ),
    ],
)
def test_what_is_refused(changed, message, rewritable, rewrite):
    rewrite(rewritable, **changed)
    with pytest.raises(ValueError, match=message):
        settings.load(rewritable)


@pytest.mark.parametrize(
    ("task_settings", "message"),
    [
        ({"epoch": 3}, "task_settings in .* must not have the key 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0}, f"epochs of {TASK} must be above 0, got 0"),
        ({"n_train": "many"}, "n_train must be of type int, got 'many'"),
        ({"n_train": 33}, "settings.yaml: task_settings.n_train must be at most 32, .*, got 33"),
        ({"n_train": 4}, r"annotated must be .* each below n_train, 4, got \[4\]"),
        ({"model": "x"}, "settings.yaml: task_settings.model must be one of small_cnn, .* got 'x'"),
    ],
    ids=["typo", "range", "type", "too many", "fewer than marked", "model"],
)
def test_what_is_refused_of_the_task(task_settings, message, rewritable, rewrite):
    rewrite(rewritable, **in_profile(task_settings=task_settings))
    own = settings.load(rewritable)
    with pytest.raises(ValueError, match=message):
        own.task_config(rewritable)


def test_conditions_that_are_the_task_s_own_or_more_than_it_has(rewritable, rewrite):
    for name, value, rule in (("annotated", 10**9, "below n_train, 32"),
                              ("decoy_sizes", 2, "not the task's, 2")):  # fmt: skip
        rewrite(rewritable, **{name: [value]})
        with pytest.raises(ValueError, match=rf"{name} must be .* {rule}, got \[{value}\]"):
            settings.load(rewritable).task_config(rewritable)


def test_another_task_than_the_one_of_the_experiments(root):
    with pytest.raises(ValueError, match=f"task must be one of {TASK}, got 'mnist'"):
        settings.load(root).task_config(root, "mnist")


def test_a_file_that_is_not_there_or_not_yaml(tmp_path):
    toy_task.write_params(tmp_path)
    with pytest.raises(FileNotFoundError):
        settings.load(tmp_path)
    path = tmp_path / settings.FILE
    path.parent.mkdir(parents=True)
    path.write_text("weights: [", encoding="utf-8")
    with pytest.raises(ValueError, match="settings.yaml must be valid YAML, got: "):
        settings.load(tmp_path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="settings.yaml must be a mapping, got NoneType"):
        settings.load(tmp_path)
