"""Strokes to pixels: by hand, against an independent rasteriser, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest

from xblcore.widgets.drawing import MOST_ACTIONS, Drawing, Paste
from xblcore.widgets.strokes import MOST_POINTS, Stroke, draw, message_of, stroke_from

DOT = Stroke("wrong", "brush", 2.0, ((2.5, 2.5),))
MESSAGE = {"layer": "wrong", "tool": "brush", "radius": 2, "points": [[2.5, 2.5]]}


def picture(mask: np.ndarray) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def test_a_dot_of_radius_2_covers_these_pixels():
    assert picture(Drawing((5, 5)).add(DOT).mask("wrong")) == [
        "..#..",
        ".###.",
        "#####",
        ".###.",
        "..#..",
    ]


def test_a_dot_between_four_pixels_covers_twelve_with_radius_2():
    """Centres at offsets of 0.5 and 1.5: the corners, sqrt(4.5) away, are out."""
    drawn = Drawing((4, 4)).add(Stroke("object", "brush", 2.0, ((2.0, 2.0),)))
    assert picture(drawn.mask("object")) == [".##.", "####", "####", ".##."]


def test_the_eraser_takes_from_its_own_layer_only():
    drawing = Drawing((1, 5))
    for layer in ("wrong", "object"):
        drawing = drawing.add(Stroke(layer, "brush", 1.0, ((0.5, 0.5), (4.5, 0.5))))
    drawing = drawing.add(Stroke("wrong", "eraser", 1.0, ((0.5, 0.5),)))
    assert picture(drawing.mask("wrong")) == ["..###"]
    assert picture(drawing.mask("object")) == ["#####"]


def test_strokes_count_in_their_order():
    brush = Stroke("wrong", "brush", 1.0, ((0.5, 0.5),))
    eraser = Stroke("wrong", "eraser", 1.0, ((0.5, 0.5),))
    assert Drawing((2, 2)).add(brush).add(eraser).is_empty
    assert not Drawing((2, 2)).add(eraser).add(brush).is_empty


@pytest.mark.parametrize("seed", range(5))
def test_lines_agree_with_distances_taken_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, (24, 16), (4, 2))
    radius = float(rng.uniform(1, 5))
    mask = np.zeros((16, 24), bool)
    draw(mask, Stroke("wrong", "brush", radius, tuple(map(tuple, points.tolist()))))
    steps = np.linspace(0, 1, 20_001)[:, None]
    line = np.concatenate([a + steps * (b - a) for a, b in zip(points, points[1:], strict=False)])
    for row in range(16):
        for column in range(24):
            away = np.hypot(*(line - (column + 0.5, row + 0.5)).T).min()
            if abs(away - radius) > 1e-3:  # on the rim, sampling decides nothing
                assert mask[row, column] == (away < radius)


@pytest.mark.parametrize("x", [0.0, 0.25, 1.0, 7.0, 8.0])
def test_the_smallest_brush_marks_something_wherever_it_is_put_down(x):
    drawing = Drawing((8, 8)).add(Stroke("wrong", "brush", 1.0, ((x, x),)))
    assert not drawing.is_empty


def test_undo_and_redo():
    drawing = Drawing((5, 5))
    assert drawing.undo() is drawing and drawing.redo() is drawing
    drawn = drawing.add(DOT)
    assert drawn.undo().is_empty
    assert drawn.undo().redo() == drawn
    assert drawn.undo().add(DOT).undone == (), "a new stroke ends what could be done again"


def test_masks_kept_from_stroke_to_stroke_are_those_drawn_anew():
    rng = np.random.default_rng(0)
    drawing = Drawing((9, 9))
    for _ in range(40):
        layer, tool = rng.choice(["wrong", "object"]), rng.choice(["brush", "eraser"])
        point = tuple(rng.uniform(0, 9, 2).tolist())
        drawing = drawing.add(Stroke(str(layer), str(tool), float(rng.uniform(1, 3)), (point,)))
        drawing = drawing.undo() if rng.uniform() < 0.2 else drawing
        for kept in ("wrong", "object"):
            anew = Drawing(drawing.size, drawing.done).mask(kept)
            np.testing.assert_array_equal(drawing.mask(kept), anew)
    drawing.mask("wrong")[:] = True
    np.testing.assert_array_equal(
        drawing.mask("wrong"), Drawing(drawing.size, drawing.done).mask("wrong")
    )


def test_a_pasted_mask_replaces_the_layer_and_is_undone_like_a_stroke():
    mask = np.eye(5, dtype=bool)
    pasted = Drawing((5, 5)).add(DOT).add(Paste("wrong", mask))
    np.testing.assert_array_equal(pasted.mask("wrong"), mask)
    assert pasted.undo().mask("wrong").sum() == 13


def test_a_message_and_back():
    assert message_of(stroke_from(MESSAGE)) == MESSAGE
    assert stroke_from(MESSAGE) == DOT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "sky"}, "layer must be one of wrong, object, got 'sky'"),
        ({"layer": ["wrong"]}, "layer must be one of"),
        ({"tool": "spray"}, "tool must be one of brush, eraser, got 'spray'"),
        ({"radius": 0.5}, "radius must be a number in"),
        ({"radius": 1e9}, "radius must be a number in"),
        ({"radius": float("nan")}, "radius must be a finite number, got nan"),
        ({"radius": True}, "radius must be a finite number, got True"),
        ({"points": []}, "points must be 1 to 10000, got 0"),
        ({"points": "12"}, "points must be a list"),
        ({"points": [[1, 2]] * (MOST_POINTS + 1)}, "points must be a list of 1 to 10000, got 1000"),
        ({"points": [[1, float("inf")]]}, "points must be pairs of finite numbers"),
        ({"points": [[1, 10**400]]}, "points must be pairs of finite numbers"),
        ({"points": [[1]]}, "points must be pairs of finite numbers"),
        ({"points": [["1", "2"]]}, "points must be pairs of finite numbers"),
    ],
)
def test_what_a_browser_may_not_send(changes, message):
    with pytest.raises(ValueError, match=message):
        stroke_from(MESSAGE | changes)


def test_a_message_without_a_field_or_that_is_none():
    with pytest.raises(ValueError, match="stroke must have the field 'radius', got none"):
        stroke_from({key: value for key, value in MESSAGE.items() if key != "radius"})
    with pytest.raises(ValueError, match="stroke must be a mapping, got list"):
        stroke_from([MESSAGE])


@pytest.mark.parametrize("point", [(-0.1, 1.0), (1.0, 5.1), (6.0, 1.0)])
def test_points_outside_the_image_are_refused(point):
    with pytest.raises(ValueError, match="points must lie in the image"):
        Drawing((5, 5)).add(Stroke("wrong", "brush", 2.0, (point,)))


def test_a_drawing_has_an_end():
    full = Drawing((5, 5), (DOT,) * MOST_ACTIONS)
    with pytest.raises(
        ValueError, match="strokes of an image must be at most 5000.*; undo some of them"
    ):
        full.add(DOT)
    assert len(full.undo().undo().add(DOT).done) == MOST_ACTIONS - 1, "what is advised helps"


def test_a_mask_of_another_size_or_kind_is_refused():
    with pytest.raises(ValueError, match="mask must be of the image's size"):
        Drawing((5, 5)).add(Paste("wrong", np.zeros((4, 5), bool)))
    with pytest.raises(ValueError, match="mask must be boolean"):
        Paste("wrong", np.zeros((5, 5), np.uint8))
