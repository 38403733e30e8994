"""What a task is built with: counts, seed, decoy, and which data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from xblcore.datasets.coco_format import MOST_SIDE

DataKind = Literal["original", "stand-in"]

# What may differ between the original data and the stand-in of one task.
BY_DATA = ("n_train", "n_val", "n_test", "decoy", "image_size", "annotation", "margin")


@dataclass(frozen=True)
class DecoyConfig:
    """What the decoy is like.

    Attributes:
        size: side of the patch in pixels.
        kind: ``predictive``: its value tells the class in train and val; ``released``: random
            there too, as in the authors' released COCO script.

    Raises:
        ValueError: a size or kind outside its range.
    """

    size: int
    kind: str = "predictive"

    def __post_init__(self) -> None:
        _check_integer("decoy size", self.size, 1)
        _check_choice("decoy kind", self.kind, ("predictive", "released"))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> DecoyConfig:
        """From the mapping in ``params.yaml``.

        Raises:
            ValueError: an unknown key, a size that is missing, a value outside its range.
        """
        names = [field.name for field in fields(cls)]
        keys = [*map(str, settings)] if isinstance(settings, Mapping) else []
        if "size" not in keys or not set(keys) <= set(names):
            raise ValueError(
                f"decoy must have the key size and no other than {', '.join(names)}, "
                f"got {', '.join(keys) or 'none'}"
            )
        return cls(**settings)


@dataclass(frozen=True)
class DataConfig:
    """What a task is built with.

    Attributes:
        n_train, n_val: images of these splits, from the source's training images.
        n_test: images of each of ``test_decoy`` and ``test_clean``, from the source's test images.
        seed: of the choice of images, corners and decoy values.
        decoy: what it is like.
        data: ``original``, ``stand-in``, or ``auto``: the original if it was fetched.
        image_size: side in pixels that images of any size are brought to; None where all are of
            one size and stay as they are.
        annotation: where a source has no object masks, how they are made up: ``complement`` or
            ``centre`` (:mod:`xblcore.datasets.annotation`); None where it has them.
        margin: of ``complement``, pixels around the decoy that are not object either.
        by_data: to ``original`` or ``stand-in``, the settings that differ there.

    Raises:
        ValueError: a count, seed or choice outside its range.
    """

    n_train: int
    n_val: int
    n_test: int
    seed: int
    decoy: DecoyConfig
    data: str = "auto"
    image_size: int | None = None
    annotation: str | None = None
    margin: int = 0
    by_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("n_train", 1), ("n_val", 1), ("n_test", 1), ("seed", 0),
                            ("margin", 0)):  # fmt: skip
            _check_integer(name, getattr(self, name), least)
        if self.image_size is not None:
            _check_integer("image_size", self.image_size, 1, MOST_SIDE)
        if self.annotation is not None:
            _check_choice("annotation", self.annotation, ("complement", "centre"))
        _check_choice("data", self.data, ("auto", "original", "stand-in"))
        for kind in self.by_data:
            self.of_kind(kind)

    def of_kind(self, kind: str) -> DataConfig:
        """The same for one kind of data alone, with the settings that ``by_data`` has for it.

        Raises:
            ValueError: no such kind, an unknown key, a value outside its range.

        >>> config = DataConfig(8, 4, 4, 0, DecoyConfig(4), by_data={"original": {"margin": 2}})
        >>> config.of_kind("original").margin, config.of_kind("stand-in").margin
        (2, 0)
        """
        _check_choice("by_data", kind, ("original", "stand-in"))
        own = dict(self.by_data.get(kind, {}))
        if not set(own) <= set(BY_DATA):
            raise ValueError(
                f"by_data of {kind} must have no other keys than {', '.join(BY_DATA)}, "
                f"got {', '.join(own)}"
            )
        if "decoy" in own:
            own["decoy"] = DecoyConfig.of(own["decoy"])
        return replace(self, data=kind, by_data={}, **own)


def _check_integer(name: str, value: object, least: int, most: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        limit = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"{name} must be an integer of at least {least}{limit}, got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
