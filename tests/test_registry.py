"""The registry: every entry complete, found by its file, imported when it is asked for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from xblcore import config, methods
from xblcore.methods import METHODS, Method, Registry
from xblcore.plots import style

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_is_complete(name):
    method = METHODS[name]
    assert method.name == name and name == name.lower() and " " not in name
    assert method.source
    assert method.summary.endswith(".") and "\n" not in method.summary
    assert method.ce_weight > 0
    assert (method.default_weight > 0) == (method.penalty is not None)
    assert bool(method.needs) == bool(method.penalty or method.augment)


def test_no_two_methods_look_alike():
    assert set(style.METHODS) == set(METHODS), "in plots/methods.yaml"
    labels = [look.label for look in style.METHODS.values()]
    summaries = [method.summary for method in METHODS.values()]
    assert len(set(labels)) == len(set(summaries)) == len(METHODS)


def test_the_study_of_the_first_task_is_there():
    """Issue 2; the oracle alone learns from other images."""
    names = {"erm", "oracle", "rrr", "rrr_g", "xbl_d", "xbl_d_grad_cam", "xbl_d_released"}
    assert names <= set(METHODS)
    assert [n for n, m in METHODS.items() if m.train_split == "train_clean"] == ["oracle"]


def test_an_unknown_method():
    with pytest.raises(ValueError, match="method must be one of erm, oracle, cdep, .*got 'xbld'"):
        methods.get("xbld")


def test_a_method_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["erm"].ce_weight = 2.0
    assert Method("mine", "A new one.", "me").penalty is None


def test_each_method_of_params_has_its_default_weights_among_the_candidates():
    """On the study's tasks of every method, in the grid or not, so that any can be put into it.

    A task that a reader adds needs those of the grid.
    """
    study = config.load(ROOT)
    own = {task for method in METHODS.values() for task in method.weights}
    assert own and own <= set(study.setup)
    for task in study.setup:
        candidates = study.setup[task]["weights"]
        assert set(study.methods) <= set(candidates) <= set(METHODS), task
    for task in own:
        for name, method in METHODS.items():
            assert method.weight_for(task) in study.setup[task]["weights"].get(name, []), name


def test_a_new_file_is_a_new_method(tmp_path, monkeypatch):
    """Nothing else has to be edited; what is not asked for is not imported."""
    folder = tmp_path / "own_methods"
    folder.mkdir()
    entry = "from xblcore.methods.base import Method\nMETHOD = Method({!r}, 'New.', 'me')\n"
    texts = {
        "__init__": "", "base": "", "_shared": "", "mine": entry.format("mine"),
        "erm": "raise RuntimeError('imported')", "other": entry.format("mine"), "empty": "",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("own_methods", folder)
    assert list(registry) == ["erm", "empty", "mine", "other"] and len(registry) == 4
    assert registry["mine"].summary == "New." and "erm" in registry and "base" not in registry
    with pytest.raises(KeyError, match="base"):
        registry["base"]
    with pytest.raises(ValueError, match="own_methods.other must have METHOD, a Method of the name "
                                         "'other', got 'mine'"):  # fmt: skip
        registry["other"]
    with pytest.raises(ValueError, match="own_methods.empty must have METHOD, .* got None"):
        registry["empty"]


def test_a_method_is_imported_when_it_is_first_asked_for():
    script = (
        "import sys; from xblcore.methods import METHODS, get; list(METHODS); get('rrr');"
        "print(*(m for m in METHODS if f'xblcore.methods.{m}' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["rrr"]
