"""Folders as people have them: several formats, orientations, damaged files, masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xblcore.data.folder import (
    class_of,
    find_images,
    image_size,
    mask_path,
    read_folder,
    read_image,
    read_mask,
    write_mask,
)

RED = (255, 0, 0)


def save(path: Path, pixels: object = RED, *, size: tuple[int, int] = (4, 6), **options) -> Path:
    """Write an image, of one colour or from an array; ``size`` is height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, tuple):
        image = Image.new("RGB", size[::-1], pixels)
    else:
        image = Image.fromarray(np.asarray(pixels))
    image.save(path, **options)
    return path


def test_classes_labels_names_and_masks(tmp_path):
    for name in ("zebra/b.png", "zebra/a.JPG", "train/c.png"):
        save(tmp_path / name)
    home = tmp_path / "annotations"
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    write_mask(mask_path(home, "zebra/a.JPG", "wrong"), mask)
    write_mask(mask_path(home, "train/c.png", "object"), ~mask)
    found = read_folder(tmp_path)
    assert found.names == ("train/c.png", "zebra/a.JPG", "zebra/b.png")
    assert found.classes == ("train", "zebra") and found.skipped == {}
    assert found.examples.labels.tolist() == [0, 1, 1]
    assert found.examples.images.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(found.examples.decoy_mask[1], mask)
    np.testing.assert_array_equal(found.examples.object_mask[0], ~mask)
    assert found.examples.decoy_mask.sum() == 1 and found.examples.object_mask.sum() == 23
    small = read_folder(tmp_path, size=(2, 3), grey=True, classes=["zebra", "train"])
    assert small.examples.images.shape == (3, 1, 2, 3)
    assert small.examples.labels.tolist() == [1, 0, 0]
    assert small.examples.decoy_mask[1].nonzero().tolist() == [[0, 1]]  # no pixel is lost
    assert small.examples.images[2, 0, 0, 0] == 76  # 0.299 * 255


def test_a_flat_folder_and_other_annotations(tmp_path):
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "images" / ".hidden.png")
    write_mask(tmp_path / "marks" / "wrong" / "a.png", np.ones((4, 6), bool))
    found = read_folder(tmp_path / "images", annotations=tmp_path / "marks")
    assert found.names == ("a.png",) and found.classes == ()
    assert found.examples.labels.tolist() == [0] and found.examples.decoy_mask.all()


def test_damaged_and_misplaced_files_are_listed_with_a_reason(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = save(tmp_path / "a" / "good.png", noise)
    (tmp_path / "a" / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "a" / "text.jpg").write_text("no image")
    save(tmp_path / "a" / "good.jpg", noise)
    save(tmp_path / "b" / "deep.tiff", np.ones((40, 40), np.float32))
    save(tmp_path / "loose.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image by its ending")
    found = read_folder(tmp_path)
    assert found.names == ("a/good.jpg",)
    assert found.skipped["a/text.jpg"] == "not an image"
    assert "truncated" in found.skipped["a/cut.png"]
    assert "a/good.jpg" in found.skipped["a/good.png"]  # their masks would be the same file
    assert "32 bits" in found.skipped["b/deep.tiff"]
    assert "class" in found.skipped["loose.png"]
    assert len(found.skipped) == 5


GREY_16 = np.array([[0, 257, 32896, 65535]], np.uint16)


def palette_with_transparency() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.fromarray(GREY_16), "png", [[0, 1, 128, 255]] * 3),
        (Image.fromarray(GREY_16), "tiff", [[0, 1, 128, 255]] * 3),
        (palette_with_transparency(), "png", [[255, 255], [0, 255], [0, 255]]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 0)), "png", [[255], [255], [255]]),
        (Image.new("LA", (1, 1), (40, 255)), "png", [[40], [40], [40]]),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "tiff", [[255], [0], [0]]),
        (Image.new("1", (1, 1), 1), "png", [[255], [255], [255]]),
    ],
)
def test_every_kind_of_pixel_becomes_eight_bit_rgb(tmp_path, image, suffix, expected):
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    assert read_image(path)[:, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """A viewer shows the corner of the first pixel where EXIF says that it is."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "photo.png", pixels, exif=exif)
    image = read_image(path)
    assert image.shape[1:] == image_size(path) == ((4, 6) if orientation < 5 else (6, 4))
    rows, columns = image[0].nonzero()
    bottom = orientation in (3, 4, 7, 8)
    right = orientation in (2, 3, 6, 7)
    assert (rows[0] > 0, columns[0] > 0) == (bottom, right)


@pytest.mark.parametrize("low", [1, 255])
def test_masks_of_other_programs(tmp_path, low):
    path = save(tmp_path / "mask.png", np.array([[0, low]], np.uint8))
    np.testing.assert_array_equal(read_mask(path, (1, 2)), [[False, True]])
    assert not read_mask(tmp_path / "none.png", (1, 2)).any()
    write_mask(path, np.zeros((1, 2), bool))
    assert not path.exists()
    assert class_of("a/b.png") == "a"


def test_errors_name_the_rule(tmp_path):
    with pytest.raises(ValueError, match="folder must be an existing folder"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="folder must hold images"):
        find_images(tmp_path)
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png", size=(5, 5))
    with pytest.raises(ValueError, match="size must be given"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="classes must have every sub-folder"):
        read_folder(tmp_path, size=(4, 4), classes=["a"])
    mask = save(tmp_path / "annotations" / "wrong" / "a" / "1.png", np.ones((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"must be \(4, 6\) like its image"):
        read_folder(tmp_path, size=(4, 4))
    mask.write_text("no image")
    with pytest.raises(ValueError, match="must be a PNG"):
        read_folder(tmp_path, size=(4, 4))
