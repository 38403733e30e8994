"""Every server that the Makefile starts, for real: on loopback alone, and behind a token."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import free_port

from xblcore.pipeline.always_token import AlwaysToken

ROOT = Path(__file__).parents[1]
SERVERS = {"lab": "api/contents", "explore": "", "explore-light": ""}
LOOPBACK = {"127.0.0.1", "::1"}
ENVIRONMENT = ("JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE", "JUPYTER_PASSWORD")
# A configuration that would open a server to all; what the Makefile says goes before it.
OPEN = {
    "ServerApp": {"ip": "0.0.0.0"},
    "Voila": {"ip": "0.0.0.0", "token": ""},
    "IdentityProvider": {"token": ""},
}


def command_of(target: str) -> list[str]:
    """What ``make`` would run, by this interpreter instead of that of ``.venv``."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--no-print-directory", target],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    line = done.stdout.replace("\\\n", " ").splitlines()[-1]
    program, *options = shlex.split(line)
    if Path(program).name == "jupyter":
        return [sys.executable, "-m", "jupyterlab", *options[1:]]
    assert Path(program).name == "voila", line
    return [sys.executable, "-m", "voila", *options]


def test_all_servers_of_the_makefile_are_known():
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    started = re.findall(r"^([\w-]+):.*\n(?:\t.*\n)*\t\S*/(?:jupyter|voila) ", recipes, re.M)
    assert set(started) == set(SERVERS)


def status(url: str, *, wait: float = 60) -> int:
    """Status of the answer, once there is one."""
    end = time.monotonic() + wait
    while True:
        try:
            with urllib.request.build_opener(NoRedirect).open(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


@pytest.fixture
def without_tokens(monkeypatch) -> None:
    """No reader's environment has a say in what guards a server here."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(
    request, tmp_path, monkeypatch, without_tokens
) -> Iterator[tuple[psutil.Process, int, Path]]:
    """The server of a target, the port it was given, and its log."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for place in ("CONFIG", "RUNTIME", "DATA"):
        folder = tmp_path / place.lower()
        folder.mkdir()
        monkeypatch.setenv(f"JUPYTER_{place}_DIR", str(folder))
    for name in ("jupyter_server_config", "jupyter_lab_config", "voila"):
        (tmp_path / "config" / f"{name}.json").write_text(json.dumps(OPEN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command, port = command_of(request.param), free_port()
    command += ["--no-browser", f"--port={port}"]
    if "jupyterlab" in command:
        command += ["--allow-root", "--ServerApp.port_retries=0"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = psutil.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            env=os.environ.copy(), start_new_session=True,
        )  # fmt: skip
    try:
        yield process, port, log
    finally:
        family = [*process.children(recursive=True), process]
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=20)


@pytest.mark.parametrize("served", SERVERS, indirect=True)
def test_a_server_is_reached_from_this_machine_alone_and_with_a_token(served, request):
    process, port, log = served
    path = SERVERS[request.node.callspec.params["served"]]
    try:
        assert status(f"http://127.0.0.1:{port}/{path}") in (302, 403), "no token, no answer"
    except OSError:
        pytest.fail(log.read_text()[-3000:])
    found = {
        connection.laddr.ip
        for member in (process, *process.children(recursive=True))
        for connection in member.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert found and found <= LOOPBACK
    (token,) = set(re.findall(r"\?token=(\w+)", log.read_text()))
    assert len(token) >= 32
    assert status(f"http://127.0.0.1:{port}/{path}?token=wrong") in (302, 403)
    if path:  # a page of voila runs a notebook, which the browser tests look at
        assert status(f"http://127.0.0.1:{port}/{path}?token={token}") == 200


@pytest.mark.parametrize("content", ["", "\n", "of their own"])
@pytest.mark.usefixtures("without_tokens")
def test_a_file_for_the_token_counts_where_it_has_one(content, tmp_path, monkeypatch):
    (tmp_path / "token").write_text(content)
    monkeypatch.setenv("JUPYTER_TOKEN_FILE", str(tmp_path / "token"))
    token = AlwaysToken().token
    assert token == content if content.strip() else len(token) >= 32


@pytest.mark.usefixtures("without_tokens")
def test_beside_a_password_there_is_a_token():
    assert len(AlwaysToken(hashed_password="sha1:a:b").token) >= 32
