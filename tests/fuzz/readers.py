"""The readers of what comes from outside, each as a function of bytes, with what must hold.

The first byte of an input chooses among the forms that a reader takes, so that one fuzzer reaches
all of them, a compressed one from within too. A form returns normally, or raises AssertionError.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml
from guard import watched

from xblcore import config
from xblcore.datasets import cifar10, coco_2014, fashion_mnist
from xblcore.datasets.coco_format import Picture, read_instances
from xblcore.datasets.coco_pixels import read_image, union_mask
from xblcore.experiments import settings as experiments
from xblcore.pipeline import decoy
from xblcore.widgets import exchange
from xblcore.widgets.folder import ImageFolder
from xblcore.widgets.journal import Journal

Form = Callable[[bytes], None]

ROOT = Path(__file__).parents[2]
MOST_SAID = 20_000  # characters of a message: a value is not repeated without end
TASK = "decoy_coco"  # of params.yaml, the one with the most settings

# Removed when the process ends. All that a reader may touch lies below it.
_FOLDER = tempfile.TemporaryDirectory(prefix="xbl-fuzz-")
HERE = Path(_FOLDER.name).resolve()
_refusals: list[str] = []


def read(reader: str, content: bytes) -> list[str]:
    """Give an input to a reader; what it was refused with, nothing if it was read.

    Raises:
        AssertionError: something other than a value or an error of ours came of it.
    """
    forms = READERS[reader]
    _refusals.clear()
    with watched(HERE):
        forms[(content[0] if content else 0) % len(forms)](content[1:])
    return [*_refusals]


@contextlib.contextmanager
def ours(*names: str) -> Iterator[None]:
    """The block may raise our two kinds of error alone, with one of ``names`` in it."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert type(error) in (ValueError, FileNotFoundError), f"a raw {type(error)}: {said:.300}"
        assert any(name in said for name in names), f"must name {names}, got: {said:.300}"
        assert len(said) <= MOST_SAID, f"a message of {len(said)} characters: {said:.300}"
        _refusals.append(said)


# --- Fashion-MNIST -------------------------------------------------------------------------------


def idx_unpacked(content: bytes) -> None:
    idx_packed(gzip.compress(content, 1, mtime=0))


def idx_packed(content: bytes) -> None:
    for ndim in (1, 3):
        with ours("x.gz"):
            array = fashion_mnist.read_idx(content, name="x.gz", ndim=ndim)
            assert array.dtype == np.uint8 and array.ndim == ndim


# --- CIFAR-10 ------------------------------------------------------------------------------------


def cifar_batch(content: bytes) -> None:
    with ours("batch x"):
        images, labels = cifar10.read_batch(content, name="batch x")
        assert images.shape == (len(labels), 32, 32, 3) and images.dtype == np.uint8
        assert ((labels >= 0) & (labels < 10)).all()


def cifar_tar(content: bytes) -> None:
    cifar_archive(gzip.compress(content, 1, mtime=0))


def cifar_archive(content: bytes) -> None:
    with ours("x.tar.gz"):
        (found,) = cifar10.read_members(content, cifar10.TEST, name="x.tar.gz")
        assert isinstance(found, bytes) and len(found) <= cifar10.MOST_BYTES


# --- MS-COCO -------------------------------------------------------------------------------------


def coco_annotations(content: bytes) -> None:
    images = []
    with ours("x.json"):
        images = read_instances(content, name="x.json", categories=coco_2014.CATEGORIES)
    for image in images[:20]:
        picture = image.picture
        assert Path(picture.file_name).name == picture.file_name
        assert np.array([picture.id], np.int64)[0] == picture.id
        with ours(picture.file_name):
            assert union_mask(image).shape == (picture.height, picture.width)


def coco_image(content: bytes) -> None:
    with ours("a.jpg"):
        image = read_image(content, Picture(1, "a.jpg", 8, 6, {}))
        assert image.size == (8, 6) and image.mode == "RGB"


def coco_archive(content: bytes) -> None:
    member = "annotations/instances_val2014.json"
    with ours("x.zip", member):
        assert isinstance(coco_2014.read_member(content, member, name="x.zip"), bytes)


# --- masks of the annotator ----------------------------------------------------------------------

SIZES = {"a.png": (6, 8), "cat/b.png": (3, 5)}


def below(*names: str) -> Path:
    folder = HERE.joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def masks_png(content: bytes) -> None:
    folder = below("masks")
    (below("masks", "wrong") / "a.png.png").write_bytes(content)
    with ours("wrong/a.png.png"):
        ((_, mask),) = exchange.read_png(folder, SIZES).items()
        assert mask.shape == SIZES["a.png"] and mask.dtype == bool


def masks_coco(content: bytes) -> None:
    path = HERE / "masks.json"
    path.write_bytes(content)
    with ours("masks.json"):
        for (name, layer), mask in exchange.read_coco(path, SIZES).items():
            assert mask.shape == SIZES[name] and layer in ("wrong", "object")


def masks_journal(content: bytes) -> None:
    path = HERE / "a.png.jsonl"
    path.write_bytes(content)
    with ours("a.png.jsonl"):
        journal = Journal.read(path, "a.png", SIZES["a.png"])
        assert journal.drawing.mask("wrong").shape == SIZES["a.png"]


def masks_images(content: bytes) -> None:
    folder = below("images")
    (folder / "a.png").write_bytes(content)
    (folder / "b.png").write_bytes(_GOOD)
    images = ImageFolder.open(folder)  # what it cannot read is no error, but noted
    for name in images.sizes:
        with ours(name):
            assert images.read(name).shape == (*images.sizes[name], 3)


_GOOD = bytes.fromhex(  # one grey pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6368000000820081779cf5d80000000049454e44ae426082"
)

# --- settings ------------------------------------------------------------------------------------


def small_params() -> bytes:
    """params.yaml with one task and profile alone, a tenth of its size."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    profile, setup = "smoke", params["setup"][TASK]
    setup["weights"] = {"erm": [0], "xbl_d": [1, 10.5]}
    setup["profiles"] = {profile: setup["profiles"][profile]}
    params |= {
        "profile": profile, "tasks": [TASK], "methods": ["erm", "xbl_d"], "setup": {TASK: setup},
        "profiles": {profile: params["profiles"][profile]},
    }  # fmt: skip
    return yaml.safe_dump(params, sort_keys=False).encode()


PARAMS = small_params()


def params_study(content: bytes) -> None:
    folder = below("params")
    (folder / "dvc.yaml").touch()
    (folder / "params.yaml").write_bytes(content)
    # Words that each message about a value begins with, where it does not name the file.
    with ours("params.yaml", " must "), contextlib.chdir(folder):
        chosen = config.load().task(TASK)
        assert math.isfinite(chosen.learning_rate) and math.isfinite(chosen.ramp_epochs)
        assert all(math.isfinite(w) for weights in chosen.weights.values() for w in weights)
        assert isinstance(decoy.settings(TASK).decoy.size, int)


def params_experiments(content: bytes) -> None:
    folder = below("settings")
    (folder / "params.yaml").write_bytes(PARAMS)
    (below("settings", "experiments") / "settings.yaml").write_bytes(content)
    with ours("settings.yaml", " must "):
        experiments.load(folder).task_config(folder)


READERS: dict[str, tuple[Form, ...]] = {
    "idx": (idx_unpacked, idx_packed),
    "cifar": (cifar_batch, cifar_tar, cifar_archive),
    "coco": (coco_annotations, coco_image, coco_archive),
    "masks": (masks_png, masks_coco, masks_journal, masks_images),
    "params": (params_study, params_experiments),
}
