"""Object annotations for images that come without object masks.

``complement``: all but the decoy and a margin, what a person leaves who marks only the wrong
region. ``centre``: what a segmentation finds that takes the object to be in the centre.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from skimage import segmentation

from xblcore import decoys
from xblcore.datasets.drawing import Drawn
from xblcore.datasets.settings import DataConfig

# Of the side of an image: the central square that is taken to be object, and the frame that is not.
CORE, FRAME = 1 / 4, 1 / 32
# How much a region prefers a compact shape to following the edges; 0 follows edges alone.
COMPACTNESS = 1.0


def annotated(split: Drawn, config: DataConfig) -> Drawn:
    """A split with object masks made up as ``config.annotation`` says.

    The same masks hold for a split's twins: on a clean image, where there is nothing wrong to mark,
    ``complement`` leaves out the place that the decoy was drawn for.

    Raises:
        ValueError: no kind of annotation was chosen; decoy and margin leave nothing of the image.
    """
    if config.annotation is None:
        raise ValueError(
            "annotation must be complement or centre for images without object masks, got None; "
            "set by_data.original.annotation in params.yaml"
        )
    if config.annotation == "centre":
        return replace(split, object_mask=centre_object(split.images))
    height, width = split.images.shape[1:3]
    size = split.decoy_size + config.margin
    if size >= min(height, width):
        raise ValueError(
            f"decoy size and margin must be below {min(height, width)} together, got {size}"
        )
    return replace(split, object_mask=~decoys.corner_mask(split.corners, (height, width), size))


def centre_object(images: decoys.Pixels) -> decoys.Mask:
    """Guess the object of each image: what belongs to its centre rather than to its frame.

    A compact watershed (Neubert and Protzel 2014) of the images' gradient, grown from a square in
    the centre and from the outermost pixels until the two meet. It needs no randomness and no
    training, and always includes that square and never the frame.

    Args:
        images: uint8 ``(N, H, W, C)``.

    Returns:
        bool ``(N, H, W)``.

    >>> image = np.zeros((1, 32, 32, 3), np.uint8)
    >>> image[:, 10:20, 8:24] = 200
    >>> int((centre_object(image) != (image[..., 0] > 0)).sum()) < 60  # of 160 pixels, by its rim
    True
    """
    height, width = images.shape[1:3]
    rows, columns = np.ogrid[:height, :width]
    from_edge = np.minimum(
        np.minimum(rows, height - 1 - rows) / height,
        np.minimum(columns, width - 1 - columns) / width,
    )  # (H, W)
    markers = np.where(from_edge < FRAME, 1, np.where(from_edge >= (1 - CORE) / 2, 2, 0))
    found = np.empty(images.shape[:3], bool)
    for n, image in enumerate(images):
        steepest = np.hypot(
            ndimage.sobel(image.astype(np.float32), axis=0),
            ndimage.sobel(image.astype(np.float32), axis=1),
        ).max(axis=2)  # (H, W)
        found[n] = segmentation.watershed(steepest, markers, compactness=COMPACTNESS) == 2  # type: ignore[no-untyped-call]
    return found
