"""Decoy CIFAR-10: the original archive, pickles that attack, the two kinds of annotation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import os
import pickle
import tarfile
import zlib

import archives
import numpy as np
import pytest
import serving
from hypothesis import given, settings
from hypothesis import strategies as st

from xblcore import datasets, decoys
from xblcore.datasets import annotation, cifar10, sources
from xblcore.datasets.download import download
from xblcore.datasets.settings import DataConfig, DecoyConfig
from xblcore.datasets.tasks import TASKS, Recipe
from xblcore.datasets.unpickle import byte_array, read_pickle

TASK = "decoy_cifar10"
CONFIG = DataConfig(
    n_train=80, n_val=40, n_test=12, seed=0, decoy=DecoyConfig(size=4), data="original",
    annotation="complement", margin=2,
)  # fmt: skip
ARCHIVE, BATCHES = archives.small()
bounded = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture
def server():
    with serving.running() as server:
        server.files[cifar10.ARCHIVE] = ARCHIVE
        yield server


@pytest.fixture
def raw_root(tmp_path, monkeypatch):
    """The small archive in place of the original one."""
    use_source(monkeypatch)
    (tmp_path / "cifar-10").mkdir()
    (tmp_path / "cifar-10" / cifar10.ARCHIVE).write_bytes(ARCHIVE)
    return tmp_path


def use_source(monkeypatch, *mirrors: str):
    """The task, its source the small archive on these mirrors, which are soon given up."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sources, "download", functools.partial(download, patience=2.0))
    sha256 = hashlib.sha256(ARCHIVE).hexdigest()
    source = dataclasses.replace(
        cifar10.SOURCE, files={cifar10.ARCHIVE: sha256}, mirrors=mirrors or ("http://127.0.0.1:1/",)
    )
    monkeypatch.setattr(cifar10, "SOURCE", source)
    recipe = dataclasses.replace(TASKS[TASK]["original"], sources=(source,))
    monkeypatch.setitem(TASKS, TASK, TASKS[TASK] | {"original": recipe})


# --- the archive ---------------------------------------------------------------------------------


def test_the_archives_of_the_tests_are_what_everyone_unpickles():
    """As the page of CIFAR-10 says to read them; here the pickle is our own."""
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE)) as tar:
        content = tar.extractfile("cifar-10-batches-py/data_batch_2").read()
    assert content.startswith(b"\x80\x02}q") and b"U\x06labels" in content
    loaded = pickle.loads(content, encoding="latin1")
    pixels, labels = BATCHES["data_batch_2"]
    assert (loaded["data"] == pixels).all() and loaded["labels"] == labels
    images, read = cifar10.read_batch(content, name="data_batch_2")
    assert read.tolist() == labels
    # Red, green and blue plane, each row by row.
    assert (images[3, 5, 7] == pixels[3, [5 * 32 + 7, 1024 + 5 * 32 + 7, 2048 + 5 * 32 + 7]]).all()


def test_the_pools_hold_every_image_once_in_the_original_order(raw_root):
    train, test = cifar10.read_pools(raw_root)
    pixels = np.concatenate([BATCHES[name][0] for name in archives.TOC])
    images = np.concatenate([train.images, test.images]).transpose(0, 3, 1, 2)
    assert (images.reshape(len(pixels), -1) == pixels).all()
    assert train.source.tolist() + test.source.tolist() == list(range(144))
    assert test.labels.tolist() == BATCHES["test_batch"][1]


@pytest.mark.parametrize(
    "scripts",
    [
        {"a": ["ok"]},
        {"a": ["404"], "b": ["ok"]},
        {"a": ["500", "ok"]},
        {"a": ["truncated", "ok"]},
        {"a": ["wrong"], "b": ["ok"]},
        {"a": ["stalls", "ok"]},
    ],
    ids=str,
)
def test_it_is_fetched_in_spite_of_failures_and_built(server, tmp_path, monkeypatch, scripts):
    use_source(monkeypatch, *(server.mirror(name, *script) for name, script in scripts.items()))
    raw = tmp_path / "raw"
    assert datasets.fetch_task(TASK, CONFIG, raw_root=raw, progress=False) == "original"
    assert sorted(os.listdir(raw / "cifar-10")) == [cifar10.ARCHIVE, "manifest.json"]
    datasets.build(TASK, CONFIG, raw_root=raw, out_root=tmp_path)
    split = datasets.load(TASK, split="train", root=tmp_path)
    assert split.images.shape == (80, 3, 32, 32)
    assert datasets.manifest(TASK, root=tmp_path)["data"] == "original"


