"""A project's results against those expected, with numbers that are set by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xblcore import config, expected, reported, results, verify
from xblcore.expected import Number
from xblcore.pipeline import expected as renewing
from xblcore.pipeline import verify as command

TASK = "decoy_coco"
# Clean accuracy of three seeds; recovery of rrr is 0.5, 0.75, 1, so 0.75 with s = 0.25.
CLEAN = {"erm": [0.4, 0.4, 0.4], "oracle": [0.8, 0.8, 0.8], "rrr": [0.6, 0.7, 0.8]}
NUMBERS = 5 + 2 * 4  # ERM and oracle have no recovery to compare


def write_project(root: Path, *, data: str = "original", profile: str = "laptop") -> Path:
    """A project of one task whose results are in git, and no runs."""
    sizes = {"n_train": 8, "n_val": 8, "n_test": 100, "explained_images": 50, "epochs": 1,
             "ramp_epochs": 0, "batch_size": 4, "learning_rate": 0.1, "threads": 1}  # fmt: skip
    setup = {"data": "auto", "data_seed": 0, "decoy": {}, "model": "small_cnn",
             "weights": {method: [0] for method in CLEAN},
             "profiles": dict.fromkeys(("laptop", "paper"), sizes)}  # fmt: skip
    params = {
        "profile": profile,
        "device": "cpu",
        "tasks": [TASK],
        "methods": list(CLEAN),
        "setup": {TASK: setup},
        "profiles": {
            name: {"seeds": [0, 1, 2], "sweep_seeds": [0], "held_out_images": 1}
            for name in ("laptop", "paper")
        },
    }
    (root / "results" / "paper").mkdir(parents=True)
    (root / "params.yaml").write_text(json.dumps(params))
    (root / "dvc.yaml").write_text("stages: {}\n")
    rows = []
    for method, accuracies in CLEAN.items():
        for seed, accuracy in enumerate(accuracies):
            head = (TASK, data, method, seed)
            rows += [
                (*head, "test_clean", "none", "accuracy", accuracy),
                (*head, "test_decoy", "none", "accuracy", 0.5),
                (*head, "test_decoy", "none", "decoy_flip_rate", 0.1),
                (*head, "test_decoy", "grad_cam", "distance_focus", 0.9),
                (*head, "test_decoy", "hires_cam", "distance_focus", 0.1),
            ]
    table = pd.DataFrame(rows, columns=results.STRICT)
    results.write_csv(table, root / "results" / "metrics.csv")
    weights = pd.DataFrame({"task": TASK, "data": data, "method": list(CLEAN), "weight": 3.0})
    results.write_csv(weights, root / "results" / "paper" / "summary.csv")
    claims = [{"id": "C1", "verdict": "supported"}, {"id": "C2", "verdict": "undecided"}]
    (root / "results" / "paper" / "claims.json").write_text(json.dumps(claims))
    return root


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Current folder: a project whose results are those expected."""
    write_project(tmp_path)
    for method in config.load(tmp_path).methods:
        runs = results.folder(TASK, method, root=tmp_path) / "runs.csv"
        runs.parent.mkdir(parents=True)
        runs.touch()
    monkeypatch.chdir(tmp_path)
    expected.renew("laptop", reported.own())
    return tmp_path


