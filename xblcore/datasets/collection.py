"""Raw files that depend on the config: chosen from a source and fetched, or made, and noted.

Their sha256 cannot be known beforehand, so a manifest, written last, says what they must hash to,
what they were asked for, and what was left out. Whoever reads one verifies it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xblcore.datasets.settings import DataConfig
from xblcore.project import sha256_of, write_atomic

Manifest = dict[str, Any]  # what json.loads gives; its keys are set by write_manifest()

MANIFEST = "manifest.json"
REMEDY = "run: python -m xblcore.pipeline.fetch"


@dataclass(frozen=True)
class Collection:
    """A folder of such files.

    Attributes:
        name: of the folder under ``data/raw``.
        request: what of a config decides which files those are, as JSON.
        gather: gets or makes them, in a folder under the folder of raw files that is its first
            argument, as a config says, with or without progress bars.
    """

    name: str
    request: Callable[[DataConfig], Manifest]
    gather: Callable[[Path, DataConfig, bool], None]

    def is_ready(self, raw_root: Path, config: DataConfig) -> bool:
        """Whether all files are there, unaltered, and are what this config asks for."""
        folder = raw_root / self.name
        try:
            manifest = read_manifest(folder)
        except (FileNotFoundError, ValueError):
            return False
        return manifest["request"] == self.request(config) and all(
            (folder / name).is_file() and sha256_of(folder / name) == sha256
            for name, sha256 in manifest["files"].items()
        )


def write_manifest(folder: Path, request: Manifest, about: Manifest, files: Sequence[str]) -> None:
    """Note that a collection is whole.

    Args:
        folder: of the collection.
        request: what it was asked for.
        about: what else is to be known of it, such as what was left out and why.
        files: names of its files, in the folder or below.
    """
    hashes = {name: sha256_of(folder / name) for name in sorted(files)}
    with write_atomic(folder / MANIFEST) as temporary:
        manifest = {"request": request, **about, "files": hashes}
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """What is known of a collection.

    Raises:
        FileNotFoundError: it is not there, or not whole.
        ValueError: its manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be there, got no such file; {REMEDY}")
    try:
        manifest: Manifest = json.loads(path.read_text())
        {"request": manifest["request"], "files": manifest["files"].items()}
        outside = [name for name in manifest["files"] if not _is_inside(PurePosixPath(name))]
        if outside:
            raise ValueError(f"a file that is not below it, {outside[0]!r:.80}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be a manifest, got {error!r}; {REMEDY}") from error
    return manifest


def _is_inside(name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts


def read_verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Content of a file of a collection; the hashed bytes are the returned ones.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: it was altered, or does not belong to the collection.
    """
    path = folder / name
    if name not in manifest["files"]:
        raise ValueError(
            f"{name} must be a file of {folder}, got one not in its manifest; {REMEDY}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be there, got no such file; {REMEDY}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != manifest["files"][name]:
        raise ValueError(
            f"sha256 of {path} must be {manifest['files'][name]}, got {found}: "
            f"it was altered; {REMEDY}"
        )
    return content
