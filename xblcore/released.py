"""The arithmetic of the authors' released scripts, reproduced as it stands.

Read from the public TensorFlow code of Hagos et al. (github.com/Msgun/XBL-D): the training loss is
``2.7 * CE + 0.1 * mean d``. Here ``d`` is rebuilt step by step so that it can be studied. It is
made of *indices*, and an index has no derivative: ``d`` changes the value of the loss and never a
weight.
This is a statement about the released code alone, not about the paper's results.
"""

from __future__ import annotations

import torch
from torch import Tensor

CE_WEIGHT = 2.7
DISTANCE_WEIGHT = 0.1


def guided_grad_cam(features: Tensor, probabilities: Tensor) -> Tensor:
    """Grad-CAM with guided channel weights ``mean_uv 1[A > 0] 1[g > 0] g``, of a softmax output.

    Args:
        features: ``(N, K, h, w)``, ``A``.
        probabilities: ``(N,)`` softmax output of the class to explain.

    Returns:
        ``(N, h, w)``, signed, with a graph: up to here the released loss could still be trained.
    """
    (gradient,) = torch.autograd.grad(probabilities.sum(), features, create_graph=True)
    guided = gradient * (features > 0) * (gradient > 0)
    weights = guided.mean((2, 3), keepdim=True)  # (N, K, 1, 1)
    return (weights * features).sum(1)  # (N, h, w)


def object_edges(object_mask: Tensor) -> Tensor:
    """Edges of the object as the released scripts find them, along the flattened grid.

    They hand the *flattened* mask to OpenCV's Canny detector, which takes it for an image one pixel
    wide. Its gradient is then ``|m[i+1] - m[i-1]|`` and its thinning keeps ``i`` if the gradient
    there exceeds that at ``i - 1`` and is at least that at ``i + 1``.

    Args:
        object_mask: bool ``(N, h, w)``.

    Returns:
        bool ``(N, h * w)``.

    >>> object_edges(torch.tensor([[[False, False, True, True, True, False, False]]])).int()
    tensor([[0, 1, 0, 0, 1, 0, 0]], dtype=torch.int32)
    """
    mask = object_mask.flatten(1).float()
    padded = torch.nn.functional.pad(mask[:, None], (1, 1), mode="replicate")[:, 0]
    gradient = (padded[:, 2:] - padded[:, :-2]).abs()
    around = torch.nn.functional.pad(gradient, (1, 1))
    return (gradient > around[:, :-2]) & (gradient >= around[:, 2:])


def index_distance(cam: Tensor, decoy_mask: Tensor, object_mask: Tensor) -> Tensor:
    """The released ``d``: half the summed flat distances of the overlap's two ends to the object.

    The ends are the first and the last flat index at which ``relu(cam) * decoy_mask > 0``; each
    distance is to the nearest index of :func:`object_edges`, in cells *along the flattened grid*:
    on 14x14, vertical neighbours are 14 apart, a row's end and the next row's start 1.

    Args:
        cam: ``(N, h, w)``, signed.
        decoy_mask: bool ``(N, h, w)``.
        object_mask: bool ``(N, h, w)``.

    Returns:
        ``(N,)``, 0 where nothing overlaps or the object has no edge; never part of a graph.

    >>> row = lambda *cells: torch.tensor([[cells]])
    >>> index_distance(row(1.0, 2.0, 0.0, 0.0, 0.0), row(True, True, False, False, False),
    ...                row(False, False, False, False, True))
    tensor([2.5000])
    """
    for name, mask in (("decoy_mask", decoy_mask), ("object_mask", object_mask)):
        if mask.shape != cam.shape:
            raise ValueError(f"{name} must have shape {tuple(cam.shape)}, got {tuple(mask.shape)}")
    cells = cam[0].numel()
    index = torch.arange(cells, device=cam.device, dtype=cam.dtype)
    overlap = ((cam.relu() * decoy_mask) > 0).flatten(1)  # (N, h * w)
    first = torch.where(overlap, index, cells).amin(1)
    last = torch.where(overlap, index, -1).amax(1)
    edges = object_edges(object_mask)
    to_edge = [
        torch.where(edges, (index - end[:, None]).abs(), torch.inf).amin(1) for end in (first, last)
    ]
    defined = overlap.any(1) & edges.any(1)
    return torch.where(defined, (to_edge[0] + to_edge[1]) / 2, 0.0)


def xbl_d_released(
    features: Tensor, logits: Tensor, labels: Tensor, decoy_mask: Tensor, object_mask: Tensor
) -> Tensor:
    """Mean released ``d`` of a batch, of the true class's softmax output.

    Unlike the released scripts, which look the object's edges up by the position in the shuffled
    batch, every image meets its own annotation here.

    Args:
        features: ``(N, K, h, w)``.
        logits: ``(N, C)``, computed from ``features``.
        labels: ``(N,)``.
        decoy_mask: bool ``(N, h, w)``.
        object_mask: bool ``(N, h, w)``.

    Returns:
        Scalar, to be weighted by ``DISTANCE_WEIGHT`` beside ``CE_WEIGHT * CE``.
    """
    probabilities = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    cam = guided_grad_cam(features, probabilities)
    return index_distance(cam, decoy_mask, object_mask).mean()