def change_metrics(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    path = root / "results" / "metrics.csv"
    table = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
    changed = change(table)
    results.write_csv(table if changed is None else changed, path)


def set_value(root: Path, method: str, metric: str, value: float, split: str = "") -> None:
    def change(table: pd.DataFrame) -> None:
        match = (table["method"] == method) & (table["metric"] == metric)
        match &= table["explainer"].isin(["none", "grad_cam"])
        table.loc[match & table["split"].str.startswith(split), "value"] = value

    change_metrics(root, change)


def change_params(root: Path, **values: object) -> None:
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def change_expected(root: Path, change: Callable[[dict], object]) -> None:
    path = root / expected.FILE
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def block(values: dict) -> dict:
    return values["profiles"]["laptop"]["tasks"][TASK]


def test_means_and_tolerances_are_those_worked_out_by_hand(project):
    numbers = expected.read("laptop").tasks[TASK].methods["rrr"].numbers
    # Two degrees of freedom, alarm 0.01 / 13: t = (1 - alarm) / sqrt(2 a (1 - a)), a = alarm / 2
    half = 0.01 / NUMBERS / 2
    scale = (1 - 2 * half) / math.sqrt(2 * half * (1 - half)) * math.sqrt(2 / 3)  # 29.4
    assert numbers["recovery"].mean == pytest.approx(0.75)
    assert numbers["recovery"].tolerance == pytest.approx(0.25 * scale, rel=1e-3)  # no bound
    assert numbers["accuracy_clean"] == Number(0.7, 1.0)  # 0.1 * scale, the range at most
    assert numbers["accuracy_decoy"].tolerance == pytest.approx(scale / 100, rel=1e-3)
    assert numbers["distance_focus"].mean == pytest.approx(0.9)  # by Grad-CAM
    assert numbers["distance_focus"].tolerance == pytest.approx(scale / 50, rel=1e-3)
    assert "recovery" not in expected.read("laptop").tasks[TASK].methods["oracle"].numbers


@pytest.mark.parametrize(
    ("mean", "tolerance", "yours", "mark"),
    [
        (0.3, 0.1, 0.4, "✓"),  # 0.10000000000000003 apart: at the edge
        (0.3, 0.1, 0.2, "✓"),
        (0.3, 0.1, 0.401, "✗"),
        (0.3, 0.1, 0.199, "✗"),
        (math.nan, math.nan, math.nan, "✓"),
        (math.nan, math.nan, 0.3, "✗"),
        (0.3, 0.1, math.nan, "✗"),
        (0.3, math.nan, 0.3, "✓"),
        (0.3, math.nan, 0.31, "–"),
    ],
)
def test_a_number_agrees_up_to_the_edge_of_its_tolerance(mean, tolerance, yours, mark):
    assert verify.agreement(Number(mean, tolerance), yours) == mark


@pytest.mark.parametrize(
    ("mean", "yours", "mark"),
    [(math.nan, 0.3, "–"), (0.3, math.nan, "–"), (math.nan, math.nan, "✓"), (0.3, 0.5, "✗")],
)
def test_a_ratio_may_be_undefined_on_one_side(mean, yours, mark):
    assert verify.agreement(Number(mean, 0.1), yours, ratio=True) == mark


def test_recovery_is_such_a_ratio(project, capsys):
    set_value(project, "oracle", "accuracy", 0.4, split="test_clean")  # level with ERM
    command.main([])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "recovery" in line]
    assert line.endswith("undefined  –")


def test_the_same_results_agree_bit_for_bit(project, capsys):
    assert command.main([]) == 0
    output = capsys.readouterr().out
    assert f"{TASK}: identical bit for bit" in output
    assert f"Profile laptop: {NUMBERS} of {NUMBERS} numbers agree." in output
    assert "at most 1% of readers" in output


def test_what_came_with_the_project_is_not_taken_for_the_readers(project, capsys):
    (results.folder(TASK, "rrr", root=project) / "runs.csv").unlink()
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert f"1 trainings, first rrr on {TASK}, were not run here" in error
    assert "run: make reproduce" in error


def test_numbers_that_could_hardly_disagree_are_counted(project, capsys):
    def set_all(values, tolerance):
        for method in block(values)["methods"].values():
            for number in method["numbers"].values():
                number["tolerance"] = tolerance

    change_expected(project, lambda values: set_all(values, 0.499))
    assert command.main([]) == 0
    assert "may differ by" not in capsys.readouterr().out
    change_expected(project, lambda values: set_all(values, 0.5))
    assert command.main([]) == 0
    told = f"numbers agree. {NUMBERS} of them may differ by 0.5 or more"
    assert told in capsys.readouterr().out


def test_a_small_change_agrees_though_not_bit_for_bit(project, capsys):
    set_value(project, "rrr", "decoy_flip_rate", 0.11)
    assert command.main([]) == 0
    output = capsys.readouterr().out
    assert "agrees within tolerance (2 of 3 methods identical bit for bit)" in output
    assert f"{NUMBERS} of {NUMBERS}" in output


def test_a_number_that_is_off_is_named_again_at_the_end(project, capsys):
    set_value(project, "rrr", "decoy_flip_rate", 0.5)
    assert command.main([]) == 1
    output = capsys.readouterr().out
    again = output.split("These disagree:\n")[1].splitlines()
    assert again[1].split() == [TASK, "rrr", "decoy_flip_rate", "0.1000", "±0.2942", "0.5000", "✗"]
    assert again[2] == ""
    assert f"{NUMBERS - 1} of {NUMBERS} numbers agree" in output
    assert f"{TASK}: disagrees in 1 of its numbers (2 of 3 methods identical" in output


