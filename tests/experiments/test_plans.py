"""Which runs an experiment has, counted by hand for a few methods and two seeds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from toy_task import TASK

from xblcore.experiments import plans
from xblcore.experiments.settings import FILE, Settings, load
from xblcore.experiments.spec import Spec
from xblcore.methods import METHODS

ROOT = Path(__file__).parents[2]

# No loss: erm, oracle. The object is marked: xbl_d, hint. The decoy: rrr_g, rrr. Both: xbl_d_gated.
# A CAM that may be exchanged: xbl_d, hint, rrr_g, xbl_d_gated.
EVERYWHERE = ["erm", "oracle", "xbl_d", "hint", "rrr_g", "rrr", "xbl_d_gated"]
SETTINGS = Settings(
    profile="toy",
    task=TASK,
    methods=[*EVERYWHERE, "rbr", "xbl_d_released"],
    sweep_only=["rbr", "xbl_d_released"],
    weights={
        "erm": [0.0], "oracle": [0.0], "xbl_d": [3.0, 30.0, 300.0], "hint": [1.0, 10.0],
        "rrr_g": [10.0, 100.0], "rrr": [1.0], "xbl_d_gated": [5.0], "rbr": [1.0, 2.0],
        "xbl_d_released": [0.1],
    },
    annotated=[4, 16, 64],
    feedback=["jittered", "boxes"],
    switch_on=[3, 6],
    decoy_sizes=[2, 8],
    predictive=[0.6],
    layers=["features.2", "features", "head.0"],
    cams=["grad_cam", "hires_cam"],
    scores=["logit", "log_prob", "projection"],
    layer_factors=[0.5, 2.0],
    seeds=[7, 8],
    task_settings={},
)  # fmt: skip
CHOSEN = {"erm": 0.0, "oracle": 0.0, "xbl_d": 30.0, "hint": 10.0, "rrr_g": 100.0, "rrr": 1.0,
          "xbl_d_gated": 5.0, "rbr": 2.0, "xbl_d_released": 0.1}  # fmt: skip
BY_CHOSEN = {
    name: getattr(plans, name)(SETTINGS, CHOSEN)
    for name in ("interaction", "feedback", "switch_on", "decoys")
}
ALL = BY_CHOSEN | {"sweep": plans.sweep(SETTINGS), "layers": plans.layers(SETTINGS, CHOSEN)}
CONDITION = ("switch_on", "decoy_size", "predictive", "decoys")  # of the data, or the epochs


def runs_by_method(specs):
    return Counter(spec.method for spec in specs)


def condition(spec):
    return tuple(getattr(spec, name) for name in CONDITION)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", ALL)
def test_no_run_is_planned_twice(name):
    assert len(set(ALL[name])) == len(ALL[name]) > 0
    assert {spec.task for spec in ALL[name]} == {TASK}


@pytest.mark.parametrize("name", [*BY_CHOSEN, "sweep"])
def test_floor_and_ceiling_are_there_under_every_condition_and_seed(name):
    """Else a recovery could not be told."""
    specs = ALL[name]
    wanted = {(condition(spec), spec.seed) for spec in specs}
    for bound in ("erm", "oracle"):
        own = [spec for spec in specs if spec.method == bound]
        assert Counter((condition(spec), spec.seed) for spec in own) == Counter(wanted)
        assert {spec.weight for spec in own} == {0.0}


@pytest.mark.parametrize("name", [*BY_CHOSEN, "sweep"])
def test_every_run_is_there_for_every_seed(name):
    seeds = {}
    for spec in ALL[name]:
        seeds.setdefault(dataclasses.replace(spec, seed=0), []).append(spec.seed)
    assert all(found == [7, 8] for found in seeds.values())


@pytest.mark.parametrize("name", BY_CHOSEN)
def test_the_methods_come_with_their_chosen_weights_and_start_as_ever(name):
    specs = BY_CHOSEN[name]
    assert {(spec.method, spec.weight) for spec in specs} == {(m, CHOSEN[m]) for m in EVERYWHERE}
    plain = [Spec(TASK, method, CHOSEN[method], s) for method in EVERYWHERE for s in (7, 8)]
    assert specs[: len(plain)] == plain
    with pytest.raises(ValueError, match="weights must have hint, got erm, oracle; run the exper"):
        few = dataclasses.replace(SETTINGS, methods=["erm", "oracle", "hint"], sweep_only=[])
        getattr(plans, name)(few, {"erm": 0.0, "oracle": 0.0})


# ---------------------------------------------------------------- each of them


def test_the_sweep_has_every_method_with_every_weight():
    assert len(ALL["sweep"]) == 2 * (1 + 1 + 3 + 2 + 2 + 1 + 1 + 2 + 1)
    assert [spec.weight for spec in ALL["sweep"] if spec.method == "xbl_d"] == [
        3.0, 3.0, 30.0, 30.0, 300.0, 300.0,
    ]  # fmt: skip
    plain = Spec(TASK, "erm", 0.0, 0)
    for spec in ALL["sweep"]:
        own = {"method": spec.method, "weight": spec.weight, "seed": spec.seed}
        assert spec == dataclasses.replace(plain, **own), "nothing else differs"


def test_few_are_marked_where_marks_are_needed():
    specs = BY_CHOSEN["interaction"]
    assert len(specs) == 2 * (7 + 3 * 5)
    assert runs_by_method(specs) == dict.fromkeys(EVERYWHERE, 8) | {"erm": 2, "oracle": 2}
    counts = {spec.annotated for spec in specs if spec.method == "rrr"}
    assert counts == {None, 4, 16, 64}


def test_feedback_of_every_kind_but_boxes_around_squares():
    specs = BY_CHOSEN["feedback"]
    assert len(specs) == 2 * (7 + 5 + 3)
    boxed = {spec.method for spec in specs if spec.feedback == "boxes"}
    assert boxed == {"xbl_d", "hint", "xbl_d_gated"}, "who is told of the object"
    jittered = {spec.method for spec in specs if spec.feedback == "jittered"}
    assert jittered == boxed | {"rrr_g", "rrr"}


def test_all_wait_for_as_long():
    specs = BY_CHOSEN["switch_on"]
    assert len(specs) == 2 * 3 * 7
    assert Counter(spec.switch_on for spec in specs) == {0: 14, 3: 14, 6: 14}


def test_decoys_of_every_kind():
    specs = BY_CHOSEN["decoys"]
    assert len(specs) == 2 * (7 * (1 + 2 + 1 + 1) + 3)
    assert Counter(map(condition, specs)) == {
        (0, None, 1.0, 1): 14, (0, 2, 1.0, 1): 14, (0, 8, 1.0, 1): 14, (0, None, 0.6, 1): 14,
        (0, None, 1.0, 2): 20,
    }  # fmt: skip
    first = {spec.method for spec in specs if spec.marked == "first"}
    assert first == {"rrr_g", "rrr", "xbl_d_gated"}, "who is told of the decoy"
    assert {spec.decoys for spec in specs if spec.marked == "first"} == {2}


def test_layers_cross_one_method_with_everything_and_exchange_the_cams_of_the_others():
    specs = ALL["layers"]
    assert len(specs) == 2 * (3 * 2 * 3 + 3 * 4)
    assert {spec.seed for spec in specs} == {7}, "candidates are tried with one seed"
    crossed = [spec for spec in specs if spec.method == "xbl_d"]
    assert len({(spec.layer, spec.cam, spec.score) for spec in crossed}) == 18
    assert {spec.weight for spec in crossed} == {15.0, 60.0}
    others = [spec for spec in specs if spec.method != "xbl_d"]
    assert runs_by_method(others) == {"hint": 8, "rrr_g": 8, "xbl_d_gated": 8}
    assert {spec.layer for spec in others} == {"features"}
    for spec in others:
        assert spec.weight / CHOSEN[spec.method] in (0.5, 2.0)


def test_a_method_of_one_weight_and_its_own_cam_has_nothing_to_exchange():
    """The released arithmetic takes a CAM, but no other than its own."""
    own = dataclasses.replace(SETTINGS, sweep_only=[])
    methods = {spec.method for spec in plans.layers(own, CHOSEN)}
    assert methods == {"xbl_d", "hint", "rrr_g", "xbl_d_gated"}
    assert METHODS["xbl_d_released"].fixed_weight and "cam" in METHODS["xbl_d_released"].needs


def test_the_layers_cannot_do_without_the_method_that_is_crossed():
    without = dataclasses.replace(SETTINGS, sweep_only=[*SETTINGS.sweep_only, "xbl_d"])
    with pytest.raises(ValueError, match=r"settings.yaml must include xbl_d, .* got erm, .*hint"):
        plans.layers(without, CHOSEN)


# ---------------------------------------------------------------- what the rule chooses


def tried(best):
    """Rows of the runs of ``layers``, the best on ``val_swapped`` being as ``best`` says.

    By accuracy on every other split the other weight would win.
    """
    rows = []
    for spec in ALL["layers"]:
        wins = spec.weight == best(spec)
        told = dataclasses.asdict(spec)
        for split in ("val", "val_swapped", "test_decoy", "test_clean"):
            value = 0.8 if wins == (split == "val_swapped") else 0.3
            rows.append(told | {"split": split, "metric": "accuracy", "value": value})
        value = 0.1 if wins else 0.9
        rows.append(told | {"split": "val_swapped", "metric": "decoy_flip_rate", "value": value})
    return pd.DataFrame(rows)


def better(spec):
    """Half the chosen weight with a Grad-CAM, else twice it."""
    return CHOSEN[spec.method] * (0.5 if spec.cam == "grad_cam" else 2.0)


def test_each_combination_is_run_with_the_weight_that_does_best_on_swapped_decoys():
    specs = plans.layers_chosen(SETTINGS, tried(better))
    wanted = [spec for spec in ALL["layers"] if spec.weight == better(spec)]
    assert len(wanted) == 18 + 12
    assert specs == [dataclasses.replace(s, seed=seed) for s in wanted for seed in (7, 8)]


def test_what_was_tried_is_among_what_is_run():
    """So that nothing is trained twice: its first seed is finished."""
    specs = plans.layers_chosen(SETTINGS, tried(better))
    assert {spec for spec in specs if spec.seed == 7} < set(ALL["layers"])


def test_rows_without_the_rule_s_split():
    rows = tried(better).query("split != 'val_swapped'")
    with pytest.raises(ValueError, match="runs must have rows of accuracy on val_swapped, got non"):
        plans.layers_chosen(SETTINGS, rows)


def test_chosen_weights_are_those_that_the_sweep_wrote(tmp_path, monkeypatch):
    """To the last bit: a weight that changed on the way would be another run."""
    weights = {f"m{n}": w for n, w in enumerate((0.0, 0.1, 0.3, 1e-3, 30.0 * 0.1, 1e6, 1 / 3))}
    path = tmp_path / plans.WEIGHTS
    path.parent.mkdir(parents=True)
    pd.DataFrame({"method": weights.keys(), "weight": weights.values()}).to_csv(path, index=False)
    assert plans.chosen_weights(tmp_path) == weights
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text("{}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert plans.chosen_weights() == weights


def test_whole_numbers_are_weights_too(tmp_path):
    path = tmp_path / plans.WEIGHTS
    path.parent.mkdir(parents=True)
    path.write_text("method,weight\nerm,0\nxbl_d,30\n", encoding="utf-8")
    found = plans.chosen_weights(tmp_path)
    assert found == {"erm": 0.0, "xbl_d": 30.0} and all(type(w) is float for w in found.values())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"method,weight\n", b"\x00\x01", b"\xff\xfe", b"method\nerm\n",
        b"method,weight\nerm,\n", b"method,weight\nerm,inf\n", b"method,weight\nerm,-1\n",
        b"method,weight\nerm,many\n", b"method,weight\nerm,0\nerm,1\n", b"method,weight\n,1\n",
    ],
)  # fmt: skip
def test_weights_that_the_sweep_did_not_write(tmp_path, content):
    path = tmp_path / plans.WEIGHTS
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    message = "weights.csv must have one row a method, each with .*, got .*; run: make experiments$"
    with pytest.raises(ValueError, match=message):
        plans.chosen_weights(tmp_path)


def test_before_the_sweep_there_are_none(tmp_path):
    message = "weights.csv must be there, got no such file; run .*sweep.*, or all by: make exper"
    with pytest.raises(FileNotFoundError, match=message):
        plans.chosen_weights(tmp_path)


@pytest.mark.parametrize(
    ("method", "needed"),
    [("erm", False), ("oracle", False), ("xbl_d", True), ("rrr", True), ("ce_augment", True),
     ("cdep", True), ("xbl_d_gated", True)],
)  # fmt: skip
def test_who_needs_marks(method, needed):
    assert plans.needs_marks(Spec(TASK, method, 0.0, 0)) is needed


# ---------------------------------------------------------------- what README tells of them


def test_the_readme_tells_how_many_runs_the_paper_profile_has_and_how_long_they_take(tmp_path):
    (tmp_path / "experiments").mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params | {"profile": "paper"}))
    (tmp_path / FILE).write_bytes((ROOT / FILE).read_bytes())
    settings, weights = load(tmp_path), plans.chosen_weights(ROOT)
    specs = {
        *(spec for name in BY_CHOSEN for spec in getattr(plans, name)(settings, weights)),
        *plans.sweep(settings),
        *(tried := plans.layers(settings, weights)),
    }
    # Of each combination one candidate is chosen, whichever, and run with all seeds.
    chosen = {(spec.method, spec.layer, spec.cam, spec.score): spec for spec in tried}.values()
    specs |= {dataclasses.replace(one, seed=seed) for one in chosen for seed in settings.seeds}

    own = settings.task_config(tmp_path)
    steps = pd.read_csv(ROOT / "benchmarks" / "training_step.csv")
    seconds = steps[steps["network"] == own.model].set_index("method")["ms_per_step"] / 1000
    updates = own.epochs * math.ceil(own.n_train / own.batch_size)
    hours = sum(seconds[spec.method] * updates for spec in specs) / 3600
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.search(
        rf"That is ([\d,]+) runs of {own.n_train:,} images and {own.epochs} epochs: .* some (\d+) "
        r"hours of training",
        readme,
    )
    assert told and told[1] == f"{len(specs):,}" and abs(int(told[2]) - hours) <= 5
