"""A project of its own, with tiny made-up data and the settings of the profile smoke."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.tiny import make_raw
from tests.study.conftest import tiny_params, write_params


@pytest.fixture
def project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    params = tiny_params(
        results="results/smoke", tasks=["decoy_fashion_mnist"], methods=["erm", "xbl_d_plus"],
        experiments={},
    )  # fmt: skip
    write_params(tmp_path, params)
    make_raw(tmp_path / "data" / "raw", n_train=300, n_test=140)
    monkeypatch.chdir(tmp_path)
    return tmp_path
