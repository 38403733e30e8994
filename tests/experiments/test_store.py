"""Finished runs on disk."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from xblcore.experiments import running, store
from xblcore.experiments.spec import Spec
from xblcore.experiments.store import Finished

SPEC = Spec("decoy_fashion_mnist", "xbl_d", 3.0, 0, annotated=25)


def row_of(spec, value=0.5, **other):
    measured = {"data": "original", "split": "val", "explainer": "none", "metric": "accuracy"}
    return asdict(spec) | measured | {"value": value, "nan_share": 0.0} | other


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_a_run_lies_by_task_and_method_under_its_key(tmp_path):
    folder = tmp_path / "build" / "experiments" / "decoy_fashion_mnist" / "xbl_d"
    assert store.path(tmp_path, SPEC, "0f3a") == folder / "0f3a.json"


def test_what_was_never_run_is_none(tmp_path):
    assert store.load(tmp_path / "none.json", SPEC) is None


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, 1, 5e-324, -0.0, math.inf, -math.inf, math.nan], ids=str
)
@pytest.mark.parametrize("name", store.NUMBERS)
def test_every_number_survives_in_a_file_that_any_reader_of_json_accepts(tmp_path, name, value):
    file = tmp_path / "run.json"
    fresh = store.save(file, Finished(SPEC, [row_of(SPEC) | {name: value}], 1.25))
    json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
    kept = store.load(file, SPEC)
    assert repr(kept) == repr(fresh)  # NaN does not equal itself
    assert repr(kept.rows[0][name]) == repr(float(value))
    assert (kept.spec, kept.seconds) == (SPEC, 1.25)


def test_settings_that_are_not_given_stay_none_and_columns_keep_their_order(tmp_path):
    shuffled = dict(reversed(row_of(SPEC).items()))
    (row,) = store.save(tmp_path / "run.json", Finished(SPEC, [shuffled], 1.0)).rows
    assert tuple(row) == running.COLUMNS
    assert (row["annotated"], row["layer"], row["decoy_size"]) == (25, None, None)


DAMAGE = {
    "empty": b"",
    "cut off": b'{"spec": {"task": "deco',
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "without rows": json.dumps({"spec": asdict(SPEC), "seconds": 1.0}).encode(),
    "a field that no run has": json.dumps({"spec": {"tusk": 1}, "seconds": 1, "rows": []}).encode(),
    "a number that is none": json.dumps(
        {"spec": asdict(SPEC), "seconds": 1, "rows": [row_of(SPEC, "half")]}
    ).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, damage):
    file = tmp_path / "run.json"
    file.write_bytes(DAMAGE[damage])
    with pytest.raises(ValueError, match=r"run\.json must hold a finished run.*; delete it"):
        store.load(file, SPEC)


def test_the_file_of_another_run_is_not_taken_for_this_one(tmp_path):
    file = tmp_path / "run.json"
    store.save(file, Finished(SPEC, [row_of(SPEC)], 1.0))
    with pytest.raises(ValueError, match=r"must hold the run .*seed=1.*, got .*seed=0.*; delete"):
        store.load(file, replace(SPEC, seed=1))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (row_of(SPEC, epoch=3), "a row must have the names of COLUMNS, got a difference in epoch"),
        (row_of(replace(SPEC, seed=7)), "seed of a row must be that of its run, 0, got 7"),
    ],
    ids=["another column", "another run"],
)
def test_rows_that_do_not_belong_are_refused_and_nothing_is_written(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        store.save(tmp_path / "run.json", Finished(SPEC, [row_of(SPEC), row], 1.0))
    assert not list(tmp_path.iterdir())


def write_many(file, value):
    for _ in range(10):
        store.save(file, Finished(SPEC, [row_of(SPEC, value)] * 50, value))


def test_two_writers_of_one_run_leave_the_file_of_one_of_them(tmp_path):
    """And a reader beside them never sees half a file."""
    file = tmp_path / "run.json"
    with ThreadPoolExecutor() as threads:
        writers = [threads.submit(write_many, file, value) for value in (1.0, 2.0)]
        while not all(writer.done() for writer in writers):
            kept = store.load(file, SPEC)
            assert kept is None or {row["value"] for row in kept.rows} == {kept.seconds}
    assert [writer.exception() for writer in writers] == [None, None]
    assert store.load(file, SPEC).seconds in (1.0, 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
