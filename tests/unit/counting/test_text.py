"""The text of lines, zones, masks, ground points, anchors and sizes: one grammar for every command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_counting.errors import GrammarError
from countline_counting.text import (
    Drawing,
    read_anchor,
    read_ground_point,
    read_line,
    read_mask,
    read_names,
    read_size,
    read_zone,
    write_ground_point,
    write_points,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POINT = st.tuples(FINITE, FINITE)
WORD = st.text(alphabet=st.characters(exclude_characters=":,", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = st.lists(WORD, min_size=1, max_size=3).map(":".join)
CLASSES = st.lists(WORD.filter(lambda word: word == word.strip() != ""), max_size=3).map(tuple)


def written(drawing: Drawing) -> str:
    """The text of a line, zone or mask, as a person writes it."""
    classes = f":{','.join(drawing.classes)}" if drawing.classes else ""
    return f"{drawing.name}:{write_points(drawing.points)}{classes}"


@given(NAME, st.lists(POINT, min_size=2, max_size=6).map(tuple), CLASSES)
def test_a_line_that_is_written_is_read_back(name: str, points: tuple, classes: tuple) -> None:
    drawing = Drawing(name, points, classes)
    assert read_line(written(drawing)) == drawing


@given(NAME, st.lists(POINT, min_size=3, max_size=6).map(tuple), CLASSES)
def test_a_zone_that_is_written_is_read_back_open(name: str, points: tuple, classes: tuple) -> None:
    opened = points[:-1] if len(points) > 3 and points[0] == points[-1] else points
    assert read_zone(written(Drawing(name, points, classes))) == Drawing(name, opened, classes)
    assert read_mask(written(Drawing(name, points))) == Drawing(name, opened)


@given(POINT, POINT)
def test_a_ground_point_and_an_anchor_that_are_written_are_read_back(image: tuple, place: tuple) -> None:
    assert read_ground_point(write_ground_point(image, place)) == (image, place)
    assert read_anchor(write_points([image])) == image


@given(st.tuples(st.integers(1, 99_999), st.integers(1, 99_999)))
def test_a_size_that_is_written_is_read_back(size_wh: tuple[int, int]) -> None:
    assert read_size("{}x{}".format(*size_wh)) == size_wh


def test_numbers_are_written_short_and_exact() -> None:
    assert written(Drawing("gate", ((0.0, 0.1), (1.0, 1 / 3)), ("person", "car"))) == (
        "gate:0,0.1,1,0.3333333333333333:person,car"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gate:0,0,1,1", Drawing("gate", ((0, 0), (1, 1)))),
        ("gate:0,0,1,1:", Drawing("gate", ((0, 0), (1, 1)))),
        ("gate:0,0,1,1: person , car", Drawing("gate", ((0, 0), (1, 1)), ("person", "car"))),
        ("12:30:0,0,1,1", Drawing("12:30", ((0, 0), (1, 1)))),  # a name with a colon, as a time of day
        ("a:b:0,0,1,1:person", Drawing("a:b", ((0, 0), (1, 1)), ("person",))),
        ("gate:0,0,1,1:2,3,5,7", Drawing("gate", ((0, 0), (1, 1)), ("2", "3", "5", "7"))),  # classes by number
        ("gate:0,0,1,1:a:b", Drawing("gate", ((0, 0), (1, 1)), ("a:b",))),
        (" gate: 0, 0, 1, 1", Drawing(" gate", ((0, 0), (1, 1)))),
    ],
)
def test_names_may_have_colons_and_classes_follow_the_points(text: str, expected: Drawing) -> None:
    assert read_line(text) == expected


def test_pixels_become_fractions_of_the_picture() -> None:
    assert read_line("gate:0,0,640,360", pixels_of=(1280, 720)).points == ((0.0, 0.0), (0.5, 0.5))
    assert read_ground_point("640,360=2,3", pixels_of=(1280, 720)) == ((0.5, 0.5), (2.0, 3.0))


def test_an_outline_may_be_written_closed_and_a_line_stays_closed() -> None:
    closed = "hall:0,0,1,0,1,1,0,0"
    assert len(read_zone(closed).points) == len(read_mask(closed).points) == 3
    assert len(read_line(closed).points) == 4


def test_anchors_have_names() -> None:
    assert read_anchor("bottom") == (0.5, 1.0)
    assert read_anchor("centre") == read_anchor("center") == (0.5, 0.5)
    assert read_names(" person, ,car") == {"person", "car"}
    assert read_names(None) == frozenset()


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_line, "", "--line : the name is missing"),
        (read_line, "gate", "--line gate: the name is missing"),
        (read_line, ":0,0,1,1", "--line :0,0,1,1: the name is missing"),
        (read_line, "gate:0,0,1", "--line gate: 3 numbers, but pairs are needed and at least 2 of them"),
        (read_line, "gate:a,b,c,d", "--line gate: 'a,b,c,d' is not a list of numbers"),
        (read_zone, "hall:0,0,1,1:person", "--zone hall: 4 numbers, but pairs are needed and at least 3 of them"),
        (read_mask, "tree:0,0,1,0,1,1:person", "--mask-ignore tree: a mask cannot have classes"),
        (read_ground_point, "0.3=1,2", "--ground 0.3=1,2: not a point of the picture and its place on the ground"),
        (read_anchor, "top", "--anchor top: not a point of the box"),
        (read_size, "1280", "--size 1280: not a picture size"),
        (read_size, "0x720", "--size 0x720: not a picture size"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_option_and_the_form(read, text: str, message: str) -> None:
    with pytest.raises(GrammarError) as refused:
        read(text)
    assert str(refused.value) == message
    assert "write" in refused.value.hint
