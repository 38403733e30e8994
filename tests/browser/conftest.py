"""A real JupyterLab on a copy of the notebooks, and a headless Chromium.

``make test`` leaves these tests out; run them with ``pytest -m browser tests/browser``.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOON, LATER = 20_000, 180_000  # milliseconds: for a click to show, for a notebook to run
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PICTURES = ROOT / "build" / "pictures"  # screenshots
# No news, and every cell is rendered at once.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Server:
    """JupyterLab on loopback; ``folder`` is the copy of the project that it serves."""

    folder: Path
    port: int
    token: str

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("browser")
    folder = home / "project"
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data").symlink_to(ROOT / "data")
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(folder, port, secrets.token_hex(16))
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    env = os.environ | {name: str(home / place) for name, place in places.items()}
    env |= {"PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": server.token}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--expose-app-in-browser", f"--ServerApp.root_dir={folder}", "--allow-root",
    ]  # fmt: skip
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        wait_for(server.url("api/status"), process, home / "server.log")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(720):  # three minutes, for a busy machine
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.25)
    raise AssertionError(f"no answer from {url}: {log.read_text(encoding='utf-8')[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)}, such as Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Lab:
    """What a person does in JupyterLab with one notebook at a time."""

    def __init__(self, page: Any, server: Server) -> None:
        self.page, self.server = page, server

    def open(self, notebook: str) -> Lab:
        """Open a notebook by its path in the project, and wait for its kernel."""
        self.page.goto(self.server.url(f"lab/tree/{notebook}") + "&reset")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=LATER)
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
            "?.status === 'idle'",
            timeout=LATER,
        )
        return self

    def command(self, name: str) -> None:
        """Execute a command of JupyterLab and wait until it is done."""
        self.page.set_default_timeout(LATER)
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)
        self.page.set_default_timeout(SOON)

    def run_all(self) -> Lab:
        """Run every cell; none may fail."""
        self.command("notebook:run-all-cells")
        assert self.errors() == []
        return self

    def outputs(self) -> list[dict[str, Any]]:
        return self.page.evaluate(
            "() => [...window.jupyterapp.shell.currentWidget.content.model.cells]"
            ".flatMap(cell => cell.toJSON().outputs ?? [])"
        )

    def errors(self) -> list[str]:
        return [
            f"{output['ename']}: {output['evalue']}"
            for output in self.outputs()
            if output["output_type"] == "error"
        ]


@pytest.fixture
def lab(browser: Any, server: Server, request: pytest.FixtureRequest) -> Iterator[Lab]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, has_touch=True)
    context.set_default_timeout(SOON)
    opened = Lab(context.new_page(), server)
    failed = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failed:
        opened.page.screenshot(path=PICTURES / f"failed-{request.node.name}.png")
    context.close()
