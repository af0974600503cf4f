"""Boxes and labels drawn by numpy."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.drawing import (
    contact_sheet,
    draw_box,
    draw_label,
    palette_color,
    text_scale,
    text_size,
)

RED = (255, 0, 0)


def blank(width: int = 40, height: int = 30) -> np.ndarray:
    return np.full((height, width, 3), 77, np.uint8)


def touched(image: np.ndarray) -> np.ndarray:
    return (image != 77).any(axis=2)


def test_an_outline_lies_inside_its_half_open_box():
    image = blank()
    draw_box(image, (5, 6, 15, 16), RED, 2)
    expected = np.zeros((30, 40), bool)
    expected[6:16, 5:15] = True
    expected[8:14, 7:13] = False
    np.testing.assert_array_equal(touched(image), expected)
    assert (image[expected] == RED).all()


def test_a_box_over_the_edge_is_cut():
    image = blank()
    draw_box(image, (-10, -10, 1e12, 5.2), RED, 1)
    expected = np.zeros((30, 40), bool)
    expected[4, :] = True
    np.testing.assert_array_equal(touched(image), expected)


@pytest.mark.parametrize("box", [(50, 5, 60, 9), (-9, -9, -1, -1), (10, 10, 10, 20), (9, 9, 3, 3)])
def test_a_box_outside_or_of_no_area_draws_nothing(box):
    image = blank()
    draw_box(image, box, RED, 2)
    assert not touched(image).any()


def test_a_thin_box_is_filled():
    image = blank()
    draw_box(image, (5, 5, 8, 25), RED, 4)
    expected = np.zeros((30, 40), bool)
    expected[5:25, 5:8] = True
    np.testing.assert_array_equal(touched(image), expected)


@settings(deadline=None, max_examples=50)
@given(
    box=st.tuples(*[st.floats(-1e6, 1e6)] * 4), thickness=st.integers(1, 9), seed=st.integers(0, 9)
)
def test_nothing_is_drawn_outside_the_box(box, thickness, seed):
    image = blank()
    draw_box(image, box, palette_color(seed), thickness)
    outside = touched(image)
    x1, y1, x2, y2 = (round(min(max(value, -100), 100)) for value in box)
    outside[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = False
    assert not outside.any()


@pytest.mark.parametrize("box", [(1, 2, 3), (1, 2, np.nan, 4), (1, 2, np.inf, 4)])
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="four finite numbers"):
        draw_box(blank(), box, RED)


@pytest.mark.parametrize("image", [np.zeros((3, 3)), np.zeros((3, 3, 4), np.uint8)])
def test_what_is_no_image_is_refused(image):
    for draw in (
        lambda: draw_box(image, (0, 0, 1, 1), RED),
        lambda: draw_label(image, "a", (0, 0), RED),
        lambda: contact_sheet([image], 1),
    ):
        with pytest.raises(ValueError, match=r"expected uint8 \[height, width, 3\]"):
            draw()


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="thickness"):
        draw_box(blank(), (0, 0, 5, 5), RED, 0)
    with pytest.raises(ValueError, match="scale"):
        draw_label(blank(), "a", (0, 0), RED, 0)


def dots(text: str) -> list[str]:
    width, height = text_size(text, 1)
    image = blank(width, height)
    draw_label(image, text, (0, height), (255, 255, 255), 1)
    return ["".join("#" if dot else "." for dot in row) for row in (image == 0).all(axis=2)]


def test_letters_look_like_letters():
    assert dots("A1") == [
        ".............",
        "..###....#...",
        ".#...#..##...",
        ".#...#...#...",
        ".#...#...#...",
        ".#####...#...",
        ".#...#...#...",
        ".#...#..###..",
        ".............",
    ]


def test_all_printable_characters_differ():
    shapes = {tuple(dots(chr(code))) for code in range(32, 127)}
    assert len(shapes) == 95
    assert dots("é") == dots("?")
    assert dots("\n") == dots("?")
    assert not any("#" in row for row in dots(" "))


def test_a_label_stands_on_its_corner():
    image = blank(160, 120)
    draw_label(image, "walk", (20, 50), RED, 2)
    width, height = text_size("walk", 2)
    area = np.zeros((120, 160), bool)
    area[50 - height : 50, 20 : 20 + width] = True
    np.testing.assert_array_equal(touched(image), area)


@settings(deadline=None, max_examples=50)
@given(
    text=st.text(max_size=40),
    x=st.floats(-1e9, 1e9),
    y=st.floats(-1e9, 1e9),
    scale=st.integers(1, 4),
)
def test_a_label_stays_inside_and_whole(text, x, y, scale):
    image = blank(100, 40)
    draw_label(image, text, (x, y), RED, scale)
    drawn = touched(image)
    if not text:
        assert not drawn.any()
        return
    width, height = text_size(text, scale)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert rows.size == height
    if width <= 100:
        assert columns.size == width
    assert drawn.sum() == rows.size * columns.size


def test_a_text_that_is_too_long_ends_in_dots():
    image, other = blank(60, 20), blank(60, 20)
    draw_label(image, "shoot_ball 0.93", (0, 20), RED, 1)
    draw_label(other, "shoot_b..", (0, 20), RED, 1)
    np.testing.assert_array_equal(image, other)


def test_an_image_smaller_than_a_line_stays_as_it_is():
    image = blank(100, 8)
    draw_label(image, "walk", (0, 0), RED, 1)
    assert not touched(image).any()


def test_text_stands_out_from_every_colour():
    for index in range(12):
        image = blank(60, 20)
        color = palette_color(index)
        draw_label(image, "Walk", (0, 20), color, 1)
        ink = image[touched(image)].astype(int)
        inked = ink[(ink != color).any(axis=1)]
        assert len(inked) > 20
        contrast = abs(inked[0] @ [0.299, 0.587, 0.114] - np.dot(color, [0.299, 0.587, 0.114]))
        assert contrast > 100, color


def test_colours_differ_and_repeat():
    colors = [palette_color(index) for index in range(12)]
    gaps = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors) for b in colors[i + 1 :]]
    assert min(gaps) >= 60
    assert palette_color(12) == colors[0]


def test_scale_grows_with_the_image():
    assert [text_scale(height) for height in (1, 120, 240, 480, 720, 1080)] == [1, 1, 1, 1, 2, 3]


def test_a_contact_sheet_holds_every_image():
    images = [np.full((20 + 5 * n, 60 - 3 * n, 3), 100 + n, np.uint8) for n in range(5)]
    sheet = contact_sheet(images, 2, [f"no {n}" for n in range(5)])
    cell_height = 40 + text_size("", 1)[1] + 2
    assert sheet.shape == (3 * cell_height, 2 * 62, 3)
    for n, image in enumerate(images):
        top, left = n // 2 * cell_height, n % 2 * 62
        np.testing.assert_array_equal(
            sheet[top : top + image.shape[0], left : left + image.shape[1]], image
        )
        assert (sheet[top + 40 : top + 49, left : left + 60] == 255).any()
    plain = contact_sheet(images, 9)
    assert plain.shape == (42, 5 * 62, 3)


def test_an_impossible_contact_sheet_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([], 3)
    with pytest.raises(ValueError, match="found 1 and 0"):
        contact_sheet([blank()], 0)
    with pytest.raises(ValueError, match="captions"):
        contact_sheet([blank()], 1, ["a", "b"])


def test_drawing_is_quick_on_large_images():
    image = np.zeros((1080, 1920, 3), np.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(20):
            draw_box(image, (100, 100, 900, 900), RED)
            draw_label(image, "shoot_ball 0.93", (100, 100), RED)
        times.append((time.perf_counter() - start) / 20)
    assert min(times) < 0.01