def test_undefined_agrees_with_undefined(project, capsys):
    set_value(project, "erm", "distance_focus", math.nan)
    assert command.main([]) == 1
    expected.renew("laptop", reported.own())
    numbers = json.loads((project / expected.FILE).read_text())
    lost = block(numbers)["methods"]["erm"]["numbers"]["distance_focus"]
    assert lost == {"mean": None, "tolerance": None}
    capsys.readouterr()
    assert command.main([]) == 0
    output = capsys.readouterr().out
    (line,) = [line.split() for line in output.splitlines() if "undefined" in line]
    assert line[2:] == ["distance_focus", "undefined", "unknown", "undefined", "✓"]
    assert f"{NUMBERS} of {NUMBERS} numbers agree" in output


def test_another_weight_or_verdict_is_told_and_is_no_failure(project, capsys):
    path = project / "results" / "paper" / "summary.csv"
    path.write_text(path.read_text().replace("rrr,3", "rrr,30"))
    claims = project / "results" / "paper" / "claims.json"
    claims.write_text(claims.read_text().replace("undecided", "supported"))
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line.split() for line in lines if line.endswith("≠")]
    assert told == [
        [TASK, "rrr", "weight", "3", "30", "≠"],
        ["claims", "C2", "verdict", "undecided", "supported", "≠"],
    ]
    assert any(line.startswith("Another weight or verdict alone is no failure") for line in lines)


def test_the_numbers_of_another_weight_are_told_and_not_compared(project, capsys):
    """They are of other networks: the spread over seeds says nothing of how far apart those lie."""
    path = project / "results" / "paper" / "summary.csv"
    path.write_text(path.read_text().replace("rrr,3", "rrr,30"))
    set_value(project, "rrr", "decoy_flip_rate", 0.5)
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    (off,) = [line.split() for line in lines if "rrr" in line and "decoy_flip_rate" in line]
    assert off[3:] == ["0.1000", "±0.2942", "0.5000", "–"]
    assert f"{TASK}: rrr: not compared, for the weight 30 was chosen, not 3" in lines
    own = sum(line.split()[:2] == [TASK, "rrr"] for line in lines) - 1  # but the weight
    told = f"Profile laptop: {NUMBERS - own} of {NUMBERS - own} numbers agree."
    assert any(line.startswith(told) for line in lines)


def test_methods_on_one_side_only_are_named_and_not_counted(project, capsys):
    change_params(project, methods=["erm", "rrr"])
    change_expected(project, lambda values: block(values)["methods"].pop("erm"))
    assert command.main([]) == 0
    output = capsys.readouterr().out
    assert f"{TASK}: oracle: not in your grid" in output
    assert f"{TASK}: erm: nothing expected" in output
    assert "verdicts: not compared" in output
    assert "5 of 5 numbers agree" in output


def test_a_recovery_without_its_ends_is_not_judged(project, capsys):
    change_metrics(project, lambda table: table[table["method"] == "rrr"])
    change_params(project, methods=["rrr"])
    assert command.main([]) == 0
    output = capsys.readouterr().out
    assert "4 of 4 numbers agree" in output
    (line,) = [line for line in output.splitlines() if "recovery" in line]
    assert "not in your grid" in line
    assert line.endswith("–")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("data", "stand-in", "expected from stand-in data, yours from original"),
        ("seeds", [0, 1], "expected from the seeds [0, 1], yours from [0, 1, 2]"),
    ],
)
def test_other_data_or_seeds_cannot_be_compared(project, capsys, key, value, reason):
    set_value(project, "rrr", "decoy_flip_rate", 0.9)
    change_expected(project, lambda values: block(values).update({key: value}))
    assert command.main([]) == 2, "and nothing else is left to compare"
    output = capsys.readouterr().out
    assert f"{TASK}: not comparable, {reason}" in output
    assert "nothing could be compared" in output


def test_tasks_on_one_side_only_are_named(project, capsys):
    own = reported.own()
    other = expected.Block({}, own.verdicts, own.tasks | {"decoy_cifar10": own.tasks[TASK]})
    assert "decoy_cifar10: not in your grid" in verify.compare(other, own).notes
    assert "decoy_cifar10: nothing expected" in verify.compare(own, other).notes
    assert verify.compare(other, own).judged == verify.compare(own, other).judged == NUMBERS


