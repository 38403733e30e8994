"""Images for training, of which a person has marked some: what :func:`refine` learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from xblcore.decoys import Mask
from xblcore.distance import distance_map, to_grid
from xblcore.methods import Annotations
from xblcore.widgets.folder import as_input
from xblcore.widgets.store import AnnotationStore


@dataclass(frozen=True, eq=False)
class MarkedImages:
    """Images, their classes, and what a person marked on some of them.

    Attributes:
        names: of the images, distinct.
        images: ``(N, C, H, W)`` in [0, 1].
        labels: ``(N,)`` integer classes.
        object_mask: bool ``(N, H, W)``; an image without a pixel set is "not marked".
        decoy_mask: bool ``(N, H, W)``, what was marked as wrong; likewise.
        classes: names of the classes; empty: they have none.

    Raises:
        ValueError: shapes or types that do not fit together, a name that is there twice.
    """

    names: tuple[str, ...]
    images: Tensor
    labels: Tensor
    object_mask: Mask
    decoy_mask: Mask
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or not len(self.images):
            raise ValueError(f"images must be (N, C, H, W), got {tuple(self.images.shape)}")
        count, _, height, width = self.images.shape
        if len(self.names) != count or len(set(self.names)) != count:
            raise ValueError(
                f"names must be {count} distinct ones, one an image, got {len(set(self.names))}"
            )
        if self.labels.shape != (count,) or self.labels.is_floating_point():
            raise ValueError(
                f"labels must be {count} integers, got {self.labels.dtype} of shape "
                f"{tuple(self.labels.shape)}"
            )
        for name in ("object_mask", "decoy_mask"):
            mask = getattr(self, name)
            if mask.dtype != np.bool_ or mask.shape != (count, height, width):
                raise ValueError(
                    f"{name} must be boolean {(count, height, width)}, got {mask.dtype} of shape "
                    f"{mask.shape}"
                )

    @classmethod
    def of(
        cls,
        store: AnnotationStore,
        *,
        size: tuple[int, int] | None = None,
        classes: Sequence[str] | None = None,
        labels: Mapping[str, int] | None = None,
        grey: bool = False,
    ) -> MarkedImages:
        """All images of a store at one size, with what was marked on them.

        A pixel of a smaller mask is marked if any pixel in it was.

        Args:
            store: images and annotations.
            size: height and width; None: that of the images, which must all be the same.
            classes: names of the folders in the order of the model's logits; None: sorted by name.
            labels: class of each image by name, instead of the folders.
            grey: one channel instead of three.

        Raises:
            ValueError: images of several sizes, a class or a label that is missing.
        """
        sizes = set(store.images.sizes.values())
        if size is None and len(sizes) > 1:
            raise ValueError(f"size must be given for images of {len(sizes)} sizes, got None")
        height, width = size or next(iter(sizes))
        known, found = list(classes or ()), labels
        if found is None:
            known, found = _labels(store, classes)
        missing = [name for name in store.names if name not in found]
        if missing:
            raise ValueError(f"labels must have all {len(store.names)} images, not {missing[0]!r}")
        images = torch.empty(len(store.names), 1 if grey else 3, height, width)
        masks = np.zeros((2, len(store.names), height, width), bool)
        marked = set(store.marked)
        for n, name in enumerate(store.names):
            images[n] = torch.from_numpy(as_input(store.pixels(name), (height, width), grey=grey))
            if name in marked:
                masks[0, n] = to_grid(store.mask(name, "object")[None], (height, width))[0]
                masks[1, n] = to_grid(store.mask(name, "wrong")[None], (height, width))[0]
        classes_of = torch.tensor([found[name] for name in store.names])
        return cls(store.names, images, classes_of, masks[0], masks[1], tuple(known))

    @property
    def marked(self) -> Tensor:
        """Positions of the images with a pixel marked on either layer, ``(M,)``, rising."""
        marks = self.object_mask | self.decoy_mask
        return torch.from_numpy(np.flatnonzero(marks.any(axis=(1, 2))))

    def take(self, index: Tensor) -> MarkedImages:
        """The images at ``index``, integers, in that order."""
        names = tuple(self.names[n] for n in index.tolist())
        at = index.numpy()
        return MarkedImages(
            names,
            self.images[index],
            self.labels[index],
            self.object_mask[at],
            self.decoy_mask[at],
            self.classes,
        )

    def class_name(self, label: int) -> str:
        """Name of a class, its number where it has none."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def on_grid(self, grid: tuple[int, int], *, margin: int = 1) -> Annotations:
        """The annotations as the losses take them; images that are not marked have NaN distances.

        Where only what is wrong was marked, the object is all cells more than ``margin`` away from
        it, what a person leaves who marks only that (as ``complement`` in
        :mod:`xblcore.datasets.annotation`). Where both layers overlap, wrong it is.

        Args:
            grid: height and width of the CAM.
            margin: cells around what is wrong, whose features still see it.

        Raises:
            ValueError: a negative margin, or an image on which nothing is left to be the object.
        """
        if margin < 0:
            raise ValueError(f"margin must be at least 0 cells, got {margin}")
        wrong = to_grid(self.decoy_mask, grid)
        objects = to_grid(self.object_mask & ~self.decoy_mask, grid)
        for n in self.marked.tolist():
            if not self.object_mask[n].any():
                objects[n] = complement(wrong[n], margin)
            if not objects[n].any():
                raise ValueError(
                    f"marks of {self.names[n]!r} must leave something for the object, got wrong "
                    f"marks all over it on a grid of {grid}; erase some, mark the object, or lower "
                    "the margin"
                )
        return Annotations(
            torch.from_numpy(objects),
            torch.from_numpy(wrong),
            torch.from_numpy(distance_map(objects)),
            torch.from_numpy(self.decoy_mask),
        )


def complement(wrong: Mask, margin: int) -> Mask:
    """All cells more than ``margin`` rows or columns away from what is wrong, bool ``(h, w)``.

    >>> complement(np.array([[True, False, False, False]]), 1).astype(int)
    array([[0, 0, 1, 1]])
    """
    grown = ndimage.maximum_filter(wrong, size=2 * margin + 1, mode="constant", cval=False)
    apart: Mask = ~grown
    return apart


def _labels(
    store: AnnotationStore, classes: Sequence[str] | None
) -> tuple[list[str], dict[str, int]]:
    """Names of the classes, and the class of each image, by the folder that it lies in."""
    folders = {name: store.images.class_of(name) for name in store.names}
    known = sorted(set(folders.values())) if classes is None else list(classes)
    if "" in known or len(known) < 2:
        raise ValueError(
            "images must lie in one folder a class, at least two, or have labels, got "
            f"{len(known)} folders; pass labels={{name: class, ...}}"
        )
    for name, folder in folders.items():
        if folder not in known:
            raise ValueError(f"classes must have the folder of {name!r}, got {known}")
    return known, {name: known.index(folder) for name, folder in folders.items()}
