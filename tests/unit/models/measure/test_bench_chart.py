"""The picture of a benchmark."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFiles
from countline_models.bench.chart import CHOSEN, LIMIT, marks_of, save_chart
from countline_models.bench.points import BenchPoint, Setting
from countline_models.bench.recommend import recommend
from countline_models.charts import HEIGHT, WIDTH, Dot, Words, open_picture, ticks

POINTS = [
    BenchPoint(Setting(batch, 1), in_flight, 40.0 * batch + in_flight, 5, 10.0 * batch * in_flight, 30, 0.01, True, 50)
    for batch in (1, 4)
    for in_flight in (1, 2)
]


def test_every_point_is_drawn_and_the_recommended_one_is_ringed() -> None:
    chosen = recommend(POINTS)
    dots = [mark for mark in marks_of("<model>", POINTS, chosen, 0.0) if isinstance(mark, Dot)]
    rings = [dot for dot in dots if not dot.filled]
    assert len(dots) - len(rings) == len(POINTS)
    assert {ring.colour for ring in rings} == {CHOSEN}
    assert {ring.centre for ring in rings} == {max(dot.centre for dot in dots if dot.filled)}
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in (dot.centre for dot in dots))


def test_a_limit_is_drawn_where_there_is_one() -> None:
    chosen = recommend(POINTS, 25.0)
    words = [mark.text for mark in marks_of("model", POINTS, chosen, 25.0) if isinstance(mark, Words)]
    assert "limit 25 ms" in words
    assert not any(mark.colour == LIMIT for mark in marks_of("model", POINTS, chosen, 0.0))


def test_it_is_written_as_svg_or_as_pixels(tmp_path: Path) -> None:
    chosen = recommend(POINTS)
    with OutputFiles() as outputs:
        save_chart(open_picture(outputs, tmp_path / "chart.svg"), "a <model> & more", POINTS, chosen, 25.0)
    root = ET.parse(tmp_path / "chart.svg").getroot()
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} {HEIGHT}"
    assert "a <model> & more" in [element.text for element in root.iter()]
    with OutputFiles() as outputs:
        save_chart(open_picture(outputs, tmp_path / "chart.png"), "model", POINTS, chosen, 25.0)
    with Image.open(tmp_path / "chart.png") as image:
        assert image.size == (WIDTH, HEIGHT)
        assert len(image.getcolors(WIDTH * HEIGHT)) > 20


def test_a_picture_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    for name in ("chart.unknown", "missing/chart.svg"):
        with OutputFiles() as outputs, pytest.raises(InvalidInputError, match=r"cannot (be written|write)") as caught:
            open_picture(outputs, tmp_path / name)
        assert caught.value.hint


@pytest.mark.parametrize("most", [0.02, 0.9, 1, 7.99, 47, 360, 123456])
def test_axes_have_few_round_labels(most: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert 2 <= len(found) <= 8
    assert found[-1] <= most < found[-1] + found[1]
