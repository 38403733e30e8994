"""A project of its own, with tiny made-up data and the settings of the profile smoke."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.data.tiny import make_raw

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {
        "profile": "smoke", "results": "results/smoke", "tasks": ["decoy_fashion_mnist"],
        "methods": ["erm", "xbl_d_plus"], "experiments": {},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (tmp_path / "dvc.yaml").touch()
    make_raw(tmp_path / "data" / "raw", n_train=300, n_test=140)
    monkeypatch.chdir(tmp_path)
    return tmp_path
