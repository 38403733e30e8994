"""Annotation files in the format of MS-COCO, read with every field checked.

Source: Lin et al. 2014, "Microsoft COCO"; cocodataset.org/#format-data. What is read may come from
anywhere, so nothing in it is trusted: neither ids nor sizes nor file names.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Entry = dict[str, Any]  # what json.loads gives

# COCO's own images have at most 640 pixels a side.
MOST_SIDE = 2048
MOST_ID = 2**63 - 1  # what an int64 holds
# No folder, no hidden file, one of the two formats that are read.
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.(jpg|jpeg|png)")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of an annotation file.

    Attributes:
        id: distinct within the file.
        file_name: without a folder.
        width, height: in pixels.
        entry: as the file has it.
    """

    id: int
    file_name: str
    width: int
    height: int
    entry: Entry

    @classmethod
    def of(cls, entry: object, where: str) -> Picture:
        """From an entry of ``images``; ``where`` it stands, for error messages.

        Raises:
            ValueError: a field that is missing, of the wrong type or outside its range.
        """
        values = checked(entry, {"id": int, "file_name": str, "width": int, "height": int}, where)
        for key, least, most in (("width", 1, MOST_SIDE), ("height", 1, MOST_SIDE),
                                 ("id", 0, MOST_ID)):  # fmt: skip
            if not least <= values[key] <= most:
                got = reprlib.repr(values[key])
                raise ValueError(f"{key} of {where} must be in [{least}, {most}], got {got}")
        if not FILE_NAME.fullmatch(values["file_name"]):
            raise ValueError(
                f"file_name of {where} must be a plain name that ends in .jpg, .jpeg or .png, "
                f"got {reprlib.repr(values['file_name'])}"
            )
        return cls(values["id"], values["file_name"], values["width"], values["height"], values)


@dataclass(frozen=True, eq=False)
class Annotated:
    """A picture and its instances of one category.

    Attributes:
        picture: the image.
        label: position of the category among those that were asked for.
        instances: its annotations of that category as the file has them.
    """

    picture: Picture
    label: int
    instances: list[Entry]


def read_instances(content: bytes, *, name: str, categories: Sequence[int]) -> list[Annotated]:
    """Images that show exactly one of some categories; those that show several are left out.

    Args:
        content: of the annotation file, JSON.
        name: of the file, for error messages.
        categories: ids; their order numbers the labels.

    Returns:
        The images in the order of their ids, each with its own annotations, found by image id.

    Raises:
        ValueError: not JSON, a field that is missing or of the wrong type, an image id that is
            there twice or nowhere, a file name that is a path.
    """
    document = checked(
        _parsed(content, name, categories), {"images": list, "annotations": list}, name
    )
    pictures: dict[int, Picture] = {}
    for position, entry in enumerate(document["images"]):
        picture = Picture.of(entry, f"images[{position}] of {name}")
        if picture.id in pictures:
            raise ValueError(f"ids of images in {name} must be distinct, got {picture.id} again")
        pictures[picture.id] = picture
    instances: dict[int, list[Entry]] = {}
    for position, entry in enumerate(document["annotations"]):
        if entry is None:  # of another category
            continue
        where = f"annotations[{position}] of {name}"
        annotation = checked(entry, {"id": int, "image_id": int, "category_id": int}, where)
        if annotation["image_id"] not in pictures:
            raise ValueError(
                f"image_id of {where} must be the id of an image, got {annotation['image_id']}"
            )
        instances.setdefault(annotation["image_id"], []).append(annotation)
    found = []
    for image_id, shown in sorted(instances.items()):
        labels = {categories.index(annotation["category_id"]) for annotation in shown}
        if len(labels) == 1:
            found.append(Annotated(pictures[image_id], labels.pop(), shown))
    return found


def dump(images: Sequence[Annotated], categories: Sequence[Entry]) -> bytes:
    """An annotation file of these images, which :func:`read_instances` reads again.

    Args:
        images: with their instances.
        categories: entries with at least ``id`` and ``name``.
    """
    document = {
        "images": [image.picture.entry for image in images],
        "annotations": [instance for image in images for instance in image.instances],
        "categories": list(categories),
    }
    return json.dumps(document).encode()


def checked(entry: object, fields: dict[str, type], where: str) -> Entry:
    """``entry`` if it is a mapping that has all ``fields``, each of its type.

    Raises:
        ValueError: it is not.

    >>> checked({"id": 3}, {"id": int, "width": int}, "images[0] of instances.json")
    Traceback (most recent call last):
    ValueError: images[0] of instances.json must have the field 'width', got only ['id']
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a mapping, got {type(entry).__name__}")
    for key, kind in fields.items():
        if key not in entry:
            names = reprlib.repr(sorted(map(str, entry)))
            raise ValueError(f"{where} must have the field {key!r}, got only {names}")
        if type(entry[key]) is not kind:
            raise ValueError(
                f"{key} of {where} must be of type {kind.__name__}, got {reprlib.repr(entry[key])}"
            )
    return entry


def _parsed(content: bytes, name: str, categories: Sequence[int]) -> object:
    def only_wanted(entry: Entry) -> Entry | None:
        # Most of a file are annotations of other categories; they would fill the memory.
        category = entry.get("category_id", categories[0])
        return None if type(category) is int and category not in categories else entry

    try:
        return json.loads(content, object_hook=only_wanted)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be a COCO annotation file, got: {error}") from error
