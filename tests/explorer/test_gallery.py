"""The gallery's file: what is written is read, and what is damaged is refused with a remedy."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import toy_task

from xblcore.explorer import gallery
from xblcore.explorer.gallery import Gallery

TASK = toy_task.TASK
REMEDY = f"run: python -m xblcore.pipeline.gallery {TASK}"


@pytest.fixture
def copied(made, bare):
    """A project that has nothing but a gallery, to be damaged."""
    path = gallery.path_of(TASK, root=bare)
    path.parent.mkdir(parents=True)
    shutil.copy(gallery.path_of(TASK, root=made), path)
    return bare, path


def test_what_is_saved_is_loaded_and_the_same_gallery_is_the_same_bytes(made, tmp_path):
    path = gallery.path_of(TASK, root=made)
    found = gallery.load(TASK, root=made)
    gallery.save(found, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert found.about.methods == toy_task.PARAMS["methods"]
    assert found.about.weights == [0.0, 1.0, 2.0] and found.about.seeds == [0, 1]
    part = found.shown["test_decoy"]
    assert part.cams.shape == (3, 3, 2, 15, *toy_task.GRID)  # explainers, methods, seeds, images
    alive = part.cams.reshape(-1, 16).any(1)
    assert alive.any() and set(part.cams.reshape(-1, 16)[alive].max(1)) == {255}


def test_undefined_stays_undefined_and_numbers_keep_four_digits(tmp_path, made):
    found = gallery.load(TASK, root=made)
    part = found.shown["test_decoy"]
    values = np.linspace(0, 1, part.metrics.size, dtype=np.float32).reshape(part.metrics.shape)
    values[..., 0] = np.nan
    shown = {**found.shown, "test_decoy": dataclasses.replace(part, metrics=values)}
    path = gallery.path_of(TASK, root=tmp_path)
    gallery.save(Gallery(found.about, shown), path)
    again = gallery.load(TASK, root=tmp_path).shown["test_decoy"].metrics
    np.testing.assert_allclose(again, values, atol=1e-5)


def test_a_number_outside_its_range_is_not_saved(tmp_path, made):
    found = gallery.load(TASK, root=made)
    part = found.shown["test_decoy"]
    wrong = dataclasses.replace(part, metrics=part.metrics + 2)
    with pytest.raises(ValueError, match=r"values must be in \[0, 1\], got 2"):
        gallery.save(Gallery(found.about, {**found.shown, "test_decoy": wrong}), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_none_there(bare):
    with pytest.raises(
        FileNotFoundError, match=f"no gallery of {TASK} yet .*; run: make reproduce"
    ):
        gallery.load(TASK, root=bare)


def rewritten(path, **changes):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def flipped(path):
    """One bit in what is packed: a kind of block that deflate has not."""
    content = bytearray(path.read_bytes())
    name, extra = (int.from_bytes(content[at : at + 2], "little") for at in (26, 28))
    content[30 + name + extra] |= 0b110  # behind the header of the first array
    path.write_bytes(content)


def array_is(name, change):
    """A damage: one of the arrays, changed."""

    def damage(path):
        with np.load(path) as file:
            rewritten(path, **{name: change(file[name])})

    return damage


def about_is(path, text):
    rewritten(path, about=np.frombuffer(text.encode(), np.uint8))


def about_has(path, **changes):
    with np.load(path) as file:
        about_is(path, json.dumps(json.loads(file["about"].tobytes()) | changes))


def unpackable(path):
    """Packed, by the archive's list of contents, in a way that nothing here unpacks."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flipped, "invalid block type"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "got: "),
        (lambda path: path.write_text("not a file of NumPy"), "got: "),
        (lambda path: rewritten(path, about=None), "got: none with 'about'"),
        (lambda path: rewritten(path, about=np.array([{}], object)), "allow_pickle=False"),
        (lambda path: rewritten(path, about=np.frombuffer(b"{}", np.uint8)), "must have the key"),
        (lambda path: about_is(path, "[" * 100_000), "recursion"),
        (unpackable, "compression"),
        (lambda path: about_has(path, explainers=["grad_cam", "hires_cam", "odd"]), "got 'odd'"),
        (lambda path: about_has(path, methods=["erm", "erm", "xbl_d"]), "methods must be there, e"),
        (lambda path: about_has(path, classes=[]), "classes must be there, each once, got []"),
        (lambda path: about_has(path, decoy_size=0), "decoy_size must be in [1, 8], got 0"),
        (lambda path: about_has(path, decoy_size=99), "decoy_size must be in [1, 8], got 99"),
        (array_is("test_clean/predicted", lambda a: a[0]), "predicted of test_clean must be uint8"),
        (array_is("test_decoy/predicted", lambda a: a + 7), "must be in [0, 2], got 7 to "),
        (array_is("test_decoy/labels", lambda a: a + 3), "labels of test_decoy must be in [0, 2]"),
        (array_is("test_decoy/labels", lambda a: a - 1), "labels of test_decoy must be in [0, 2]"),
        (array_is("test_decoy/corners", lambda a: a + 4), "corners of test_decoy must be in [0, 3"),
        (array_is("test_decoy/images", lambda a: a / 255), "images of test_decoy must be uint8"),
        (array_is("test_decoy/images", lambda a: a[:, :2]), "object_mask of test_decoy must be"),
        (array_is("test_decoy/values", lambda a: a[1:]), "values of test_decoy must be uint8"),
        (array_is("test_decoy/cams", lambda a: a[..., :0]), "no smaller than their CAMs"),
        (array_is("test_decoy/cams", lambda a: a.repeat(9, -1)), "no smaller than their CAMs"),
        (array_is("test_decoy/metrics", lambda a: a / 9), "must be uint16, got float64"),
        (array_is("test_decoy/metrics", str), "must be uint16"),
        (array_is("test_decoy/positions", lambda a: a * 0), "positions of test_decoy must be"),
    ],
)
def test_a_damaged_file_is_refused_and_the_remedy_named(copied, damage, told):
    root, path = copied
    damage(path)
    with pytest.raises(ValueError, match="must be a gallery of") as caught:
        gallery.load(TASK, root=root)
    assert told in str(caught.value) and str(caught.value).endswith(REMEDY)


def test_parts_that_do_not_fit_are_told_apart(made):
    found = gallery.load(TASK, root=made)
    with pytest.raises(ValueError, match="^weights must be 3, one a method, got 2$"):
        Gallery(dataclasses.replace(found.about, weights=[0.0, 1.0]), found.shown)
    with pytest.raises(ValueError, match="^splits must be test_decoy, test_clean, got test_clean$"):
        Gallery(found.about, {"test_clean": found.shown["test_clean"]})


@pytest.mark.parametrize(("field", "value"), [("task", "decoy_coco"), ("format", 99)])
def test_another_task_or_format_is_refused(copied, field, value):
    root, path = copied
    found = gallery.load(TASK, root=root)
    gallery.save(Gallery(dataclasses.replace(found.about, **{field: value}), found.shown), path)
    with pytest.raises(ValueError, match=f"got: one of .*{value}.*{REMEDY}"):
        gallery.load(TASK, root=root)
