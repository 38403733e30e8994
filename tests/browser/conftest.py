"""A real JupyterLab on a copy of the project, and a headless Chromium that looks at it.

These tests need a browser, so ``make test`` leaves them out; ``make browser-test`` runs them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, sync_playwright
from serving import free_port

ROOT = Path(__file__).parents[2]
WIDE, HIGH = 1280, 1000
SOON, LATER = 20_000, 180_000  # milliseconds: for a click to show, for a notebook to run
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Where screenshots go; the pictures of the README are taken from there.
PICTURES = Path(os.environ.get("XBL_PICTURES", ROOT / "build" / "pictures"))
# No question about news, no cell that is only rendered once it is scrolled to.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def copy_of_the_project(folder: Path) -> Path:
    """What a notebook needs; what it may change is copied, what it reads is linked."""
    folder.mkdir()
    for name in ("notebooks", "params.yaml", "dvc.yaml", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for name in ("xblcore", "data", "results"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build").mkdir()
    if (ROOT / "build" / "runs").is_dir():
        (folder / "build" / "runs").symlink_to(ROOT / "build" / "runs")
    return folder


@dataclass(frozen=True)
class Server:
    """A server on loopback, behind a token; ``folder`` is the copy of the project it serves."""

    folder: Path
    port: int
    token: str

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"


def serve(folder: Path, command: list[str], *, probe: str) -> Iterator[Server]:
    """Run a Jupyter command with settings of its own until the tests are done with it."""
    home = folder.parent / f"home-{secrets.token_hex(4)}"
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    server = Server(folder, free_port(), secrets.token_hex(16))
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    env = os.environ | {name: str(home / place) for name, place in places.items()}
    env |= {"PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": server.token}
    with (folder.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, f"--port={server.port}"],
            cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(server.url(probe), process, Path(log.name))
            yield server
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.25)
    raise AssertionError(f"no answer from {url}: {log.read_text(encoding='utf-8')[-3000:]}")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project, to be served and changed."""
    return copy_of_the_project(tmp_path_factory.mktemp("browser") / "project")


@pytest.fixture(scope="module")
def server(project) -> Iterator[Server]:
    command = [
        "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--expose-app-in-browser",
        f"--ServerApp.root_dir={project}", "--allow-root",
    ]  # fmt: skip
    yield from serve(project, command, probe="api/status")


@pytest.fixture(scope="module")
def voila(project) -> Iterator[Server]:
    """Notebooks as pages, as ``make explore`` serves one."""
    command = [
        "voila", "--no-browser", "--Voila.ip=127.0.0.1", "--Voila.auto_token=True", str(project),
    ]  # fmt: skip
    yield from serve(project, command, probe="")


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"one of {', '.join(BROWSERS)} must be installed, e.g. Debian's package chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, request) -> Iterator[Page]:
    """A window of its own, in which nothing is remembered."""
    context = browser.new_context(viewport={"width": WIDE, "height": HIGH}, has_touch=True)
    context.set_default_timeout(SOON)
    opened = context.new_page()
    failed = request.session.testsfailed
    yield opened
    if request.session.testsfailed > failed:
        PICTURES.mkdir(parents=True, exist_ok=True)
        opened.screenshot(path=PICTURES / f"failed-{request.node.name}.png")
    context.close()


class Lab:
    """What a person does in JupyterLab with one notebook at a time."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server

    def open(self, notebook: str) -> Lab:
        """Open a notebook, by its path under the project, and wait for its kernel."""
        self.page.goto(self.server.url(f"lab/tree/{notebook}") + "&reset")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=LATER)
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
            "?.status === 'idle'",
            timeout=LATER // 3,
        )
        return self

    def command(self, name: str) -> None:
        """Execute one of JupyterLab's commands and wait until it is done."""
        self.page.set_default_timeout(LATER)
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)
        self.page.set_default_timeout(SOON)

    def run_all(self) -> Lab:
        """Run every cell, none of which may fail."""
        self.command("notebook:run-all-cells")
        assert self.errors() == []
        return self

    def restart(self) -> None:
        """Restart the kernel, as the menu does once it has asked."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
        )

    def save(self) -> None:
        self.command("docmanager:save")

    def outputs(self) -> list[dict[str, object]]:
        """All outputs of the notebook, as they would be saved."""
        return self.page.evaluate(
            "() => [...window.jupyterapp.shell.currentWidget.content.model.cells]"
            ".flatMap(cell => cell.toJSON().outputs ?? [])"
        )

    def errors(self) -> list[str]:
        """What failing cells say."""
        return [
            f"{output['ename']}: {output['evalue']}"
            for output in self.outputs()
            if output["output_type"] == "error"
        ]

    def cell(self, text: str) -> Locator:
        """The cells whose source or output has a text."""
        return self.page.locator(".jp-Notebook .jp-Cell").filter(has_text=text)

    def picture(self, name: str, part: Locator | None = None) -> Path:
        """A screenshot of the window, or of a part of it, to be looked at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        (part or self.page).screenshot(path=path)
        return path


@pytest.fixture
def lab(page, server) -> Lab:
    return Lab(page, server)
