"""What comes from outside, damaged in many ways: a value or an error of ours, never anything else.

The fuzzers beside run the same checks on millions of inputs; what they found is kept here.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import guard
import pytest
import readers
import seeds
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
bounded = settings(max_examples=50, deadline=None, derandomize=True, database=None)
FORMS = [
    pytest.param(reader, number, id=form.__name__)
    for reader, forms in readers.READERS.items()
    for number, form in enumerate(forms)
]


def inputs(reader: str, number: int) -> list[bytes]:
    return [content for content in seeds.valid(reader) if content[0] == number]


@pytest.mark.parametrize(("reader", "number"), FORMS)
def test_the_valid_inputs_are_read(reader, number):
    for content in inputs(reader, number):
        refusals = readers.read(reader, content)
        assert len(refusals) == (reader == "idx"), "IDX is asked for one and three sides"


@pytest.mark.parametrize(
    "content", [pytest.param(c, id=f"{i}") for i, c in enumerate(seeds.refused("masks"))]
)
def test_what_a_form_does_not_take_is_refused(content):
    (refusal,) = readers.read("masks", content)
    assert "one channel and one frame" in refusal


# --- any bytes ---------------------------------------------------------------------------------

EXTREMES = [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\x80\0\0\0", b"\xff" * 8, b"9" * 8]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "drop", "double", "extreme"]),
        st.floats(0, 1, exclude_max=True),  # where, as a share of the length
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=5,
)


def damaged(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Some bytes changed, behind the one that chooses the form."""
    for kind, where, value in changes:
        at = 1 + int(where * (len(content) - 1))
        before, after = content[:at], content[at:]
        if kind == "flip" and after:
            content = before + bytes([after[0] ^ value]) + after[1:]
        elif kind == "cut":
            content = before
        elif kind == "drop":
            content = before + after[value:]
        elif kind == "double":
            content = before + after[:value] + after
        else:
            extreme = EXTREMES[value % len(EXTREMES)]
            content = before + extreme + after[len(extreme) :]
    return content


@pytest.mark.parametrize(("reader", "number"), FORMS)
@bounded
@given(st.data())
def test_damaged_bytes_are_a_value_or_an_error_of_ours(reader, number, data):
    content = data.draw(st.sampled_from(inputs(reader, number)))
    readers.read(reader, damaged(content, data.draw(CHANGES)))


# --- any value in any place of a document --------------------------------------------------------

VALUES: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**30, -0.0, 1e308, float("inf"), float("nan"), "",
    "a" * 5000,
    "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", [], [[]], [[[]]] * 50, {},
    {"a": {}}, {"": 0},
]  # fmt: skip
DOCUMENTS = {
    ("coco", 0): json, ("masks", 1): json, ("masks", 2): json, ("params", 0): yaml,
    ("params", 1): yaml,
}  # fmt: skip


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """The way to each value inside of a document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else []
    )
    return [way for key, below in inner for way in [(*path, key), *places(below, *path, key)]]


def parsed(reader: str, number: int) -> Any:
    text = inputs(reader, number)[0][1:].decode()
    if readers.READERS[reader][number] is readers.masks_journal:
        return [json.loads(line) for line in text.splitlines()]
    return yaml.safe_load(text) if DOCUMENTS[reader, number] is yaml else json.loads(text)


def written(reader: str, number: int, document: Any) -> bytes:
    if readers.READERS[reader][number] is readers.masks_journal:
        text = "".join(json.dumps(line) + "\n" for line in document)
    elif DOCUMENTS[reader, number] is yaml:
        text = yaml.safe_dump(document, allow_unicode=False)
    else:
        text = json.dumps(document)
    return bytes([number]) + text.encode()


@pytest.mark.parametrize(
    ("reader", "number"), [p for p in FORMS if p.values in DOCUMENTS]
)  # the ids are those of the forms
@bounded
@given(st.data())
def test_any_value_in_any_place_is_read_or_an_error_of_ours(reader, number, data):
    document = copy.deepcopy(parsed(reader, number))
    *path, last = data.draw(st.sampled_from(places(document)))
    inner = document
    for key in path:
        inner = inner[key]
    change = data.draw(st.sampled_from(["value", "key", "gone"]))
    if change == "value" or isinstance(inner, list):
        inner[last] = data.draw(st.sampled_from(VALUES))
    elif change == "key":
        inner[data.draw(st.sampled_from(["", "../..", "x" * 5000, "3"]))] = inner.pop(last)
    else:
        del inner[last]
    readers.read(reader, written(reader, number, document))


# --- what the fuzzers found ----------------------------------------------------------------------

FOUND = sorted((HERE / "found").iterdir())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_found_stays_mended(path):
    """Named ``<reader>-<what it was>``."""
    assert readers.read(path.name.split("-")[0], path.read_bytes()), "an error of ours, each"


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="the fuzzers need atheris: pip install --group fuzz",
)
@pytest.mark.parametrize("reader", readers.READERS)
def test_each_fuzzer_runs(reader, tmp_path):
    environment = os.environ | {"XBL_FUZZ": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(HERE / f"fuzz_{reader}.py"), "-runs=300", "-seed=1"],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 300 runs" in done.stderr


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: (folder / ".." / "secret").read_bytes(),
        lambda folder: (folder / "link").read_bytes(),
        lambda folder: (folder.parent / "new").write_bytes(b""),
        lambda folder: (folder / "mine").rename(folder.parent / "moved"),
        lambda folder: os.listdir("/"),
        lambda folder: os.system("true"),
        lambda folder: pickle.loads(b"cposix\ngetpid\n."),
    ],
    ids=["above", "link", "new", "moved", "listed", "command", "unpickled"],
)
def test_the_guard_sees_what_leaves_the_folder_or_starts_something(act, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").touch()
    (folder / "link").symlink_to(tmp_path / "secret")
    with guard.watched(folder):
        (folder / "mine").write_bytes(b"")
    with pytest.raises(AssertionError, match="a reader must stay in"), guard.watched(folder):
        act(folder)
