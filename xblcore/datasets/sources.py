"""Where raw files come from: a copy that is there, the system's package, mirrors, apt.

The ways are tried in that order, file by file, and nothing counts until its sha256 is right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xblcore.datasets.download import DownloadError, check_sha256, download, reachable
from xblcore.project import sha256_of, write_atomic

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """A set of raw files and the ways to get them.

    Attributes:
        name: also its folder under ``data/raw``.
        files: file name to sha256.
        mirrors: addresses that a file name is appended to, the preferred one first.
        debian_package: package of Debian that holds the very same files.
        debian_folder: where that package puts them.
    """

    name: str
    files: Mapping[str, str]
    mirrors: tuple[str, ...] = ()
    debian_package: str | None = None
    debian_folder: Path | None = None


def read_verified(source: Source, raw_root: Path, name: str) -> bytes:
    """Content of a raw file whose sha256 is right; the hashed bytes are the returned ones.

    Raises:
        FileNotFoundError: it was not fetched.
        ValueError: it is not the file it should be.
    """
    path = raw_root / source.name / name
    remedy = "run: python -m xblcore.pipeline.fetch"
    if not path.is_file():
        raise FileNotFoundError(f"{name} must be in {path.parent}, got no such file; {remedy}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != source.files[name]:
        raise ValueError(
            f"sha256 of {path} must be {source.files[name]}, got {found}: "
            f"the file is damaged or another one; delete it and {remedy}"
        )
    return content


def missing_files(source: Source, raw_root: Path) -> list[str]:
    """Names of the files that are not there, or not with the right sha256."""
    folder = raw_root / source.name
    return [
        name
        for name, sha256 in source.files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != sha256
    ]


def fetch(
    source: Source,
    raw_root: Path,
    *,
    progress: bool = True,
    install: Callable[[str], None] | None = None,
) -> Path:
    """Put all files of a source under ``raw_root / source.name``, whatever that takes.

    Args:
        source: which files.
        raw_root: folder of all sources.
        progress: show bars while downloading.
        install: installs a Debian package by name; None: :func:`install_debian_package`.

    Returns:
        The manifest written beside the files: sha256 of each and where it came from.

    Raises:
        FileNotFoundError: no way led to all files; the message lists what was tried, and what
            can be done.
    """
    folder = raw_root / source.name
    folder.mkdir(parents=True, exist_ok=True)
    origins = dict.fromkeys(source.files, "a copy found in data/raw") | _known_origins(folder)
    tried: list[str] = []
    ways = (_from_debian_folder, _from_mirrors, _from_debian(install or install_debian_package))
    for way in ways:
        missing = missing_files(source, raw_root)
        if missing:
            origins |= way(source, folder, missing, tried, progress)
    missing = missing_files(source, raw_root)
    if missing:
        raise FileNotFoundError(_no_source(source, folder, missing, tried))
    manifest = {
        "source": source.name,
        "files": {
            name: {"sha256": sha256, "from": origins[name]} for name, sha256 in source.files.items()
        },
    }
    with write_atomic(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    return folder / MANIFEST


def _known_origins(folder: Path) -> dict[str, str]:
    """What an earlier fetch noted; nothing rests on it, so an unreadable note is no error."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        return {name: str(entry["from"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _from_debian_folder(
    source: Source, folder: Path, missing: list[str], tried: list[str], progress: bool
) -> dict[str, str]:
    if source.debian_folder is None:
        return {}
    origins = {}
    for name in missing:
        original, part = source.debian_folder / name, folder / (name + ".part")
        if original.is_file() and sha256_of(original) == source.files[name]:
            shutil.copyfile(original, part)
            os.replace(part, folder / name)
            origins[name] = f"Debian package {source.debian_package}"
    others = [name for name in missing if name not in origins]
    if others:
        tried.append(
            f"{source.debian_folder}: does not hold, or not unaltered, {', '.join(others)}"
        )
    return origins


def _from_mirrors(
    source: Source, folder: Path, missing: list[str], tried: list[str], progress: bool
) -> dict[str, str]:
    mirrors = {mirror + missing[0]: mirror for mirror in source.mirrors}
    answering = reachable(list(mirrors))
    tried += [f"{mirror}: no answer" for url, mirror in mirrors.items() if url not in answering]
    origins: dict[str, str] = {}
    if not answering:
        return origins
    for name in missing:
        log.info("downloading %s", name)
        urls = [mirrors[url] + name for url in answering]
        check = check_sha256(source.files[name])
        try:
            origins[name] = download(urls, folder / name, check=check, progress=progress)
        except DownloadError as error:
            tried.append(str(error))
            break  # a mirror without one file is no use for the others
    return origins


Way = Callable[[Source, Path, list[str], list[str], bool], dict[str, str]]


def _from_debian(install: Callable[[str], None]) -> Way:
    def way(
        source: Source, folder: Path, missing: list[str], tried: list[str], progress: bool
    ) -> dict[str, str]:
        if source.debian_package is None:
            return {}
        try:
            install(source.debian_package)
        except OSError as error:
            tried.append(f"apt-get install {source.debian_package}: {error}")
            return {}
        return _from_debian_folder(source, folder, missing, tried, progress)

    return way


def install_debian_package(package: str) -> None:
    """``apt-get install`` as root on Debian or Ubuntu, saying so.

    Raises:
        PermissionError: not root, or no apt-get here.
        OSError: apt-get failed.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PermissionError("only tried as root on Debian or Ubuntu")
    apt = ["apt-get", "-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5"]
    add = [*apt, "install", "-y", "--no-install-recommends", package]
    log.warning("no mirror served the files; installing the Debian package %s", package)
    try:
        _run(add)
    except OSError:  # a fresh container has no package lists
        _run([*apt, "update"])
        _run(add)


def _run(command: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError("no end after 300 s") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or [f"exit status {error.returncode}"]
        raise OSError(last[0]) from error


def _no_source(source: Source, folder: Path, missing: list[str], tried: list[str]) -> str:
    remedies = [f"put these files into {folder} by hand"]
    if source.mirrors:
        remedies.append("connect to a network and run this again; what has arrived is kept")
    if source.debian_package:
        remedies.append(f"on Debian or Ubuntu: sudo apt-get install {source.debian_package}")
    names = ", ".join(missing)
    head = f"{source.name} must come from one of its sources, got none for {names}. Tried:"
    lines = [head, *(f"  - {line}" for line in tried)]
    return "\n".join([*lines, "What helps:", *(f"  - {line}" for line in remedies)])
