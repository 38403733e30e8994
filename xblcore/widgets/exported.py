"""Files put beside those of others: only what an annotator knows is replaced or removed.

What it knows is the content that it exported itself, or took over by an import since. So a file
that a person put there, or has edited and not imported yet, is never lost: it stops the export.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from xblcore import project

RECORD = "exported.json"  # in the home of the annotations


class Exported:
    """What an annotator knows, by path (as seen from its home, so that both may move together).

    The record is written before the files, with what stands there and what is to come, so that a
    killed export can be repeated. One that cannot be read knows nothing.

    Args:
        home: folder of the annotations, which holds the record.
    """

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()

    def write(
        self, folder: Path, files: Mapping[str, bytes], *, gone: Iterable[str] = ()
    ) -> list[Path]:
        """Write files below a folder, each whole or not at all.

        Args:
            folder: made where it is missing.
            files: content by path below the folder.
            gone: paths of files to be removed, where an earlier export wrote them; what else lies
                there stays.

        Returns:
            The paths of ``files``.

        Raises:
            ValueError: a file that is not known stands in the way; nothing is written.
        """
        record = self._read()
        old = [name for name in gone if self._key(folder / name) in record]
        known = dict(record)
        for name in (*files, *old):
            path = folder / name
            coming = [_digest(files[name])] if name in files else []
            found = self._standing(path, {*record.get(self._key(path), ()), *coming})
            known[self._key(path)] = list(dict.fromkeys([*found, *coming]))
        self._keep(record, known)
        for name, content in files.items():
            with project.write_atomic(folder / name) as temporary:
                temporary.write_bytes(content)
        for name in old:
            (folder / name).unlink(missing_ok=True)
        return [folder / name for name in files]

    def take_over(self, paths: Iterable[Path]) -> None:
        """Know what was imported from these files, so that an export may replace them."""
        record = self._read()
        taken = {self._key(path): [project.sha256_of(path)] for path in paths}
        self._keep(record, record | taken)

    def _standing(self, path: Path, allowed: set[str]) -> list[str]:
        """The digest of the file that is there, if any; what it lies in must be a folder."""
        there = next(part for part in (path, *path.parents) if os.path.lexists(part))
        found = [project.sha256_of(path)] if path.is_file() else []
        if (there != path and there.is_dir()) or {*found} & allowed:
            return found
        raise ValueError(
            f"{there} must be what was exported or imported here, to be replaced, got a file of "
            "another origin or edited since; export to another folder, or import it first"
        )

    def _key(self, path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), self._home)).as_posix()

    def _read(self) -> dict[str, list[str]]:
        try:
            record = json.loads((self._home / RECORD).read_bytes())
            return {name: [*map(str, digests)] for name, digests in record.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def _keep(self, before: Mapping[str, list[str]], record: Mapping[str, list[str]]) -> None:
        if record != before:
            with project.write_atomic(self._home / RECORD) as temporary:
                temporary.write_text(json.dumps(record, indent=0), encoding="utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
