"""Getting raw files: mirrors, Debian's folder and npm, without a network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from xblcore import data
from xblcore.data import __main__ as command_line
from xblcore.data import cifar10, fashion_mnist, sources

CONTENT = b"content of the original file"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REFUSING = "http://127.0.0.1:9/"  # nobody listens there
CONFIG = data.DataConfig(n_train=6, n_val=2, n_test=2)


@pytest.fixture
def mirror(served: tuple[Path, str]) -> str:
    (served[0] / "file.gz").write_bytes(CONTENT)
    return served[1]


def test_download_takes_the_first_mirror_that_serves_the_file(mirror: str, tmp_path: Path) -> None:
    file = sources.RawFile("folder", "file.gz", SHA256, (REFUSING, f"{mirror}gone/", mirror))
    failures = sources.download(file, tmp_path, progress=False)
    assert [line.split(": ")[0] for line in failures] == [REFUSING, f"{mirror}gone/"]
    assert file.is_valid(tmp_path)
    assert file.path(tmp_path).read_bytes() == CONTENT


def test_download_refuses_another_file(mirror: str, tmp_path: Path) -> None:
    file = sources.RawFile("folder", "file.gz", "0" * 64, (mirror,))
    assert len(sources.download(file, tmp_path, progress=False)) == 1
    assert not file.path(tmp_path).exists()


def test_file_is_valid_only_with_its_checksum(tmp_path: Path) -> None:
    file = sources.RawFile("folder", "file.gz", SHA256)
    (tmp_path / "folder").mkdir()
    assert sources.checksums([file], tmp_path) is None
    file.path(tmp_path).write_bytes(b"another file")
    assert sources.checksums([file], tmp_path) is None
    (tmp_path / "candidate").write_bytes(CONTENT)
    assert file.adopt(tmp_path, tmp_path / "candidate")
    assert sources.checksums([file], tmp_path) == {"file.gz": SHA256}


@pytest.mark.parametrize(
    ("content", "status", "failure"),
    [
        (CONTENT.decode(), 0, None),
        ("another file", 0, "pinned SHA-256"),
        (CONTENT.decode(), 1, "no such package"),
    ],
)
def test_npm_pack(
    content: str, status: int, failure: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(  # called as: npm pack PACKAGE --silent --pack-destination FOLDER
        f"#!/bin/sh\nprintf '{content}' > $5/file-1.0.tgz\n"
        f"echo no such package >&2\nexit {status}\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    file = sources.RawFile("folder", "file-1.0.tgz", SHA256)
    found = sources.npm_pack(file, tmp_path, "file@1.0")
    assert file.is_valid(tmp_path) == (failure is None)
    assert (found is None) if failure is None else failure in str(found)


def without_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make every source fail: no mirror, no Debian, no npm."""
    for module, name in ((fashion_mnist, "FILES"), (cifar10, "ARCHIVE")):
        files = getattr(module, name)
        offline = [
            sources.RawFile(file.folder, file.name, file.sha256, (REFUSING,))
            for file in (files if isinstance(files, tuple) else [files])
        ]
        monkeypatch.setattr(module, name, offline if isinstance(files, tuple) else offline[0])
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "no such folder")
    monkeypatch.setattr(sources, "run", lambda command: f"{command[0]}: failed")
    monkeypatch.setattr(data.tasks.coco, "download", lambda *_, **__: ["no connection"])


@pytest.mark.parametrize("task", data.TASKS)
def test_unavailable_data_is_one_error_that_says_what_was_tried_and_what_helps(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sources(monkeypatch, tmp_path)
    with pytest.raises(data.DataUnavailableError, match="(?s)Tried:.*What helps:"):
        data.fetch(task, CONFIG, raw=tmp_path, progress=False)


def test_debian_package_is_enough_for_fashion_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sources(monkeypatch, tmp_path)
    folder = tmp_path / "debian"
    files = []
    for file in fashion_mnist.FILES:
        content = file.name.encode()
        files.append(
            sources.RawFile("fashion-mnist", file.name, hashlib.sha256(content).hexdigest())
        )

    def install(package: str) -> None:
        folder.mkdir()
        for file in files:
            (folder / file.name).write_bytes(file.name.encode())

    monkeypatch.setattr(fashion_mnist, "FILES", tuple(files))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", folder)
    monkeypatch.setattr(fashion_mnist, "install_debian", install)
    assert data.fetch("decoy_fashion_mnist", CONFIG, raw=tmp_path / "raw") == "original"


def test_command_line_reports_each_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(task: str, config: data.DataConfig) -> str:
        if task == "decoy_coco":
            raise data.DataUnavailableError("not to be had")
        return "original"

    monkeypatch.setattr(command_line, "fetch", fetch)
    monkeypatch.setattr("sys.argv", ["data", "fetch"])
    assert command_line.main() == 1
    output = capsys.readouterr()
    assert output.out == "decoy_fashion_mnist: original\ndecoy_cifar10: original\n"
    assert output.err == "decoy_coco: not to be had\n"
    monkeypatch.setattr("sys.argv", ["data", "fetch", "decoy_cifar10"])
    assert command_line.main() == 0
