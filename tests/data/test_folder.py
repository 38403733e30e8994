"""Folders as people have them: several formats, orientations, damaged files, masks."""

from __future__ import annotations

import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
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

pytestmark = pytest.mark.filterwarnings("ignore:files listed in")
RED = (255, 0, 0)
ORIENTATION = 0x0112


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
    assert found.examples.images.dtype == torch.uint8
    assert "not an image" in found.skipped["a/text.jpg"]
    assert "truncated" in found.skipped["a/cut.png"]
    assert "a/good.jpg" in found.skipped["a/good.png"]  # their masks would be the same file
    assert "32-bit" in found.skipped["b/deep.tiff"]
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
        (Image.new("1", (1, 1), 1), "bmp", [[255], [255], [255]]),
        (Image.new("CMYK", (1, 1), (0, 0, 0, 255)), "jpg", [[0], [0], [0]]),
        (Image.fromarray(GREY_16.astype(">u2")), "tiff", [[0, 1, 128, 255]] * 3),
        (Image.new("RGB", (1, 1), (0, 255, 0)), "jfif", [[0], [255], [1]]),
    ],
)
def test_every_kind_of_pixel_becomes_eight_bit_rgb(tmp_path, image, suffix, expected):
    path = tmp_path / f"image.{suffix}"
    image.save(path, "JPEG" if suffix == "jfif" else None, quality=100)
    assert read_image(path)[:, 0].tolist() == expected
    path.rename(path.with_suffix(".png"))  # the suffix may be wrong
    assert read_image(path.with_suffix(".png"))[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("tag", "value", "stored", "expected"),
    [
        (262, 0, "0000 0101 8080 ffff", [255, 254, 127, 0]),  # 0 is white
        (258, 12, "000800fff0010000", [0, 128, 255, 0]),  # 12 bits, packed
    ],
)
def test_tags_of_tiff_say_what_the_numbers_mean(tmp_path, tag, value, stored, expected):
    values = np.frombuffer(bytes.fromhex(stored), np.uint16)
    path = save(tmp_path / "image.tiff", values[None])
    content, head = path.read_bytes(), struct.pack("<HHI", tag, 3, 1)
    assert content.count(head) == 1
    place = content.index(head) + 8
    path.write_bytes(content[:place] + struct.pack("<H", value) + content[place + 2 :])
    assert read_image(path)[0].tolist() == [expected]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "mode"), [
    ("png", "RGB"), ("tiff", "RGB"), ("tiff", "L"), ("tiff", "RGBA"), ("webp", "RGB"),
])  # fmt: skip
def test_exif_orientation(tmp_path, orientation, suffix, mode):
    """A viewer shows the corner of the first pixel where EXIF says that it is."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"photo.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(pixels).convert(mode).save(path, exif=exif, **options)
    image = read_image(path)
    assert (image[0] > 0).sum() == 1
    assert image.shape[1:] == image_size(path) == ((4, 6) if orientation < 5 else (6, 4))
    rows, columns = image[0].nonzero()
    bottom = orientation in (3, 4, 7, 8)
    right = orientation in (2, 3, 6, 7)
    assert (rows[0] > 0, columns[0] > 0) == (bottom, right)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn", ["as shown", "as stored", "with the same EXIF"])
def test_masks_of_turned_photos(tmp_path, orientation, drawn):
    """Whichever way another program looked at the photo, the mask covers its bright pixels."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :16] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(tmp_path / "photo.jpg", pixels, exif=exif, quality=100)
    path = tmp_path / "masks" / "object" / "photo.png"
    if drawn == "as shown":
        save(path, (read_image(tmp_path / "photo.jpg")[0] > 127).astype(np.uint8))
    else:
        save(path, pixels, **({"exif": exif} if drawn == "with the same EXIF" else {}))
    examples = read_folder(tmp_path).examples
    if drawn == "as stored" and orientation in (2, 3, 4):  # the shape cannot tell
        assert examples.object_mask.sum() == 128
    else:
        assert torch.equal(examples.object_mask, examples.images[:, 0] > 127)


def in_palette(*colours: tuple[int, int, int]) -> Image.Image:
    """One pixel of each colour, stored as 0, 1, and so on."""
    image = Image.new("P", (len(colours), 1))
    image.putpalette([part for colour in colours for part in colour])
    image.putdata(range(len(colours)))
    return image


BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def of(values: object, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array([values], dtype))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (of([0, 1]), [0, 1]),
        (of([0, 255]), [0, 1]),
        (of([0, 1, 127, 128, 255]), [0, 1, 1, 1, 1]),  # soft, or numbers of objects
        (of([0, 1, 256, 65535], np.uint16), [0, 1, 1, 1]),
        (of([0, 255]).convert("1"), [0, 1]),
        (in_palette(BLACK, WHITE), [0, 1]),
        (in_palette(WHITE, BLACK), [1, 0]),  # seen, not stored
        (in_palette(BLACK, (128, 0, 0), (0, 0, 1)), [0, 1, 1]),  # as in Pascal VOC
        (palette_with_transparency(), [1, 0]),
        (of([BLACK, (0, 0, 1), RED]), [0, 1, 1]),
        (of([(*BLACK, 255), (*WHITE, 255)]), [0, 1]),
        (of([(*WHITE, 0), (*WHITE, 200)]), [0, 1]),
        (of([(*BLACK, 0), (*BLACK, 200)]), [0, 1]),  # the opacity alone
        (of([(*BLACK, 255), (*WHITE, 255), (*WHITE, 0)]), [0, 1, 0]),
        (of([(0, 0), (0, 9)]), [0, 1]),  # grey and opacity
        (of([(*WHITE, 0), (*WHITE, 0)]), [0, 0]),
        (of([(*BLACK, 255), (*BLACK, 255)]), [0, 0]),
        (of([255, 255]), [1, 1]),
    ],
)
def test_masks_of_other_programs(tmp_path, image, expected):
    image.save(tmp_path / "mask.png", **image.info)
    assert read_mask(tmp_path / "mask.png", (1, len(expected))).astype(int).tolist() == [expected]


@pytest.mark.parametrize("image", [of([1, 2]), in_palette(WHITE, RED)])
def test_a_mask_needs_unmarked_pixels_in_black(tmp_path, image):
    image.save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="save unmarked pixels as black"):
        read_mask(tmp_path / "mask.png", (1, 2))


def test_masks_are_written_as_0_and_255_even_if_they_are_empty(tmp_path):
    path = tmp_path / "new" / "mask.png"
    assert not read_mask(path, (1, 2)).any()
    for mask in (np.array([[False, True]]), np.array([[0, 255]]), np.zeros((1, 2), bool)):
        write_mask(path, mask)
        assert np.asarray(Image.open(path)).tolist() == (255 * (mask > 0)).tolist()
    assert [*path.parent.iterdir()] == [path]
    assert class_of("a/b.png") == "a"


@pytest.mark.parametrize("stem", ["x" * 251, "\u00e9" * 125, "a.b", "50% #1 [x]"])
def test_names_of_any_length_and_script(tmp_path, stem):
    save(tmp_path / f"{stem}.jpg")
    write_mask(mask_path(tmp_path / "masks", f"{stem}.jpg", "wrong"), np.ones((4, 6), bool))
    assert read_folder(tmp_path).examples.decoy_mask.all()


def test_where_masks_are_found(tmp_path):
    for stem in ("a/1", "a/2", "b/2", "b/3", f"b/{unicodedata.normalize('NFC', 'é')}"):
        save(tmp_path / f"{stem}.jpg")
    home = tmp_path / "masks"
    good = ["object/1.png", "object/a/2.PNG", "wrong/3.png", "wrong/b/3.png",
            f"wrong/b/{unicodedata.normalize('NFD', 'é')}.png"]  # fmt: skip
    stray = ["object/2.png", "objects/1.png", "1.png", "object/1.jpg.png", "wrong/a/1.tif"]
    for name in [*good, *stray, "wrong/.hidden/1.png"]:
        save(home / name)
    found = read_folder(tmp_path, annotations=home)
    assert torch.equal(found.examples.images, read_folder(tmp_path).examples.images)
    assert found.examples.object_mask.any((1, 2)).tolist() == [True, True, False, False, False]
    assert found.examples.decoy_mask.any((1, 2)).tolist() == [False, False, False, True, True]
    assert found.classes == ("a", "b")
    assert found.skipped.keys() == {f"masks/{name}" for name in [*stray, "wrong/3.png"]}
    with pytest.warns(UserWarning, match="annotations: no folder '.*new', so no masks"):
        nothing_yet = read_folder(tmp_path, annotations=tmp_path / "new")
    assert not nothing_yet.examples.object_mask.any()


