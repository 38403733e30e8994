"""Fetching: every way there is, from a server on loopback that also fails."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from types import SimpleNamespace

import pytest
import requests
import serving
from serving import CONTENT, HALF, SHA256

from xblcore.datasets import download as downloads
from xblcore.datasets import fashion_mnist, sources
from xblcore.datasets.download import DownloadError, check_sha256, download
from xblcore.datasets.sources import Source


@pytest.fixture
def server():
    with serving.running() as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def fetch_one(urls, target, *, patience=1.0, attempts=4):
    check = check_sha256(SHA256)
    return download(urls, target, check=check, patience=patience, attempts=attempts, backoff=0.01)


REST = f"bytes={HALF}-"


@pytest.mark.parametrize(
    ("scripts", "asked"),
    [
        ({"a": ["ok"]}, [("a", None)]),
        ({"a": ["500", "ok"]}, [("a", None), ("a", None)]),
        ({"a": ["429", "ok"]}, [("a", None), ("a", None)]),
        ({"a": ["truncated", "ok"]}, [("a", None), ("a", REST)]),
        ({"a": ["stalls", "ok"]}, [("a", None), ("a", REST)]),
        ({"a": ["truncated", "no range"]}, [("a", None), ("a", REST)]),
        ({"a": ["truncated", "wrong range", "ok"]}, [("a", None), ("a", REST), ("a", REST)]),
        ({"a": ["404"], "b": ["ok"]}, [("a", None), ("b", None)]),
        ({"a": ["404"], "b": ["500", "ok"]}, [("a", None), ("b", None), ("b", None)]),
        ({"a": ["wrong"], "b": ["503", "ok"]}, [("a", None), ("b", None), ("b", None)]),
        ({"a": ["truncated"], "b": ["ok"]}, [("a", None), ("b", REST)]),
        # Half of one file and half of another: the second mirror is asked for all of it again.
        (
            {"a": ["truncated", "404"], "b": ["wrong", "ok"]},
            [("a", None), ("b", REST), ("a", None), ("b", None)],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_download_gets_the_file_in_spite_of_failures(server, tmp_path, scripts, asked):
    urls = [server.mirror(name, *script) + "file.gz" for name, script in scripts.items()]
    used = fetch_one(urls, tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert server.asked == asked
    assert used == next(url for url in urls if f"/{asked[-1][0]}/" in url)
    assert os.listdir(tmp_path) == ["file.gz"]


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        (CONTENT[:HALF], [REST]),
        (CONTENT, [f"bytes={len(CONTENT)}-"]),
        (b"x" * HALF, [REST, None]),
        (b"x" * len(CONTENT), [f"bytes={len(CONTENT)}-", None]),
    ],
    ids=["half", "whole", "half of another", "another, as long"],
)
def test_download_goes_on_where_a_killed_one_stopped(server, tmp_path, part, asked):
    (tmp_path / "file.gz.part").write_bytes(part)
    fetch_one([server.mirror("a", "ok") + "file.gz"], tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert [range_ for _, range_ in server.asked] == asked


@pytest.mark.parametrize(
    ("act", "message", "requests_made"),
    [
        ("404", "404 Client Error", 1),
        ("500", "500 Server Error", 3),
        ("wrong", f"sha256 must be {SHA256}, got", 1),
        ("truncated", "IncompleteRead", None),
        ("stalls", "Read timed out", None),
    ],
)
def test_download_that_cannot_succeed_says_why_and_leaves_nothing_whole(
    server, tmp_path, act, message, requests_made
):
    url = server.mirror("a", act) + "file.gz"
    with pytest.raises(DownloadError, match=message) as caught:
        fetch_one([url], tmp_path / "file.gz", patience=0.5, attempts=3)
    assert f"file.gz must come from one of its mirrors, got none:\n  {url}: " in str(caught.value)
    assert not (tmp_path / "file.gz").exists()
    assert requests_made in (None, len(server.asked)) and 1 <= len(server.asked) <= 3


@pytest.mark.parametrize("there", [0, HALF])
def test_a_mirror_that_never_ends_is_left_and_leaves_nothing(server, tmp_path, monkeypatch, there):
    monkeypatch.setattr(downloads, "LARGEST", len(CONTENT) - 1)
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:there])
    with pytest.raises(DownloadError, match=f"TooLarge: .* at most {len(CONTENT) - 1} bytes"):
        fetch_one([server.mirror("a", "ok") + "file.gz"], tmp_path / "file.gz", attempts=3)
    assert not os.listdir(tmp_path) and len(server.asked) == 1
    monkeypatch.setattr(downloads, "LARGEST", len(CONTENT))
    fetch_one([server.mirror("b", "ok") + "file.gz"], tmp_path / "file.gz")


def test_reachable_names_those_that_answer(server):
    mute, free = server.mirror("mute", "mute"), server.mirror("free", "ok")
    refused = "http://127.0.0.1:1/"
    assert downloads.reachable([mute, refused, free], seconds=1.0) == [free]


def test_reachable_asks_all_at_once(monkeypatch):
    """None has an answer before all were asked."""
    together = threading.Barrier(3, timeout=30)

    def head(url, **options):
        together.wait()
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(downloads.requests, "head", head)
    assert downloads.reachable(["a", "b", "c"], seconds=60) == ["a", "b", "c"]


def test_reachable_does_not_wait_for_names_that_nobody_resolves(monkeypatch):
    over, finished = threading.Event(), threading.Event()

    def look_up(*arguments, **options):
        over.wait(60)
        finished.set()
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert downloads.reachable(["http://mirror.invalid/file"], seconds=0.2) == []
    assert not finished.is_set()
    over.set()


def test_finding_out_that_nothing_is_reachable_takes_at_most_20_seconds():
    defaults = downloads.reachable.__kwdefaults__["seconds"] + download.__kwdefaults__["patience"]
    assert defaults <= 20


# --- sources -------------------------------------------------------------------------------------


def source(*mirrors: str, folder=None, package="dataset-toy") -> Source:
    return Source("toy", {"a.gz": SHA256, "b.gz": SHA256}, mirrors, package, folder)


def refuse(package):
    raise PermissionError("only tried as root on Debian or Ubuntu")


def origins(raw_root):
    manifest = json.loads((raw_root / "toy" / "manifest.json").read_text())
    assert manifest["source"] == "toy"
    assert {entry["sha256"] for entry in manifest["files"].values()} == {SHA256}
    return [manifest["files"][name]["from"] for name in ("a.gz", "b.gz")]


def put(folder, content, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


def test_a_verified_copy_is_used_as_it_is(server, tmp_path):
    put(tmp_path / "toy", CONTENT, "a.gz", "b.gz")
    sources.fetch(source(server.mirror("a", "ok")), tmp_path, install=refuse)
    assert origins(tmp_path) == ["a copy found in data/raw"] * 2
    assert not server.asked


def test_the_package_is_preferred_to_a_mirror_and_its_files_are_verified(server, tmp_path):
    put(tmp_path / "deb", CONTENT, "a.gz")
    put(tmp_path / "deb", CONTENT[1:], "b.gz")
    mirror = server.mirror("a", "ok")
    sources.fetch(source(mirror, folder=tmp_path / "deb"), tmp_path, install=refuse)
    assert origins(tmp_path) == ["Debian package dataset-toy", mirror + "b.gz"]
    assert server.asked == [("a", None)]


def test_an_altered_copy_is_fetched_again_and_a_second_fetch_asks_nobody(server, tmp_path):
    put(tmp_path / "toy", CONTENT, "a.gz")
    put(tmp_path / "toy", CONTENT + b"!", "b.gz")
    mirror = server.mirror("a", "ok")
    first = sources.fetch(source(mirror), tmp_path, install=refuse).read_bytes()
    assert origins(tmp_path) == ["a copy found in data/raw", mirror + "b.gz"]
    assert sources.fetch(source(mirror), tmp_path, install=refuse).read_bytes() == first
    assert len(server.asked) == 1
    assert sorted(os.listdir(tmp_path / "toy")) == ["a.gz", "b.gz", "manifest.json"]


def test_a_mirror_that_answers_nothing_is_left_out(server, tmp_path):
    mirrors = "http://127.0.0.1:1/", server.mirror("a", "ok")
    sources.fetch(source(*mirrors), tmp_path, install=refuse)
    assert origins(tmp_path) == [mirrors[1] + "a.gz", mirrors[1] + "b.gz"]


def test_the_package_is_installed_where_no_mirror_is_reachable(tmp_path):
    def install(package):
        assert package == "dataset-toy"
        put(tmp_path / "deb", CONTENT, "a.gz", "b.gz")

    sources.fetch(source("http://127.0.0.1:1/", folder=tmp_path / "deb"), tmp_path, install=install)
    assert origins(tmp_path) == ["Debian package dataset-toy"] * 2


def test_no_source_is_one_error_that_lists_what_was_tried_and_what_helps(server, tmp_path):
    mirrors = "http://127.0.0.1:1/", server.mirror("a", "ok", "404")
    with pytest.raises(FileNotFoundError) as caught:
        sources.fetch(source(*mirrors, folder=tmp_path / "deb"), tmp_path, install=refuse)
    message = str(caught.value)
    for part in (
        "toy must come from one of its sources, got none for b.gz. Tried:",
        f"  - {tmp_path}/deb: does not hold, or not unaltered, a.gz, b.gz",
        "  - http://127.0.0.1:1/: no answer",
        f"{mirrors[1]}b.gz: HTTPError: 404 Client Error",
        "  - apt-get install dataset-toy: only tried as root on Debian or Ubuntu",
        "What helps:",
        f"  - put these files into {tmp_path}/toy by hand",
        "  - connect to a network and run this again; what has arrived is kept",
        "  - on Debian or Ubuntu: sudo apt-get install dataset-toy",
    ):
        assert part in message
    assert os.listdir(tmp_path / "toy") == ["a.gz"], "no manifest, but what arrived is kept"


def test_apt_get_is_run_again_after_an_update_and_says_so(tmp_path, monkeypatch, caplog):
    apt = tmp_path / "apt-get"
    # Knows no package until its lists are there, like a fresh container.
    apt.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n'
        f'case "$*" in *update*) touch {tmp_path}/lists;; *dataset-toy) test -e {tmp_path}/lists;; '
        "*) echo 'E: no such package' >&2; exit 100;; esac\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with caplog.at_level(logging.WARNING):
        sources.install_debian_package("dataset-toy")
    verbs = [line.split()[5] for line in (tmp_path / "log").read_text().splitlines()]
    assert verbs == ["install", "update", "install"]
    assert "installing the Debian package dataset-toy" in caplog.text
    with pytest.raises(OSError, match="E: no such package"):
        sources.install_debian_package("other")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="only tried as root"):
        sources.install_debian_package("dataset-toy")


def test_a_raw_file_is_verified_whenever_it_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.gz must be in .*toy, got no such file; run:"):
        sources.read_verified(source(), tmp_path, "a.gz")
    put(tmp_path / "toy", CONTENT, "a.gz")
    assert sources.read_verified(source(), tmp_path, "a.gz") == CONTENT
    put(tmp_path / "toy", CONTENT[:-1], "a.gz")
    with pytest.raises(ValueError, match=rf"sha256 of .*a\.gz must be {SHA256}, got .* delete it"):
        sources.read_verified(source(), tmp_path, "a.gz")


def test_fashion_mnist_has_several_independent_ways():
    found = fashion_mnist.SOURCE
    assert len(found.files) == 4 and all(len(sha256) == 64 for sha256 in found.files.values())
    hosts = {requests.utils.urlparse(mirror).hostname for mirror in found.mirrors}
    assert len(hosts) == len(found.mirrors) >= 2 and all(m.endswith("/") for m in found.mirrors)
    assert found.debian_package == "dataset-fashion-mnist"
