"""One run told in full: a value, sendable and printable, that admits nothing else."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import pytest

from xblcore.experiments.spec import Spec

PLAIN = Spec("decoy_fashion_mnist", "xbl_d", 30.0, 0)
OTHER = {
    "task": "decoy_coco", "method": "rrr", "weight": 1.0, "seed": 1, "annotated": 25,
    "feedback": "boxes", "switch_on": 3, "layer": "head.0", "cam": "grad_cam", "score": "log_prob",
    "decoy_size": 2, "predictive": 0.6, "decoys": 2, "marked": "first",
}  # fmt: skip


def test_the_fields_are_the_columns_that_tables_and_stored_runs_begin_with():
    assert [field.name for field in dataclasses.fields(Spec)] == list(OTHER)


def test_left_out_it_is_the_main_grid_run():
    told = dataclasses.asdict(PLAIN)
    assert {name: told[name] for name in list(OTHER)[4:]} == {
        "annotated": None, "feedback": "correct", "switch_on": 0, "layer": None, "cam": None,
        "score": None, "decoy_size": None, "predictive": 1.0, "decoys": 1, "marked": "all",
    }  # fmt: skip


@pytest.mark.parametrize("spec", [PLAIN, Spec(**OTHER)], ids=["plain", "other"])
def test_it_comes_back_from_another_process_and_from_json(spec):
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert Spec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


@pytest.mark.parametrize("name", OTHER)
def test_every_field_tells_runs_apart(name):
    other = dataclasses.replace(PLAIN, **{name: OTHER[name]})
    assert other != PLAIN and len({PLAIN, other, dataclasses.replace(PLAIN)}) == 2


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.seed = 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("feedback", "Correct", "feedback must be one of correct, incomplete, .*, got 'Correct'"),
        ("cam", "hirescam", "cam must be one of None, grad_cam, hires_cam, got 'hirescam'"),
        ("score", "prob", "score must be one of None, logit, log_prob, projection, got 'prob'"),
        ("decoys", 3, "decoys must be one of 1, 2, got 3"),
        ("decoys", 0, "decoys must be one of 1, 2, got 0"),
        ("marked", "second", "marked must be one of all, first, got 'second'"),
        ("annotated", 0, "annotated must be at least 1 and finite, got 0"),
        ("decoy_size", 0, "decoy_size must be at least 1 and finite, got 0"),
        ("switch_on", -1, "switch_on must be at least 0 and finite, got -1"),
        ("weight", -0.1, "weight must be at least 0 and finite, got -0.1"),
        ("weight", math.nan, "weight must be at least 0 and finite, got nan"),
        ("weight", math.inf, "weight must be at least 0 and finite, got inf"),
        ("predictive", 1.1, r"predictive must be in \[0, 1\], got 1.1"),
        ("predictive", -0.1, r"predictive must be in \[0, 1\], got -0.1"),
        ("predictive", math.nan, r"predictive must be in \[0, 1\], got nan"),
    ],
)
def test_what_it_admits_not(name, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **{name: value})


@pytest.mark.parametrize("name", ["weight", "predictive"])
def test_a_whole_number_is_the_same_run_as_its_fraction(name):
    whole, fraction = (dataclasses.replace(PLAIN, **{name: value}) for value in (1, 1.0))
    assert json.dumps(dataclasses.asdict(whole)) == json.dumps(dataclasses.asdict(fraction))


@pytest.mark.parametrize(
    ("name", "value"),
    [("weight", 0), ("predictive", 0), ("annotated", 1), ("decoy_size", 1), ("switch_on", 0)],
)
def test_the_least_of_each_is_admitted(name, value):
    assert getattr(dataclasses.replace(PLAIN, **{name: value}), name) == value
