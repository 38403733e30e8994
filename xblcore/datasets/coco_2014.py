"""Train and zebra from MS-COCO 2014: the annotations, and only the images that are needed.

Source: Lin et al. 2014, "Microsoft COCO: Common Objects in Context".
"""

from __future__ import annotations

import io
import itertools
import logging
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from xblcore.datasets import coco
from xblcore.datasets.coco_format import Annotated, Picture, dump, read_instances
from xblcore.datasets.coco_pixels import read_image, resized_mask, union_mask
from xblcore.datasets.collection import Collection, write_manifest
from xblcore.datasets.download import DownloadError, Patience, download, reachable
from xblcore.datasets.drawing import Drawn
from xblcore.datasets.settings import DataConfig
from xblcore.datasets.sources import Source, read_verified
from xblcore.project import write_atomic

log = logging.getLogger(__name__)

CLASSES = ("train", "zebra")
CATEGORIES = (7, 24)

ARCHIVE = "annotations_trainval2014.zip"
MIRRORS = (
    "http://images.cocodataset.org/",
    "https://s3.amazonaws.com/images.cocodataset.org/",
)
SOURCE = Source(
    name="coco-2014-annotations",
    files={ARCHIVE: "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009"},
    mirrors=tuple(f"{mirror}annotations/" for mirror in MIRRORS),
)
# Our test images are COCO's validation images; those of its test set have no annotations.
FOLDERS = {"train": "train2014", "test": "val2014"}

# The annotations of the training images unpack to a third of this.
MOST_BYTES = 1 << 30
WORKERS = 16
# A broken image is asked for again, from all mirrors; then it is left out.
TRIES = 2


def decoy_coco(raw_root: Path, config: DataConfig) -> dict[str, Drawn]:
    """Decoy MS-COCO, train against zebra; see :func:`xblcore.datasets.coco.draw`."""
    return coco.draw(raw_root / COLLECTION.name, CATEGORIES, config)


def gather(raw_root: Path, config: DataConfig, progress: bool) -> None:
    """Fetch as many images of each class as the config asks for, and note which.

    They are the first of a shuffled list that can be used and had, so that a small profile's are
    among a large one's. What is there already and whole is not fetched again.

    Raises:
        ValueError: more images asked for than COCO has; the archive is not the original one.
        FileNotFoundError: not so many images are to be had; what arrived is kept.
    """
    folder, request = raw_root / COLLECTION.name, coco.request(config)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    packed = read_verified(SOURCE, raw_root, ARCHIVE)
    left_out: dict[str, str] = {}
    files = []
    for which, name in FOLDERS.items():
        member = f"annotations/instances_{name}.json"
        content = read_member(packed, member, name=ARCHIVE)
        images = read_instances(content, name=member, categories=CATEGORIES)
        chosen: list[Annotated] = []
        for label in range(len(CATEGORIES)):
            of_class = [image for image in images if image.label == label]
            order = np.random.default_rng([config.seed, 3, label]).permutation(len(of_class))
            chosen += _first_to_be_had(
                [of_class[n] for n in order],
                request["images_per_class"][which],
                folder / "images",
                [f"{mirror}{name}/" for mirror in MIRRORS],
                what=f"{CLASSES[label]} in {name}",
                size=request["image_size"],
                left_out=left_out,
                progress=progress,
            )
        with write_atomic(folder / coco.annotation_file(which)) as temporary:
            categories = zip(CATEGORIES, CLASSES, strict=True)
            entries = [{"id": category, "name": title} for category, title in categories]
            temporary.write_bytes(dump(chosen, entries))
        files += [coco.annotation_file(which)]
        files += [f"images/{image.picture.file_name}" for image in chosen]
    if left_out:
        reasons = "".join(f"\n  {name}: {why}" for name, why in left_out.items())
        log.warning("%d images were left out:%s", len(left_out), reasons)
    about = {"left_out": {"images": len(left_out), "why": left_out}}
    write_manifest(folder, request, about, files)


COLLECTION = Collection("coco-2014", coco.request, gather)


