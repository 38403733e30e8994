"""Annotations of a folder of images, on the disk as they are made.

A drawing belongs to an image by its name, never by its position in a list. Every finished stroke,
undo and redo is in the image's journal before it counts (:mod:`xblcore.widgets.journal`), so a
killed kernel loses nothing, and opening the folder again gives the same state, undo and redo
included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xblcore.decoys import Pixels
from xblcore.widgets import exchange
from xblcore.widgets.drawing import Action, Drawing, Paste
from xblcore.widgets.exported import Exported
from xblcore.widgets.folder import JOURNAL, ImageFolder
from xblcore.widgets.journal import Journal, Step
from xblcore.widgets.strokes import LAYERS, Layer, Mask, checked_layer

FOLDER = "annotations"  # below the images, unless another is given
EXPORT, COCO = "export", "annotations.json"  # below that


class AnnotationStore:
    """The images of a folder and what was drawn on each.

    Args:
        images: folder of JPEG and PNG images, in folders by class or not.
        annotations: folder for the journals; None: ``annotations`` among the images. It is made
            with the first stroke.

    Attributes:
        images: the :class:`~xblcore.widgets.folder.ImageFolder`.
        home: folder of the journals.
        notes: what was ignored on opening: files that cannot be read, half-written lines.

    Raises:
        ValueError: no images, or a journal that does not belong to its image.

    >>> import tempfile
    >>> from xblcore.widgets.folder import write_images
    >>> from xblcore.widgets.strokes import Stroke
    >>> folder = write_images(tempfile.mkdtemp(), {"a.png": np.zeros((5, 5, 3), np.uint8)})
    >>> store = AnnotationStore(folder)
    >>> store.add("a.png", Stroke("wrong", "brush", 2.0, ((2.5, 2.5),)))
    >>> int(AnnotationStore(folder).mask("a.png", "wrong").sum())  # opened anew
    13
    """

    def __init__(self, images: str | Path, annotations: str | Path | None = None) -> None:
        home = Path(images) / FOLDER if annotations is None else Path(annotations)
        self.home = home
        self.images = ImageFolder.open(images, without=home)
        self.notes = [f"{name}: {why}" for name, why in self.images.unreadable.items()]
        self._journals: dict[str, Journal] = {}
        self._empty: dict[str, bool] = {}
        for name, size in self.images.sizes.items():
            path = home / JOURNAL / f"{name}.jsonl"
            self._keep(Journal.read(path, name, size))
            if self._journals[name].note:
                self.notes.append(self._journals[name].note)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all images, in order."""
        return tuple(self.images.sizes)

    @property
    def marked(self) -> tuple[str, ...]:
        """Names of the images with at least one pixel marked."""
        return tuple(name for name in self.names if not self._empty[name])

    def drawing(self, name: str) -> Drawing:
        """What was drawn on an image, with what can be done again."""
        return self._journals[self.images.checked(name)].drawing

    def mask(self, name: str, layer: Layer) -> Mask:
        """Pixels marked on a layer of an image, bool ``(H, W)``."""
        return self.drawing(name).mask(layer)

    def pixels(self, name: str) -> Pixels:
        """The image itself, uint8 ``(H, W, 3)``."""
        return self.images.read(name)

    def add(self, name: str, action: Action) -> None:
        """Put a stroke, or a whole mask, on an image; on the disk when this returns.

        Raises:
            ValueError: unknown image, or an action that does not fit it; nothing is written.
            OSError: it could not be written, and does not count.
        """
        self._keep(self._journals[self.images.checked(name)].add(action))

    def undo(self, name: str) -> None:
        """Take back the latest action on an image; nothing happens where there is none."""
        self._step(name, "undo")

    def redo(self, name: str) -> None:
        """Do again what was undone last; nothing happens where there is none."""
        self._step(name, "redo")

    def clear(self, name: str, layer: Layer) -> None:
        """Empty a layer of an image, as one action that can be undone."""
        if self.mask(name, layer).any():
            self.add(name, Paste(checked_layer(layer), np.zeros(self.images.sizes[name], bool)))

    def export_png(self, folder: str | Path) -> list[Path]:
        """Write the masks as ``<layer>/<image name>.png``, 0 and 255, one an image and layer.

        Only images with a mark have files; those of images that have none any more are removed.
        A file is replaced or removed only if an earlier export wrote it or an import took it over,
        and it was not touched since: so masks can be exported, edited outside, imported and
        exported again, and one that was edited and not imported, or that is not this annotator's,
        is never lost. The rule is :class:`xblcore.widgets.exported.Exported`.

        Returns:
            The files that were written.

        Raises:
            ValueError: a folder among the images, where the masks would be taken for images; a file
                in the way that may not be replaced. Then nothing is written.
        """
        return self._export(Path(folder), exchange.png_files(self._masks()))

    def import_png(self, folder: str | Path) -> int:
        """Take over masks that lie as :meth:`export_png` writes them; each replaces its layer.

        Returns:
            How many masks were taken over.

        Raises:
            ValueError: no such folder, an unknown image, a file that leads out of the folder, is
                broken, of another size than its image or no mask. Then nothing is taken over.
        """
        masks = exchange.read_png(Path(folder), self.images.sizes)
        return self._take(masks, [Path(folder) / exchange.png_path(*key) for key in masks])

    def export_coco(self, path: str | Path) -> Path:
        """Write the masks as a COCO annotation file, categories ``object`` and ``wrong``.

        Raises:
            ValueError: a file is there that may not be replaced, see :meth:`export_png`.
        """
        path = Path(path)
        content = exchange.coco_file(self._masks(), self.images.sizes)
        return Exported(self.home).write(path.parent, {path.name: content})[0]

    def import_coco(self, path: str | Path) -> int:
        """Take over the masks of a COCO file with the categories ``object`` and ``wrong``.

        Several annotations of an image and a category are one mask together, and replace the layer.

        Returns:
            How many masks were taken over.

        Raises:
            ValueError: not such a file, an unknown image or category, a wrong size, a broken
                segmentation. Then nothing is taken over.
        """
        return self._take(exchange.read_coco(Path(path), self.images.sizes), [Path(path)])

    def export_all(self, folder: str | Path | None = None) -> Path:
        """Write the masks as PNG files and, beside them, as ``annotations.json`` for COCO's tools.

        Args:
            folder: as in :meth:`export_png`; None: ``export`` beside the journals.

        Returns:
            The folder.

        Raises:
            ValueError: as :meth:`export_png`; nothing is written.
        """
        out = self.home / EXPORT if folder is None else Path(folder)
        masks = self._masks()
        coco = exchange.coco_file(masks, self.images.sizes)
        self._export(out, exchange.png_files(masks) | {COCO: coco})
        return out

    def import_any(self, path: str | Path) -> int:
        """Take over the masks of a COCO file, or of a folder of PNG files.

        Returns:
            How many masks were taken over.

        Raises:
            ValueError: as :meth:`import_coco` and :meth:`import_png`.
        """
        return self.import_coco(path) if Path(path).suffix == ".json" else self.import_png(path)

    def _masks(self) -> dict[tuple[str, Layer], Mask]:
        return {(name, layer): self.mask(name, layer) for name in self.marked for layer in LAYERS}

    def _export(self, folder: Path, files: Mapping[str, bytes]) -> list[Path]:
        inside, out = self.images.root.resolve(), folder.resolve()
        if out.is_relative_to(inside) and not out.is_relative_to(self.home.resolve()):
            raise ValueError(f"folder must lie outside the images, or in {FOLDER}, got {folder}")
        paths = {exchange.png_path(name, layer) for name in self.names for layer in LAYERS}
        return Exported(self.home).write(folder, files, gone=sorted(paths - files.keys()))

    def _take(self, masks: Mapping[tuple[str, Layer], Mask], source: Sequence[Path]) -> int:
        for (name, layer), mask in masks.items():
            if not np.array_equal(mask, self.mask(name, layer)):
                self.add(name, Paste(layer, mask))
        Exported(self.home).take_over(source)
        return len(masks)

    def _step(self, name: str, step: Step) -> None:
        self._keep(self._journals[self.images.checked(name)].step(step))

    def _keep(self, journal: Journal) -> None:
        self._journals[journal.image] = journal
        self._empty[journal.image] = journal.drawing.is_empty