def test_a_profile_without_a_block_has_nothing_to_compare_with(project, capsys):
    change_params(project, profile="paper")
    assert command.main([]) == 2
    assert "has no profile 'paper'; set another in params.yaml, or" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["metrics.csv", "paper/summary.csv", "paper/claims.json"])
def test_missing_results_name_the_command_that_makes_them(project, capsys, name):
    (project / "results" / name).unlink()
    assert command.main([]) == 2
    assert f"{name} is missing; run: make reproduce" in capsys.readouterr().err


def test_results_of_a_smaller_grid_name_what_is_missing(project, capsys):
    change_metrics(project, lambda table: table[table["method"] != "rrr"])
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert f"results must hold rrr on {TASK}, which params.yaml names, got none" in error
    assert "run: make reproduce" in error


def test_metrics_that_are_no_numbers_are_refused(project, capsys):
    path = project / "results" / "metrics.csv"
    path.write_text(path.read_text().replace("0.7", "many"))
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert "metrics.csv must have numbers as 'value', got text; run: make reproduce" in error


@pytest.mark.parametrize("name", ["metrics.csv", "paper/summary.csv"])
def test_an_empty_table_is_named(project, capsys, name):
    (project / "results" / name).write_text("")
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert f"results/{name} must be a table, got" in error and "run: make reproduce" in error


ROW = f"{TASK},original,rrr,0,test_clean,none,accuracy,"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ROW + "0.6\n", ROW + "0.6\nrrr\n", "must be a table, got: ValueError(\"the line 'rrr'"),
        (ROW + "0.6\n", ROW + "0.6,1\n", "must be a table, got: "),
        (ROW + "0.6\n", ROW + '"0.6"\n', "must be a table, got: "),
        (ROW + "0.6\n", ROW + '"0.6\n', "must be a table, got: "),
        ("rrr,0,", "rrr,zero,", "must have whole numbers as 'seed', got ['zero"),
        (ROW + "0.6\n", ROW + "0.6\n" + ROW + "0.6\n", "one row each task, method, seed, split, "
         f"explainer, metric, got two of {TASK}, rrr, 0, test_clean, none, accuracy; run"),
        (ROW + "0.6", ROW + "inf", "must have finite numbers as 'value', got an infinite one"),
    ],
    ids=["short", "long", "quotes", "stray quote", "seed", "twice", "infinite"],
)  # fmt: skip
def test_damaged_metrics_are_told(project, capsys, old, new, message):
    path = project / "results" / "metrics.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("results/metrics.csv must ") and message in error
    assert error.endswith("; run: make reproduce\n")


@pytest.mark.parametrize("name", ["metrics.csv", "paper/summary.csv", "paper/claims.json"])
def test_results_that_are_not_utf_8_are_told(project, capsys, name):
    path = project / "results" / name
    path.write_bytes(path.read_bytes() + b"\xff")
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert f"results/{name} must be a " in error and "got: UnicodeDecodeError" in error
    assert error.endswith("; run: make reproduce\n")


DEEP = "[" * 100_000


@pytest.mark.parametrize("text", ["[", "{}", '[{"id": "C1"}]', "[1]", DEEP])
def test_claims_that_are_none_are_refused(project, capsys, text):
    (project / "results" / "paper" / "claims.json").write_text(text)
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert "results/paper/claims.json must be a list of claims with id and verdict, got" in error
    assert "run: make reproduce" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("rule"), "expected.json must have the key 'rule', got none"),
        (lambda v: block(v).pop("seeds"), f"laptop.tasks.{TASK} must have the key 'seeds'"),
        (
            lambda v: block(v)["methods"]["rrr"].update(weight="3"),
            "methods.rrr: weight must be of type float, got '3'",
        ),
        (
            lambda v: block(v)["methods"]["rrr"]["numbers"]["recovery"].pop("mean"),
            "rrr.numbers.recovery must have the key 'mean', got none",
        ),
        (
            lambda v: block(v)["methods"]["rrr"]["numbers"]["recovery"].update(tolerance=-1),
            "rrr.numbers.recovery: tolerance must be at least 0 or null, got -1",
        ),
        (
            lambda v: block(v)["methods"].update(rrr=[]),
            "methods.rrr must be a mapping, got []",
        ),
        (
            lambda v: v["profiles"].update(laptop=0),
            "profiles.laptop must be a mapping, got 0",
        ),
        (
            lambda v: block(v).update(metods={}),
            "must not have the key 'metods'; did you mean 'methods'?",
        ),
    ],
)
def test_a_broken_file_names_the_key_and_what_to_do(project, capsys, change, message):
    change_expected(project, change)
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "git checkout results/expected.json" in error


