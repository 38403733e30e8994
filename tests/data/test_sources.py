"""Getting raw files: mirrors, Debian and npm, without a network."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from xblcore import data
from xblcore.data import __main__ as command_line
from xblcore.data import sources

CONTENT = b"content of the original file"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REFUSING = "http://127.0.0.1:9/"  # nobody listens there
CONFIG = data.DataConfig(n_train=6, n_val=2, n_test=2)


def raw_file(*origins: str, sha256: str = SHA256) -> sources.RawFile:
    return sources.RawFile("folder", "file.gz", sha256, origins)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """Address of a local web server that has the file."""
    (tmp_path / "file.gz").write_bytes(CONTENT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of Debian's packages."""
    monkeypatch.setattr(sources, "DEBIAN", tmp_path / "debian")
    (tmp_path / "debian" / "folder").mkdir(parents=True)
    return tmp_path / "debian" / "folder"


def test_first_mirror_that_serves_the_file_is_used(mirror: str, tmp_path: Path) -> None:
    file = raw_file(REFUSING, f"{mirror}gone/", mirror, "npm:not reached")
    failures = file.fetch(tmp_path)
    assert [line.split(": ")[0] for line in failures] == [REFUSING, f"{mirror}gone/"]
    assert file.is_valid(tmp_path)
    assert file.path(tmp_path).read_bytes() == CONTENT
    assert file.fetch(tmp_path) == []


def test_other_content_is_refused(mirror: str, tmp_path: Path) -> None:
    file = raw_file(mirror, sha256="0" * 64)
    assert len(file.fetch(tmp_path)) == 1
    assert not file.is_valid(tmp_path)


@pytest.mark.parametrize("package", ["apt:files", "npm:files@1.0"])
@pytest.mark.parametrize(
    ("content", "status", "valid"), [(CONTENT, 0, True), (b"another", 0, False), (b"", 1, False)]
)
def test_packages(
    package: str, content: bytes, status: int, valid: bool,
    debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(command: Sequence[str], *, check: bool = False, **options: object) -> None:
        if check and status:
            raise subprocess.CalledProcessError(status, command)
        assert "pack" in command or command[0] == "apt-get"
        folder = Path(command[-1]) if "pack" in command else debian
        (folder / "file.gz").write_bytes(content)

    monkeypatch.setattr(sources.subprocess, "run", run)
    file = raw_file(package)
    failures = file.fetch(tmp_path)
    assert file.is_valid(tmp_path) == valid
    assert len(failures) == status


def test_first_complete_set_of_files_counts(debian: Path, tmp_path: Path) -> None:
    better = sources.RawFile("folder", "better.gz", SHA256, (REFUSING,))
    files = sources.RawData("Files", ((better,), (raw_file(REFUSING),)))
    with pytest.raises(data.DataUnavailableError, match=r"(?s)Files .*127.*better.gz, or file.gz"):
        files.fetch(tmp_path, CONFIG)  # from the folder of Debian's packages
    assert files.checksums(tmp_path, CONFIG) is None
    (debian / "file.gz").write_bytes(CONTENT)
    files.fetch(tmp_path, CONFIG)  # from the folder of Debian's packages
    assert files.checksums(tmp_path, CONFIG) == {"file.gz": SHA256}
    shutil.copy(debian / "file.gz", better.path(tmp_path))
    assert files.checksums(tmp_path, CONFIG) == {"better.gz": SHA256}


@pytest.mark.parametrize("task", data.TASKS)
def test_unavailable_data_is_one_error(
    task: str, debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(sources.pooch, "retrieve", fail)
    monkeypatch.setattr(sources.subprocess, "run", fail)
    with pytest.raises(data.DataUnavailableError, match="no connection"):
        data.fetch(task, CONFIG, raw=tmp_path)


def test_command_line_reports_each_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(task: str, config: data.DataConfig) -> str:
        if config.source == "original" and task not in ("decoy_fashion_mnist", "decoy_cifar10"):
            raise data.DataUnavailableError("no connection")
        return config.source

    monkeypatch.setattr(command_line, "fetch", fetch)
    monkeypatch.setattr("sys.argv", ["data", "fetch", "--source", "original"])
    assert command_line.main() == 1
    output = capsys.readouterr()
    assert output.out == "decoy_fashion_mnist: original\ndecoy_cifar10: original\n"
    assert output.err == "decoy_coco: no connection\nnatural_shortcut: no connection\n"
    monkeypatch.setattr("sys.argv", ["data", "fetch", "decoy_coco"])
    assert command_line.main() == 0
    assert capsys.readouterr().out == "decoy_coco: auto\n"