def test_a_class_called_masks_is_reported(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "masks/1.png"):
        save(tmp_path / name)
    with pytest.warns(
        UserWarning, match="'masks' is read as a class; .* like masks/object/a/1.png"
    ):
        assert read_folder(tmp_path).classes == ("a", "b", "masks")


def frames(path: Path) -> None:
    first, second = (Image.new("RGB", (6, 4), colour) for colour in (RED, BLACK))
    first.save(path, save_all=True, append_images=[second])


ODD = {
    "empty.png": (lambda path: path.touch(), "not an image"),
    "film.gif": (frames, "2 frames"),
    "film.webp": (frames, "2 frames"),
    "pages.tif": (frames, "2 frames"),
    "link.png": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "vector.svg": (lambda path: path.write_text("<svg/>"), ".svg files are not read"),
    "\udcff.png": (lambda path: save(path), "not valid Unicode"),
    "signed.tif": (lambda path: save(path, np.zeros((4, 6), np.int32)), "32-bit"),
    "clear.png": (lambda path: save(path, np.zeros((4, 6), np.uint16), transparency=0), "16 bits"),
    "deeper": (lambda path: save(path / "x.png"), "move its images"),
    "huge.bmp": (
        lambda path: path.write_bytes(
            b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 1 << 16, 1 << 16, 1, 24, *[0] * 6)
        ),
        "decompression bomb",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_listed_with_a_remedy(tmp_path, name):
    save(tmp_path / "a" / "good.jpg")
    make, reason = ODD[name]
    make(tmp_path / "a" / name)
    with pytest.warns(UserWarning, match=r"`skipped`: 1, such as a/"):
        found = read_folder(tmp_path)
    assert found.names == ("a/good.jpg",) and found.skipped.keys() == {f"a/{name}"}
    assert reason in found.skipped[f"a/{name}"] and ";" in found.skipped[f"a/{name}"]


def test_a_photo_with_a_preview_and_links_are_read(tmp_path):
    first, second = Image.new("RGB", (6, 4), RED), Image.new("RGB", (3, 2), BLACK)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    first.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[second], exif=exif)
    (tmp_path / "link.JPG").symlink_to(tmp_path / "photo.jpg")
    found = read_folder(tmp_path)
    assert found.names == ("link.JPG", "photo.jpg") and found.examples.images[:, 0].min() > 250
    assert image_size(tmp_path / "link.JPG") == found.examples.images.shape[2:] == (6, 4)


def test_errors_name_the_rule(tmp_path):
    with pytest.raises(ValueError, match="folder must be an existing folder"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="folder must hold images"):
        find_images(tmp_path)
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "2.png", size=(5, 5))
    with pytest.raises(ValueError, match="images of one size, .*; pass size"):
        read_folder(tmp_path)
    for size in ((0, 4), (4,), 4):
        with pytest.raises(ValueError, match="size must be a height and a width"):
            read_folder(tmp_path, size=size)
    with pytest.raises(ValueError, match=r"classes must name every sub-folder.*add \['b'\]"):
        read_folder(tmp_path, size=(4, 4), classes=["a"])
    with pytest.raises(ValueError, match="classes must be different"):
        read_folder(tmp_path, size=(4, 4), classes=["a", "b", "a"])
    with pytest.raises(ValueError, match="classes must be None for a folder without sub-folders"):
        read_folder(tmp_path / "a", classes=["a", "b"])


def test_a_damaged_mask_is_listed_and_its_image_is_kept(tmp_path):
    save(tmp_path / "a" / "1.png")
    mask = save(tmp_path / "annotations" / "wrong" / "a" / "1.png", np.ones((3, 3), np.uint8))
    place = "annotations/wrong/a/1.png"
    assert "must be (4, 6) like its image" in read_folder(tmp_path).skipped[place]
    mask.write_text("no image")
    found = read_folder(tmp_path)
    assert "not an image" in found.skipped[place] and found.names == ("a/1.png",)
    assert not found.examples.decoy_mask.any()