def read_member(packed: bytes, member: str, *, name: str) -> bytes:
    """Content of a member of a .zip archive.

    Raises:
        ValueError: not a whole archive, or one without this member, or with one that is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            about = archive.getinfo(member)
            size = about.file_size
            if size > MOST_BYTES:
                raise ValueError(f"{member} must be of at most {MOST_BYTES} bytes, got {size}")
            if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member} must be deflated, got method {about.compress_type}")
            with archive.open(about) as file:
                return file.read(size + 1)  # without a number, all that it unpacks to at first
    except KeyError as error:
        raise ValueError(f"{name} must hold {member}, got no such member") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{name} must be a whole .zip archive, got: {error}") from error


def _first_to_be_had(
    candidates: Sequence[Annotated],
    count: int,
    folder: Path,
    mirrors: Sequence[str],
    *,
    what: str,
    size: int,
    left_out: dict[str, str],
    progress: bool,
) -> list[Annotated]:
    """The first ``count`` candidates that are usable and arrive whole; notes the others."""
    if count > len(candidates):
        raise ValueError(
            f"images of {what} must be at most {len(candidates)}, got {count}; "
            "lower n_train, n_val or n_test"
        )
    usable = _usable(candidates, size, left_out)
    chosen: list[Annotated] = []
    while len(chosen) < count:
        asked = list(itertools.islice(usable, count - len(chosen)))
        if not asked:
            raise FileNotFoundError(
                f"images of {what} must be {count}, got {len(chosen)} that are whole; "
                "run this again, what has arrived is kept"
            )
        missing = fetch_images(asked, folder, mirrors, what=what, progress=progress)
        left_out |= missing
        chosen += [image for image in asked if image.picture.file_name not in missing]
    return chosen


def _usable(
    candidates: Sequence[Annotated], size: int, left_out: dict[str, str]
) -> Iterator[Annotated]:
    for image in candidates:
        try:
            visible = resized_mask(union_mask(image), size).any()
        except ValueError as error:
            left_out[image.picture.file_name] = str(error)
            continue
        if visible:
            yield image
        else:
            left_out[image.picture.file_name] = f"its object vanishes at {size}x{size}"


def fetch_images(
    images: Sequence[Annotated],
    folder: Path,
    mirrors: Sequence[str],
    *,
    what: str = "images",
    patience: float = 12.0,
    progress: bool = True,
) -> dict[str, str]:
    """Fetch images in parallel; each counts once it decodes and has its annotated size.

    Args:
        images: which.
        folder: where they go; those there already and whole are not fetched.
        mirrors: addresses that a file name is appended to, the preferred one first.
        what: they are, for the progress bar.
        patience: seconds without a byte of any image after which all are given up.
        progress: show a bar if the terminal is one.

    Returns:
        File name of each image that is not to be had, and why.

    Raises:
        FileNotFoundError: nothing came any more; what arrived is kept.
    """
    absent = [image.picture for image in images if not _is_whole(folder, image.picture)]
    if not absent:
        return {}
    first = absent[0].file_name
    bases = [url.removesuffix(first) for url in reachable([base + first for base in mirrors])]
    waiting = Patience(patience)

    def fetch(picture: Picture) -> str:
        target, why = folder / picture.file_name, "no mirror answers"
        urls = [base + target.name for base in bases]
        check = partial(_check, picture=picture)
        for _ in range(TRIES):
            try:
                download(urls, target, check=check, patience=waiting, attempts=4, progress=False)
            except DownloadError as error:
                why = str(error)
            else:
                return ""
        return why

    failures = {}
    with (
        ThreadPoolExecutor(WORKERS) as workers,
        tqdm(total=len(absent), desc=what, unit="image", disable=None if progress else True) as bar,
    ):
        for picture, why in zip(absent, workers.map(fetch, absent), strict=True):
            if why:
                failures[picture.file_name] = why
            bar.update()
    if failures and not (bases and waiting.left()):
        raise FileNotFoundError(
            f"{what} must come from one of {', '.join(mirrors)}, got nothing for {patience:g} s; "
            f"run this again, what has arrived is kept. One error: {next(iter(failures.values()))}"
        )
    return failures


def _is_whole(folder: Path, picture: Picture) -> bool:
    """Whether an image was fetched before; one that is broken is removed."""
    path = folder / picture.file_name
    try:
        _check(path, picture)
    except FileNotFoundError:
        return False
    except ValueError:
        path.unlink()
        return False
    return True


def _check(path: Path, picture: Picture) -> None:
    read_image(path.read_bytes(), picture)