@pytest.mark.parametrize("content", [b"{", b"\xff", DEEP.encode()])
def test_a_file_that_is_no_json(project, capsys, content):
    (project / expected.FILE).write_bytes(content)
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert "expected.json must be valid JSON, got: " in error and "git checkout" in error


def test_a_file_that_is_not_there(project, capsys):
    (project / expected.FILE).unlink()
    assert command.main([]) == 2
    assert "expected.json is missing; take it back with" in capsys.readouterr().err


def test_renewing_a_profile_leaves_the_others(project):
    before = expected.read("laptop")
    set_value(project, "rrr", "decoy_flip_rate", 0.5)
    expected.renew("paper", reported.own())
    assert expected.read("laptop") == before
    assert expected.read("paper").tasks[TASK].methods["rrr"].numbers["decoy_flip_rate"].mean == 0.5
    assert expected.read("smoke") is None


def test_nothing_is_renewed_from_what_came_with_the_project(project, capsys):
    before = (project / expected.FILE).read_bytes()
    (results.folder(TASK, "rrr", root=project) / "runs.csv").unlink()
    assert renewing.main([]) == 1
    error = capsys.readouterr().err
    assert f"must be of trainings run here, 1 were not, first rrr on {TASK}" in error
    assert (project / expected.FILE).read_bytes() == before


def test_the_environment_is_told_where_it_is_known_and_differs(project, capsys):
    made = {"torch": "2.13.0", "processor": "Another"}
    change_expected(project, lambda v: v["profiles"]["laptop"].update(environment=made))
    assert command.main([]) == 0
    assert "expected was made with torch 2.13.0, processor Another" in capsys.readouterr().out


def write_manifests(root: Path, profile: str) -> None:
    for method in CLEAN:
        folder = results.folder(TASK, method, root=root)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "config": {"profile": profile, "threads": 1},
            "data": "original",
            "device": "cpu",
            "processor": "Mine",
            "packages": {"torch": "2.13.0"},
            "seconds": {"3/0": 1.0},
            "files": {},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))


def test_runs_tell_the_environment_and_refuse_another_profile(project, capsys):
    write_manifests(project, "laptop")
    made = {"torch": "2.13.0", "device": "cpu", "processor": "Mine", "threads": "1"}
    assert reported.own().environment == made
    write_manifests(project, "paper")
    assert command.main([]) == 2
    assert "must be of profile 'laptop' as in params.yaml, got 'paper'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("data"),
        lambda manifest: manifest.pop("packages"),
        lambda manifest: manifest.update(data=["original"]),
        lambda manifest: manifest.update(files=[]),
    ],
    ids=["no data", "no packages", "data", "files"],
)
def test_a_manifest_that_is_none_is_told(project, capsys, change):
    write_manifests(project, "laptop")
    path = results.folder(TASK, "rrr", root=project) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    assert command.main([]) == 2
    error = capsys.readouterr().err
    assert f"{path} must be a manifest, got " in error and "run: make reproduce" in error


def test_the_hash_is_of_the_lines_whatever_ends_them(project):
    first = reported.own().tasks[TASK].methods
    path = project / "results" / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert reported.own().tasks[TASK].methods == first
    path.write_text(path.read_text().replace("0.7", "0.70"))  # the number is the same
    second = reported.own().tasks[TASK].methods
    assert [m for m in first if first[m].sha256 != second[m].sha256] == ["rrr"]
    assert first["rrr"].numbers == second["rrr"].numbers


def test_columns_are_aligned():
    rows = [
        verify.Row("decoy_coco", "erm", "recovery", "0.1", "±0.2", "0.3", "✓"),
        verify.Row("t", "xbl_d", "weight", "10", "", "3", "≠"),
    ]
    assert verify.table(rows).splitlines() == [
        "task        method  quantity  expected  tolerance  yours",
        "decoy_coco  erm     recovery  0.1       ±0.2       0.3    ✓",
        "t           xbl_d   weight    10                   3      ≠",
    ]
