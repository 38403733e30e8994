"""Images with labels and annotations, for data sets and batches."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from xblcore import distance


@dataclass(frozen=True, eq=False)
class Cells:
    """Annotations on the grid of a CAM.

    Attributes:
        object_mask: bool ``(N, h, w)``, cells of the object.
        decoy_mask: bool ``(N, h, w)``, cells that see the region marked as wrong.
        distance: float32 ``(N, h, w)``, distance to the nearest object cell in grid diagonals;
            NaN for images without any annotation.
    """

    object_mask: Tensor
    decoy_mask: Tensor
    distance: Tensor


@dataclass(frozen=True, eq=False)
class Examples:
    """Images with labels and masks.

    Attributes:
        images: uint8 ``(N, C, H, W)``, or floating point in [0, 1].
        labels: int64 ``(N,)``.
        object_mask: bool ``(N, H, W)``, pixels of the object; all False if not annotated.
        decoy_mask: the same for the region marked as wrong, usually a decoy.
        cells: the annotations on a CAM grid, see :meth:`on_grid`; None before that.

    >>> mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    >>> examples = Examples(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), mask, mask)
    >>> len(examples), examples.take(torch.tensor([1])).labels
    (2, tensor([1]))
    """

    images: Tensor
    labels: Tensor
    object_mask: Tensor
    decoy_mask: Tensor
    cells: Cells | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W), got shape {tuple(self.images.shape)}")
        count, _, height, width = self.images.shape
        shapes = {
            "labels": (count,), "object_mask": (count, height, width),
            "decoy_mask": (count, height, width),
        }  # fmt: skip
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} must have shape {shape} like images, got {found}")
        for name in ("object_mask", "decoy_mask"):
            dtype = getattr(self, name).dtype
            if dtype != torch.bool:
                raise ValueError(f"{name} must be boolean, got {dtype}; binarise it first")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> Examples:
        """Return the examples at ``index`` (integers, a bool mask or a slice), in that order."""
        return _map(self, lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Examples:
        """Return the examples on a device."""
        return _map(self, lambda tensor: tensor.to(device))

    def inputs(self) -> Tensor:
        """Return the images in [0, 1], ``(N, C, H, W)``: float32 if they are uint8."""
        return self.images.float() / 255 if self.images.dtype == torch.uint8 else self.images

    def on_grid(self, size: tuple[int, int], *, margin: int = 0) -> Examples:
        """Return the same examples with their annotations on a CAM grid.

        The wrong region is widened by ``margin`` pixels first: cells just outside of it still see
        it through their receptive field. Where only the wrong region is annotated, everything
        that does not see it counts as object.

        Args:
            size: ``(h, w)`` of the grid.
            margin: in pixels, usually ``receptive_field(...).margin``.
        """
        if margin < 0:
            raise ValueError(f"margin must be at least 0 pixels, got {margin}")
        wrong = distance.to_grid(distance.widen(self.decoy_mask.cpu().numpy(), margin), size)
        marked = distance.to_grid(self.object_mask.cpu().numpy(), size)
        only_wrong = ~marked.any((1, 2), keepdims=True) & wrong.any((1, 2), keepdims=True)
        marked |= only_wrong & ~wrong
        if covered := int((wrong.any((1, 2)) & ~marked.any((1, 2))).sum()):
            raise ValueError(
                f"margin must leave cells that do not see the wrong region, got {margin} pixels, "
                f"with which all cells of {covered} images see it; use a smaller margin=, for "
                "example receptive_field(..., share=0.9).margin, or annotate the object"
            )
        device = self.labels.device
        arrays = (marked, wrong, distance.distance_map(marked))
        return replace(self, cells=Cells(*(torch.from_numpy(array).to(device) for array in arrays)))


def _map(value: Any, function: Any) -> Any:
    """Apply a function to every tensor of :class:`Examples` or :class:`Cells`."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    return replace(
        value, **{field.name: _map(getattr(value, field.name), function) for field in fields(value)}
    )
