"""One split of a task: images, labels, and where the object and the decoy are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split with everything that is known of them.

    Attributes:
        images: float32 ``(N, C, H, W)`` in [0, 1].
        labels: int64 ``(N,)``.
        object_mask: bool ``(N, H, W)``, the pixels that should matter.
        decoy_mask: bool ``(N, H, W)``, the pixels of the decoy; all False where there is none.

    Raises:
        ValueError: shapes that do not fit each other.

    >>> mask = np.zeros((2, 4, 4), bool)
    >>> split = Split(np.zeros((2, 1, 4, 4), np.float32), np.array([0, 1]), mask, mask)
    >>> len(split), split.take([1]).labels.tolist()
    (2, [1])
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    object_mask: npt.NDArray[np.bool_]
    decoy_mask: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W), got shape {self.images.shape}")
        count, _, height, width = self.images.shape
        for name, expected in (
            ("labels", (count,)),
            ("object_mask", (count, height, width)),
            ("decoy_mask", (count, height, width)),
        ):
            shape = getattr(self, name).shape
            if shape != expected:
                raise ValueError(f"{name} must have shape {expected} like images, got {shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.ArrayLike | slice) -> Split:
        """The images at ``indices`` (integers, a slice or a bool mask), in that order."""
        index = indices if isinstance(indices, slice) else np.asarray(indices)
        return Split(
            self.images[index], self.labels[index], self.object_mask[index], self.decoy_mask[index]
        )
