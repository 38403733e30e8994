"""params.yaml: the committed one loads, and what is wrong in an edited one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from xblcore import config
from xblcore.methods import METHODS
from xblcore.models import MODELS

COMMITTED = Path(__file__).parents[1] / "params.yaml"
TASK = "decoy_fashion_mnist"


def edited(folder: Path, *path_and_value: object) -> Path:
    """A project whose params.yaml differs in one value from the committed, in profile laptop."""
    values = yaml.safe_load(COMMITTED.read_text(encoding="utf-8")) | {"profile": "laptop"}
    *path, last, value = path_and_value
    inner = values
    for key in path:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_the_committed_settings_are_good_in_every_profile(profile, tmp_path):
    study = config.load(edited(tmp_path, "profile", profile))
    assert set(study.methods) <= set(METHODS)
    assert set(study.profiles) == {"smoke", "laptop", "paper"}
    for name in study.tasks:
        settings = study.task(name)
        assert (settings.task, settings.profile) == (name, profile)
        assert settings.model in MODELS
        for method in study.methods:
            weights = settings.weights_of(method)
            if METHODS[method].penalty is None:
                assert weights == [0]
            if METHODS[method].fixed_weight:
                assert weights == [METHODS[method].default_weight]


def test_the_laptop_profile_is_the_default_and_has_five_seeds():
    study = config.load(COMMITTED.parent)
    assert study.profile == "laptop"
    assert len(study.task(TASK).seeds) == 5


def test_whole_numbers_pass_for_floats_and_become_some(tmp_path):
    """Else a table would say 3 in one profile and 3.0 in another."""
    root = edited(tmp_path, "setup", TASK, "weights", "xbl_d", [3, 10])
    settings = config.load(root).task(TASK)
    assert [repr(weight) for weight in settings.weights["xbl_d"]] == ["3.0", "10.0"]
    assert isinstance(settings.ramp_epochs, float) and isinstance(settings.epochs, int)


LAPTOP = ("setup", TASK, "profiles", "laptop")
COMMON = ("profiles", "laptop")
SETUP = ("setup", TASK)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            ("profil", "smoke"),
            "params.yaml must not have the key 'profil'; did you mean 'profile'?",
        ),
        (("methods", None), "params.yaml must have the key 'methods', got none"),
        (("methods", "erm"), "params.yaml: methods must be of type list[str], got 'erm'"),
        (("methods", ["erm", 3]), "params.yaml: methods must be of type str, got 3"),
        (("profile", "lptop"), "profile must be one of smoke, laptop, paper, got 'lptop'"),
        (("device", "gpu"), "device must be auto, cpu or cuda, got 'gpu'"),
        (
            (*LAPTOP, "epoch", 3),
            f"params.yaml for {TASK} must not have the key 'epoch'; did you mean 'epochs'?",
        ),
        ((*LAPTOP, "zzz", 3), f"params.yaml for {TASK} must not have the key 'zzz'"),
        ((*LAPTOP, "epochs", None), f"params.yaml for {TASK} must have the key 'epochs', got none"),
        ((*LAPTOP, "epochs", 2.5), f"params.yaml for {TASK}: epochs must be of type int, got 2.5"),
        ((*LAPTOP, "epochs", True), "epochs must be of type int, got True"),
        ((*LAPTOP, "epochs", 0), f"epochs of {TASK} must be above 0, got 0"),
        ((*LAPTOP, "learning_rate", "1e-3"), "learning_rate must be of type float, got '1e-3'"),
        ((*LAPTOP, "learning_rate", -0.1), f"learning_rate of {TASK} must be above 0, got -0.1"),
        (
            (*LAPTOP, "learning_rate", float("nan")),
            "learning_rate must be a finite number, got nan",
        ),
        ((*LAPTOP, "ramp_epochs", -1), f"ramp_epochs of {TASK} must be at least 0, got -1.0"),
        ((*COMMON, "threads", 0), f"threads of {TASK} must be above 0, got 0"),
        ((*COMMON, "seeds", [0, 0]), "seeds must be distinct and at least one, got [0, 0]"),
        ((*COMMON, "seeds", []), "seeds must be distinct and at least one, got []"),
        ((*LAPTOP, "sweep_seeds", [7]), "sweep_seeds must be some of seeds, each once, got [7]"),
        ((*LAPTOP, "sweep_seeds", []), "sweep_seeds must be some of seeds, each once, got []"),
        (
            (*LAPTOP, "sweep_seeds", [0, 0]),
            "sweep_seeds must be some of seeds, each once, got [0, 0]",
        ),
        ((*COMMON, None), "profile must be one of smoke, paper, got 'laptop'"),
        ((*LAPTOP, None), f"params.yaml must have setup.{TASK}.profiles.laptop, got none"),
        ((*SETUP, "profiles", None), f"params.yaml must have setup.{TASK}.profiles.laptop, got"),
        (
            (*SETUP, "weights", "xbl_d", []),
            "weights of xbl_d must be one or more, distinct and each at least 0, got []",
        ),
        (
            (*SETUP, "weights", "rrr", [-1]),
            "weights of rrr must be one or more, distinct and each at least 0, got [-1.0]",
        ),
        ((*SETUP, "weights", "rrr", [3, 3.0]), "distinct and each at least 0, got [3.0, 3.0]"),
        (("tasks", []), "tasks must be one or more, each once, got []"),
        (("tasks", [TASK, TASK]), f"tasks must be one or more, each once, got ['{TASK}', "),
        (("methods", ["erm", "erm"]), "methods must be one or more, each once, got ['erm', 'erm']"),
        ((*SETUP, "weights", "rrr", 3), "weights.rrr must be of type list[float], got 3"),
    ],
)
def test_what_is_wrong_is_named(edit, message, tmp_path):
    root = edited(tmp_path, *edit)
    with pytest.raises(ValueError) as error:
        config.load(root).task(TASK)
    assert message in str(error.value)


def test_unknown_tasks_and_methods_without_weights():
    study = config.load(COMMITTED.parent)
    with pytest.raises(ValueError, match=f"task must be one of {TASK}.*, got 'mnist'; the grid is"):
        study.task("mnist")
    message = "must have weights of 'xbld', got those of erm, .*; give its own under setup.decoy_"
    with pytest.raises(ValueError, match=message):
        study.task(TASK).weights_of("xbld")


@pytest.mark.parametrize("value", ["1e3", "1.5e-3", "30"])
def test_a_number_that_yaml_takes_for_text_is_told_how_to_be_written(value, tmp_path):
    root = edited(tmp_path, *SETUP, "weights", "rrr", [value])
    with pytest.raises(ValueError, match=rf"got '{value}'; YAML takes .* write {float(value)!r}$"):
        config.load(root).task(TASK)


def test_a_task_of_the_grid_without_its_setup_is_named(tmp_path):
    root = edited(tmp_path, "tasks", [TASK, "decoy_cocoo"])
    with pytest.raises(ValueError, match="got 'decoy_cocoo'; did you mean 'decoy_coco'"):
        config.load(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile: [", "params.yaml must be valid YAML, got: while parsing"),
        ("- laptop", "params.yaml must be a mapping, got list"),
        ("", "params.yaml must be a mapping, got NoneType"),
    ],
)
def test_a_file_that_is_no_mapping(text, message, tmp_path):
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        config.load(tmp_path)