def test_it_goes_on_where_a_killed_fetch_stopped(server, tmp_path, monkeypatch):
    use_source(monkeypatch, server.mirror("a", "ok"))
    (tmp_path / "cifar-10").mkdir()
    half = len(ARCHIVE) // 2
    (tmp_path / "cifar-10" / f"{cifar10.ARCHIVE}.part").write_bytes(ARCHIVE[:half])
    datasets.fetch_task(TASK, CONFIG, raw_root=tmp_path, progress=False)
    assert server.asked == [("a", f"bytes={half}-")]


def test_auto_without_a_network_is_the_stand_in_at_once(tmp_path, monkeypatch, caplog):
    use_source(monkeypatch)
    monkeypatch.setitem(
        TASKS, TASK, TASKS[TASK] | {"stand-in": Recipe(cifar10.decoy_cifar10, ("a",), ())}
    )
    monkeypatch.setattr(sources, "download", lambda *_, **__: pytest.fail("nobody has answered"))
    config = dataclasses.replace(CONFIG, data="auto")
    assert datasets.fetch_task(TASK, config, raw_root=tmp_path, progress=False) == "stand-in"
    assert "FALLING BACK TO THE STAND-IN" in caplog.text and "no answer" in caplog.text


def test_the_original_has_several_independent_mirrors():
    hosts = {mirror.split("/")[2] for mirror in cifar10.SOURCE.mirrors}
    assert len(hosts) == len(cifar10.SOURCE.mirrors) >= 2
    assert all(mirror.endswith("/") for mirror in cifar10.SOURCE.mirrors)


# --- archives and batches that are broken --------------------------------------------------------

ONE = archives.batch(*BATCHES["test_batch"])
NAME = "cifar-10-batches-py/test_batch"


