"""A tiny built project, and a working folder of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
import yaml

from tests.data.tiny import make_raw
from xblcore.study import config, prepare, runs

ROOT = Path(__file__).parents[2]
SIZE = {
    "n_train": 64, "n_val": 32, "n_test": 32, "epochs": 1, "ramp_epochs": 1, "batch_size": 32,
    "learning_rate": 0.002,
}  # fmt: skip
Write = Callable[..., config.Config]


def tiny_params(**changes: Any) -> dict[str, Any]:
    """``params.yaml`` of this repository with a smoke profile that takes a second per run."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"profile": "smoke", "results": "build/smoke", "device": "cpu"}
    params["methods"] = ["erm", "oracle", "xbl_d_plus"]
    profile = params["profiles"]["smoke"]
    profile |= {"explained_images": 8, "held_out_images": 2, "threads": 1}
    profile["tasks"] = {task: dict(SIZE) for task in params["setup"]}
    return params | changes


def write_params(folder: Path, params: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a project whose three tasks are built from tiny data."""
    folder = tmp_path_factory.mktemp("built")
    write_params(folder, tiny_params())
    make_raw(folder / "data" / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.main()
        assert prepare.missing() == {}
    return folder


@pytest.fixture
def tiny(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    """Settings of a project in the current folder, with built data and nothing in its cache.

    Runs execute in this process, so that tests can replace parts of them.
    """
    write_params(tmp_path, tiny_params())
    (tmp_path / "data").symlink_to(built / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runs.SCHEDULER, raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    torch.set_num_threads(1)
    return config.load()
