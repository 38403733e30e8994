"""A results folder that cannot be written to: named at once, and no number changes."""

from __future__ import annotations

from pathlib import Path

import toy

READ_ONLY = "mount --bind results results; mount -o remount,ro,bind results\n"


def test_a_stage_s_command_names_the_folder(tmp_path: Path) -> None:
    folder = toy.project(tmp_path / "project")
    (folder / "results").mkdir()
    out = toy.with_mounts(
        folder,
        READ_ONLY + '"$PYTHON" -m xblcore.pipeline.digest .dvc results/a 2>&1 && exit 1 || exit 0',
    )
    assert out.startswith("not permitted: [Errno 30] Read-only file system: ")
    assert "'results/.a." in out
    assert out.splitlines()[1:] == ["get the permission, and run it again"]


def test_dvc_names_the_file_and_the_old_numbers_stay(tmp_path: Path) -> None:
    stages = toy.ONE_STAGE.replace("outs: [out]", "outs: [results/metrics.csv]")
    folder = toy.project(tmp_path / "project", stages)
    metrics = folder / "results" / "metrics.csv"
    metrics.parent.mkdir()
    metrics.write_text("task,value\n")
    out = toy.with_mounts(
        folder, READ_ONLY + '"$PYTHON" -m dvc repro 2>&1 && exit 1; "$PYTHON" -m dvc status -q ||'
        " echo not done",
    )  # fmt: skip
    assert f"[Errno 30] Read-only file system: '{metrics}'" in out and "Traceback" not in out
    assert out.rstrip().endswith("not done")
    assert metrics.read_text() == "task,value\n" and toy.ran(folder) == 0
