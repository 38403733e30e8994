"""The journal of one image: what was drawn, line by line, on the disk before it counts.

A line is one JSON mapping with the key ``do``: ``open`` (the first line, with the image's name and
size), ``stroke``, ``paste``, ``undo`` or ``redo``. Lines are only ever added. A line that a killed
program left half-written has no line end; it never counted, is reported, and is cut off before the
next one is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import filelock

from xblcore.datasets.coco_format import Annotated, Entry, Picture, checked
from xblcore.datasets.coco_pixels import encode, union_mask
from xblcore.widgets.drawing import Action, Drawing, Paste
from xblcore.widgets.strokes import Mask, Stroke, checked_layer, message_of, shown, stroke_from

Step = Literal["undo", "redo"]
VERSION = 1
WAIT = 10.0  # seconds for another program to finish its line


@dataclass(frozen=True)
class Journal:
    """The journal of one image and the drawing that it comes to.

    Attributes:
        path: of the file, which need not be there yet.
        image: name of the image.
        drawing: the state after the last whole line.
        length: bytes of whole lines that were read.
        note: what was ignored at the end of the file; empty if nothing was.
    """

    path: Path
    image: str
    drawing: Drawing
    length: int = 0
    note: str = ""

    @classmethod
    def read(cls, path: Path, image: str, size: tuple[int, int]) -> Journal:
        """Replay a journal; one that is not there is empty.

        Raises:
            ValueError: a line that cannot be read, a journal of another image or size.
        """
        journal = cls(path, image, Drawing(size))
        content = path.read_bytes() if path.is_file() else b""
        whole, rest = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        drawing = journal.drawing
        for number, entry in _entries(whole, path.name):
            where = f"line {number} of {path.name}"
            try:
                drawing = journal._header(entry) if number == 1 else _do(drawing, entry)
            except ValueError as error:
                raise ValueError(f"{where} must be part of {image}: {error}") from error
        note = ""
        if rest:
            note = f"{path.name}: ignored {len(rest)} bytes of a line that was never finished"
        return replace(journal, drawing=drawing, length=len(whole), note=note)

    def add(self, action: Action) -> Journal:
        """The journal with one more action, which is on the disk when this returns.

        What another program wrote meanwhile is kept, before it.

        Raises:
            ValueError: the action does not fit the image.
            OSError: it could not be written; then nothing of it counts.
        """
        if isinstance(action, Stroke):
            return self._append({"do": "stroke", **message_of(action)})
        return self._append({"do": "paste", "layer": action.layer, "mask": encode(action.mask)})

    def step(self, step: Step) -> Journal:
        """The journal with one more undo or redo; the same where there is nothing to do."""
        return self._append({"do": step})

    def _append(self, entry: Entry) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=WAIT):
            now = self
            if not self.path.is_file() or self.path.stat().st_size != self.length:
                now = Journal.read(self.path, self.image, self.drawing.size)
            drawing = _do(now.drawing, entry)
            if drawing is now.drawing:  # nothing to undo or redo
                return now
            height, width = drawing.size
            opening = {"do": "open", "version": VERSION, "image": self.image,
                       "height": height, "width": width}  # fmt: skip
            lines = [entry] if now.length else [opening, entry]
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            _write(self.path, text.encode(), after=now.length)
            return replace(now, drawing=drawing, length=now.length + len(text), note="")

    def _header(self, entry: Entry) -> Drawing:
        kinds = {"do": str, "version": int, "image": str, "height": int, "width": int}
        checked(entry, kinds, "its opening")
        size = entry["height"], entry["width"]
        found = entry["do"], entry["version"], entry["image"]
        if found != ("open", VERSION, self.image):
            raise ValueError(f"it must open the journal of {self.image!r}, got {shown(found)}")
        if size != self.drawing.size:
            raise ValueError(
                f"{self.image} must be of the size that was annotated, {size}, "
                f"got {self.drawing.size}; put the old image back, or remove {self.path.name}"
            )
        return self.drawing


def mask_of(runs: object, size: tuple[int, int], where: str) -> Mask:
    """Bool ``(H, W)`` of run lengths or polygons as COCO has them, with every field checked.

    Raises:
        ValueError: broken, or of another size.
    """
    picture = Picture(0, where, size[1], size[0], {})
    return union_mask(Annotated(picture, 0, [{"id": 0, "segmentation": runs}]))


def _do(drawing: Drawing, entry: Entry) -> Drawing:
    """The drawing after one line of the journal."""
    match entry.get("do"):
        case "stroke":
            return drawing.add(stroke_from(entry))
        case "paste":
            mask = mask_of(entry.get("mask"), drawing.size, "mask")
            return drawing.add(Paste(checked_layer(entry.get("layer")), mask))
        case "undo":
            return drawing.undo()
        case "redo":
            return drawing.redo()
        case other:
            raise ValueError(
                f"action must have do: stroke, paste, undo or redo, got {shown(other)}"
            )


def _entries(whole: bytes, name: str) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"line {number} of {name} must be JSON, got: {error}; the journal was changed by "
                "something else: put it back from a copy, or remove it to start this image anew"
            ) from error
        yield number, checked(entry, {"do": str}, f"line {number} of {name}")


def _write(path: Path, content: bytes, *, after: int) -> None:
    """Put whole lines behind the first ``after`` bytes, on the disk; after an error, nothing."""
    is_new = not path.exists()
    with path.open("xb" if is_new else "r+b", buffering=0) as file:
        file.truncate(after)  # a half-written line goes
        file.seek(after)
        try:
            if file.write(content) != len(content):
                raise OSError(f"{path.name} must be written whole, got a part; is the disk full?")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(after)
            raise
    if is_new and hasattr(os, "O_DIRECTORY"):  # or a power cut could take the file itself
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
