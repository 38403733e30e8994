"""What a task is built with: counts, seed, decoy, and which data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

DataKind = Literal["original", "stand-in"]


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
        if "size" not in settings or not set(settings) <= set(names):
            raise ValueError(
                f"decoy must have the key size and no other than {', '.join(names)}, "
                f"got {', '.join(settings) or 'none'}"
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

    Raises:
        ValueError: a count, seed or choice outside its range.
    """

    n_train: int
    n_val: int
    n_test: int
    seed: int
    decoy: DecoyConfig
    data: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("n_train", 1), ("n_val", 1), ("n_test", 1), ("seed", 0)):
            _check_integer(name, getattr(self, name), least)
        _check_choice("data", self.data, ("auto", "original", "stand-in"))


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
