"""A refined model, and what refining changed on the images that were marked."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from xblcore import metrics
from xblcore.distance import to_grid
from xblcore.plots.before_after import before_and_after
from xblcore.train import EpochLog
from xblcore.widgets.marked import MarkedImages
from xblcore.widgets.strokes import checked_layer

MOST = 8  # images of the picture


@dataclass(frozen=True, eq=False)
class Refined:
    """What :func:`~xblcore.widgets.refining.refine` returns; a notebook shows its picture.

    Attributes:
        model: the refined copy, in eval mode.
        log: one entry an epoch; its penalty counts a batch without a marked image as 0.
        layer: name of the explained layer.
        marked: the ``M`` marked images.
        before, after: CAMs ``(M, h, w)`` of their own classes, at least 0, on the CPU.
        predicted_before, predicted_after: classes ``(M,)``, on the CPU.
    """

    model: nn.Module
    log: list[EpochLog]
    layer: str
    marked: MarkedImages
    before: Tensor
    after: Tensor
    predicted_before: Tensor
    predicted_after: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the marked images."""
        return self.marked.names

    def shares(self, layer: str) -> tuple[float, float]:
        """Mean share of the attribution in the cells marked on a layer, before and after.

        Both are means over the same images: one whose CAM is dead before or after counts in
        neither, see :meth:`left_out`.

        Args:
            layer: ``wrong``, where less is better, or ``object``, where more is.

        Returns:
            Two numbers in [0, 1]; NaN where nothing was marked on it.

        Raises:
            ValueError: another layer.
        """
        shares, _ = self._on(layer)
        before, after = shares[:, ~shares.isnan().any(0)].mean(1).tolist()
        return before, after

    def left_out(self, layer: str) -> int:
        """How many of the images marked on a layer have a dead CAM before or after."""
        shares, marked = self._on(layer)
        return int((shares.isnan().any(0) & marked).sum())

    def _on(self, layer: str) -> tuple[Tensor, Tensor]:
        """Shares ``(2, M)`` before and after, and which images are marked on the layer."""
        marks = {"wrong": self.marked.decoy_mask, "object": self.marked.object_mask}
        grid = (self.before.shape[1], self.before.shape[2])
        cells = torch.from_numpy(to_grid(marks[checked_layer(layer)], grid))
        cams = (self.before, self.after)
        shares = torch.stack([metrics.energy_pointing_game(cam, cells) for cam in cams])
        return shares, cells.flatten(1).any(1)

    def __str__(self) -> str:
        """Before and after, in words."""
        labels = self.marked.labels.cpu()
        parts = [f"{len(labels)} marked images"]
        for layer in ("wrong", "object"):
            before, after = self.shares(layer)
            dead = self.left_out(layer)
            share = f"share of the attribution on what was marked {layer}"
            if not np.isnan(before):
                without = f" (without {dead} whose CAM is dead before or after)" if dead else ""
                parts.append(f"{share}: {before:.2f} before, {after:.2f} after{without}")
            elif dead:
                parts.append(f"{share}: undefined, all {dead} have a CAM that is dead")
        right = [int((found == labels).sum()) for found in
                 (self.predicted_before, self.predicted_after)]  # fmt: skip
        parts.append(f"classes right: {right[0]} before, {right[1]} after")
        return "; ".join(parts)

    def picture(self, count: int = MOST) -> Figure:
        """Some marked images, what the model looked at before, and what it looks at now.

        Args:
            count: of the images, spread evenly over all that are marked.
        """
        spread = torch.linspace(0, len(self.names) - 1, min(count, len(self.names)))
        few = spread.round().long()
        images = self.marked.take(few)
        return before_and_after(
            Figure(figsize=(9.5, 4), layout="constrained"),
            images.images.cpu().numpy(),
            self.before[few].numpy(),
            self.after[few].numpy(),
            object_mask=images.object_mask,
            decoy_mask=images.decoy_mask,
            truth=[images.class_name(n) for n in images.labels.tolist()],
            predictions=(
                [images.class_name(n) for n in self.predicted_before[few].tolist()],
                [images.class_name(n) for n in self.predicted_after[few].tolist()],
            ),
        )

    def _repr_html_(self) -> str:
        """The picture with its text, for a notebook."""
        content = io.BytesIO()
        self.picture().savefig(content, format="png", dpi=100)
        data = base64.b64encode(content.getvalue()).decode()
        text = html.escape(str(self))
        return (
            f'<figure class="xbl-refined" style="margin: 0"><img style="max-width: 100%" '
            f'alt="Before and after refining. {text}" src="data:image/png;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
