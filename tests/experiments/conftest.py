"""A tiny project with the settings of the experiments, built once and only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_task
import yaml
from toy_task import TASK

from xblcore.config import TaskConfig
from xblcore.experiments import settings

SETTINGS: dict[str, Any] = {
    "task": TASK,
    "methods": ["erm", "oracle", "xbl_d", "rrr_g", "rrr"],
    "sweep_only": ["rrr"],
    "weights": {"erm": [0], "oracle": [0], "xbl_d": [1, 3], "rrr_g": [10], "rrr": [1]},
    "annotated": [4],
    "feedback": ["jittered"],
    "decoy_sizes": [3],
    "predictive": [0.5],
    "layers": ["features"],
    "cams": ["grad_cam"],
    "scores": ["logit"],
    "layer_factors": [1],
    "profiles": {"toy": {"switch_on": [1], "seeds": [0, 1], "task_settings": {}}},
}


def write_settings(root: Path, **changed: Any) -> None:
    """The settings above; what is given here replaces or adds to them, the profile's included."""
    path = root / settings.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(SETTINGS | changed), encoding="utf-8")


def project_in(folder: Path) -> Path:
    """The tiny task built in a folder, and the settings."""
    toy_task.build(folder)
    write_settings(folder)
    return folder


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a project that no test writes to."""
    return project_in(tmp_path_factory.mktemp("project"))


@pytest.fixture
def own(root: Path) -> TaskConfig:
    """Settings of the tiny task's runs."""
    return settings.load(root).task_config(root)


@pytest.fixture
def rewritable(tmp_path: Path) -> Path:
    """Root of a project of the test's own."""
    return project_in(tmp_path)


@pytest.fixture
def rewrite():
    """:func:`write_settings`."""
    return write_settings