def tar(*infos, compress=True):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz" if compress else "w") as archive:
        for info, content in infos:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def entry(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def announcing(size):
    """An archive whose one member says that it is of this size."""
    info = tarfile.TarInfo(NAME)
    info.size = size
    return zlib.compress(info.tobuf(tarfile.GNU_FORMAT), wbits=31)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "x must be a whole .tar.gz archive, got: "),
        (b"no archive", "x must be a whole .tar.gz archive, got: Not a gzipped file"),
        (tar(entry(NAME, ONE), compress=False), "x must be a whole .tar.gz archive, got: "),
        (ARCHIVE[: len(ARCHIVE) // 2], "x must be a whole .tar.gz archive, got: "),
        (tar(entry("readme.html")), f"x must hold {NAME}, got none"),
        (tar(entry("/etc/passwd", ONE)), f"x must hold {NAME}, got none"),
        (tar(entry(f"../{NAME}", ONE)), f"x must hold {NAME}, got none"),
        (
            tar(entry(NAME, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
            f"{NAME} in x must be one plain file, got another",
        ),
        (
            tar(entry(NAME, type=tarfile.LNKTYPE, linkname="secret")),
            f"{NAME} in x must be one plain file, got another",
        ),
        (tar(entry(NAME, type=tarfile.FIFOTYPE)), f"{NAME} in x must be one plain file"),
        (tar(entry(NAME, ONE), entry(NAME, ONE)), f"{NAME} in x must be one plain file"),
        (announcing(1 << 40), "x must hold at most 64 members of 67108864 bytes"),
        (tar(*[entry(f"{n}") for n in range(65)]), "x must hold at most 64 members"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time of day
)  # fmt: skip
def test_an_archive_that_is_broken_or_hostile(packed, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        cifar10.read_members(packed, [NAME], name="x")
    assert os.listdir(tmp_path) == [], "nothing is ever written"


PIXELS, LABELS = np.zeros((2, 3072), np.uint8), [0, 1]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (archives.dump([1]), "x must be a dict with data and labels, got list"),
        (archives.dump({"labels": LABELS}), "x must be a dict with data and labels, got dict"),
        (
            archives.dump({"data": "pixels", "labels": LABELS}),
            "data of x must be a two-dimensional NumPy array of unsigned bytes, .* got str",
        ),
        (
            archives.dump({"data": PIXELS.astype(np.uint16), "labels": LABELS}),
            "data of x must be a two-dimensional NumPy array of unsigned bytes, .* got Made",
        ),
        (
            archives.dump({"data": np.asfortranarray(PIXELS), "labels": LABELS}),
            "data of x must be a two-dimensional NumPy array .* rows first",
        ),
        (
            archives.dump({"data": PIXELS[:, :-1].copy(), "labels": LABELS}),
            r"data of x must have 3072 columns, got \(2, 3071\)",
        ),
        (
            archives.dump({"data": PIXELS, "labels": [1]}),
            "labels of x must be a list of 2, got 1",
        ),
        (archives.dump({"data": PIXELS, "labels": 3}), "labels of x must be a list of 2, got int"),
        (
            archives.dump({"data": PIXELS, "labels": [0, 10]}),
            r"labels of x must be in \[0, 10\), got 10",
        ),
        (
            archives.dump({"data": PIXELS, "labels": [0, True]}),
            r"labels of x must be in \[0, 10\), got bool",
        ),
        (ONE[:-1], "x must be a whole pickle of plain values and NumPy arrays, got: .*exhausted"),
        (ONE[:9999], "x must be a whole pickle of plain values and NumPy arrays, got: expected"),
        (b"", "x must be a whole pickle of plain values and NumPy arrays, got: .*exhausted"),
    ],
)
def test_a_batch_that_is_none(batch, message):
    with pytest.raises(ValueError, match=message):
        cifar10.read_batch(batch, name="x")


# --- pickles that attack -------------------------------------------------------------------------


def attacks(mark):
    """Pickles that would leave a mark, by the different ways to call something."""
    quoted = f"touch {mark}".encode()
    short = b"U" + bytes([len(quoted)]) + quoted
    yield "reduce", b"cposix\nsystem\n(" + short + b"tR."
    yield "in a batch", b"}U\x04dataq\x00cposix\nsystem\n(" + short + b"tRs."
    yield "inst", b"(" + short + b"iposix\nsystem\n."
    yield "obj", b"(cposix\nsystem\n" + short + b"o."
    yield "text string", b"cposix\nsystem\n(S'" + quoted + b"'\ntR."
    yield "stack global", b"\x80\x04\x8c\x05posix\x8c\x06system\x93(" + short + b"tR."
    call = b"__import__('os').system('" + quoted + b"')"
    yield "builtins", b"c__builtin__\neval\n(U" + bytes([len(call)]) + call + b"tR."
    yield "state", b"ccopyreg\n_reconstructor\n(cposix\nsystem\n" + short + b"tRb."


def test_nothing_in_a_pickle_is_ever_called(tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(dict(attacks(mark))["reduce"])
    assert mark.exists(), "the attack works on an ordinary unpickler"
    mark.unlink()
    for name, content in attacks(mark):
        with pytest.raises(ValueError):
            byte_array(read_pickle(content, name=name), name=name)
        with pytest.raises(ValueError):
            cifar10.read_batch(content, name=name)
        assert not mark.exists(), name


@pytest.mark.parametrize(
    "content",
    [
        b"K\x01r\xff\xff\xff\xff.",  # a memo of 4 billion places
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",  # a bytearray of a terabyte
        b"T\xff\xff\xff\x7fabc.",  # a string of 2 gigabytes
        b"\x8b\xff\xff\xff\x7f.",  # an integer of 2 gigabytes
        b"I" + b"9" * 100_000 + b"\n.",
        b"]" + b"q\x00h\x00a" * 50 + b".",  # a list in itself
        b"}" + b"K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x02s.",  # a key whose hash takes forever
        b"}K\x01K\x01s.",  # integers as keys, of which any number may have one hash
        b"](a." * 3, b"0.", b"h\x00.", b"t.", b"e.", b"R.", b"b.", b"}s.", b"](K\x01u.",
        b"P1\n.", b"\x82\x01.", b"N" + b"\x85" * 200_000 + b".",
    ],
)  # fmt: skip
def test_a_pickle_cannot_take_more_than_it_holds(content):
    with pytest.raises(ValueError):  # and not a MemoryError, or no end
        cifar10.read_batch(content, name="x")


@bounded
@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(b"}]()KU.qhsaetRb\x85\x80c\n01")).map(bytes)
)
def test_any_bytes_are_a_batch_or_an_error(content):
    with pytest.raises(ValueError):
        cifar10.read_batch(content, name="x")


SMALL = archives.batch(np.arange(2 * 3072, dtype=np.uint16).astype(np.uint8).reshape(2, -1), LABELS)


@bounded
@given(st.data())
def test_a_batch_with_changed_bytes_is_a_batch_or_an_error(data):
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        # Not only in the pixels, which are most of it.
        place = data.draw(st.integers(0, 320) | st.integers(-120, -1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        images, labels = cifar10.read_batch(bytes(content), name="x")
    except ValueError:
        return
    assert images.shape[1:] == (32, 32, 3) and len(labels) == len(images)


PACKED = archives.archive({"test_batch": SMALL})


@bounded
@given(st.data())
def test_an_archive_with_changed_bytes_is_an_archive_or_an_error(data):
    packed = bytearray(zlib.decompress(PACKED, wbits=31))
    for _ in range(data.draw(st.integers(1, 6))):
        packed[data.draw(st.integers(0, 1023))] = data.draw(st.integers(0, 255))
    try:
        (content,) = cifar10.read_members(
            zlib.compress(bytes(packed), 1, wbits=31), [NAME], name="x"
        )
    except ValueError:
        return
    assert isinstance(content, bytes)


# --- annotation ----------------------------------------------------------------------------------


def built(raw_root, out_root, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    datasets.build(TASK, config, raw_root=raw_root, out_root=out_root)
    return {name: datasets.load(TASK, split=name, root=out_root) for name in datasets.SPLITS}


def test_complement_is_all_but_the_decoy_and_its_margin(raw_root, tmp_path):
    splits = built(raw_root, tmp_path)
    palette = decoys.colour_palette(10)
    train = splits["train"]
    assert (train.decoy_mask.sum((1, 2)) == 16).all()
    assert (train.object_mask.sum((1, 2)) == 1024 - 36).all()
    assert not (train.object_mask & train.decoy_mask).any()
    colours = np.rint(255 * train.images.transpose(0, 2, 3, 1)[train.decoy_mask]).reshape(80, 16, 3)
    assert (colours == palette[train.labels][:, None]).all()
    for name, split in splits.items():
        if name.endswith("clean"):  # the place that the decoy was drawn for is left out
            assert not split.decoy_mask.any()
            assert (split.object_mask.sum((1, 2)) == 1024 - 36).all()
    assert (splits["train_clean"].object_mask == train.object_mask).all()
    bits = datasets.manifest(TASK, root=tmp_path)["splits"]["train"]["decoy_label_bits"]
    assert bits > 3.1


def test_centre_finds_what_stands_out_in_the_centre(raw_root, tmp_path):
    rows, columns = np.ogrid[:32, :32]
    disc = (rows - 17) ** 2 + (columns - 14) ** 2 < 81
    images = np.random.default_rng(0).integers(0, 30, (3, 32, 32, 3), dtype=np.uint8)
    images[:, disc] += np.array([200, 40, 90], np.uint8)
    found = annotation.centre_object(images)
    overlap = (found & disc).sum((1, 2)) / (found | disc).sum((1, 2))
    assert (overlap > 0.75).all()
    assert (annotation.centre_object(images) == found).all()

    splits = built(raw_root, tmp_path, annotation="centre")
    for split in splits.values():
        assert split.object_mask[:, 13:19, 13:19].all(), "always the centre"
        edges = np.ones((32, 32), bool)
        edges[1:-1, 1:-1] = False
        assert not (split.object_mask & edges).any(), "never the frame"
    assert not (splits["train"].object_mask & splits["train"].decoy_mask).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotation": None},
            "annotation must be complement or centre for images without object masks, got None; "
            "set by_data.original.annotation",
        ),
        ({"margin": 28}, "decoy size and margin must be below 32 together, got 32"),
        ({"n_test": 13}, "n_test must be at most 12, half of the test images, got 13"),
    ],
)
def test_settings_that_do_not_fit(raw_root, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        built(raw_root, tmp_path, **changes)
