"""Runs in other processes: the local workers, a killed study, and a Dask cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.study.test_runs import TASK, assert_same, trained  # noqa: F401 (a fixture)
from xblcore.study import runs
from xblcore.study.config import Config, TaskSettings
from xblcore.study.runs import Result, Run

WANTED = [Run(TASK, "erm", 0.0, seed) for seed in range(6)]
STUDY = f"""
from xblcore.study import runs
runs.results([runs.Run({TASK!r}, "erm", 0.0, seed) for seed in range(6)], progress=False)
"""
PATIENCE = 300  # seconds; workers import PyTorch first


def finished() -> list[Path]:
    return [path for path in Path("build/runs").glob("*/*.pt") if not path.name.startswith(".")]


def test_killed_study_loses_at_most_the_runs_in_training(
    tiny: Config,
    trained: list[str],  # noqa: F811
) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(runs.__file__).parents[2])}
    study = subprocess.Popen(
        [sys.executable, "-c", STUDY], env=environment, start_new_session=True
    )  # fmt: skip
    try:
        until = time.monotonic() + PATIENCE
        while not finished() and study.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        os.killpg(study.pid, signal.SIGKILL)  # with its workers
        study.wait()
    kept = len(finished())
    assert 1 <= kept <= len(WANTED)
    again = runs.results(WANTED, progress=False)  # a corrupt file would give a warning
    assert len(trained) == len(WANTED) - kept
    # A worker's numbers are those of this process.
    for result in again[:2]:
        assert_same(result, runs.run(result.run, settings=tiny.task(TASK)))


def test_dask_cluster_loses_a_worker_and_no_run(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    keep, kept = runs._keep, list[Run]()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", local_directory=tmp_path / "dask"
    ) as cluster:
        pids = [nanny.pid for nanny in cluster.workers.values()]

        def keep_and_kill(result: Result, settings: TaskSettings) -> None:
            keep(result, settings)
            kept.append(result.run)
            if len(kept) == 1:
                os.kill(pids[0], signal.SIGKILL)

        monkeypatch.setattr(runs, "_keep", keep_and_kill)
        monkeypatch.setenv(runs.SCHEDULER, cluster.scheduler_address)
        found = runs.results(WANTED, progress=False)
    assert [result.run for result in found] == WANTED
    assert sorted(run.seed for run in kept) == list(range(6))
    assert_same(found[0], runs.run(WANTED[0], settings=tiny.task(TASK)))
