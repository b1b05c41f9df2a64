"""The rules of nvdsanalytics's double, which are not ours: each case says how they differ from a plain crossing."""

from pathlib import Path

import pytest
from tests.doubles.deepstream.analytics_rules import AnalyticsConfigError, Seen, StreamRules, load

SECOND = 1_000_000_000
FILE = """[property]
enable=1
config-width=100
config-height=100
obj-cnt-win-in-ms=10

[line-crossing-stream-3]
enable=1
line-crossing-Right=40;50;60;50;50;0;50;40
line-crossing-Left=60;50;40;50;50;0;50;40
class-id=0
extended={extended}
mode={mode}

[roi-filtering-stream-3]
enable=1
roi-Gate=0;0;50;0;50;100;0;100
class-id=-1
"""


def rules(folder: Path, *, mode: str = "loose", extended: int = 1, stream: int = 3) -> StreamRules:
    path = folder / "analytics.txt"
    path.write_text(FILE.format(mode=mode, extended=extended))
    return StreamRules(load(path), stream, (200, 200))


def walk(
    stream: StreamRules, xs: list[float], *, y: float = 40, class_id: int = 0, start_ns: int = 0
) -> dict[str, int]:
    """An object that is at these places, frame after frame; the totals after it."""
    total: dict[str, int] = {}
    for step, x in enumerate(xs):
        total = stream.frame(start_ns + step * SECOND // 10, [Seen(1, class_id, (x, y))]).total
    return total


TO_RIGHT = [20.0 + 10 * step for step in range(16)]


def test_a_crossing_counts_in_its_direction(tmp_path):
    assert walk(rules(tmp_path), TO_RIGHT) == {"Right": 1, "Left": 0}
    assert walk(rules(tmp_path), TO_RIGHT[::-1]) == {"Right": 0, "Left": 1}


def test_a_track_crosses_a_label_once_however_often_it_comes_back(tmp_path):
    assert walk(rules(tmp_path), TO_RIGHT + TO_RIGHT[::-1] + TO_RIGHT) == {"Right": 1, "Left": 1}


def test_a_track_that_was_away_for_nine_seconds_crosses_again(tmp_path):
    stream = rules(tmp_path)
    walk(stream, TO_RIGHT)
    stream.frame(20 * SECOND, [])
    assert walk(stream, TO_RIGHT, start_ns=30 * SECOND)["Right"] == 2


def test_a_small_move_over_the_line_counts_nothing(tmp_path):
    assert walk(rules(tmp_path), [90, 90, 95, 95, 105, 105, 110])["Right"] == 0


@pytest.mark.parametrize(("extended", "count"), [(1, 1), (0, 0)])
def test_beyond_the_end_of_the_line_it_counts_where_the_line_is_extended(tmp_path, extended, count):
    assert walk(rules(tmp_path, extended=extended), TO_RIGHT, y=150)["Right"] == count


def test_other_classes_do_not_count(tmp_path):
    assert walk(rules(tmp_path), TO_RIGHT, class_id=1)["Right"] == 0


def test_a_strict_line_wants_an_older_track(tmp_path):
    assert walk(rules(tmp_path, mode="strict"), TO_RIGHT)["Right"] == 0
    slow = [20.0 + 10 * step for step in range(8)] + [100.0 + 10 * step for step in range(20)]
    assert walk(rules(tmp_path, mode="balanced"), [20.0] * 15 + slow)["Right"] == 1


def test_a_region_counts_who_stands_in_it(tmp_path):
    stream = rules(tmp_path)
    seen = [Seen(1, 0, (50.0, 40.0)), Seen(2, 7, (60.0, 40.0)), Seen(3, 0, (150.0, 40.0))]
    assert stream.frame(0, seen).in_regions == {"Gate": 2}


def test_a_stream_without_a_group_has_no_rules(tmp_path):
    assert not rules(tmp_path, stream=4).has_rules


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("config-width=100\n", "", "config-width"),
        ("[property]", "[properties]", "property"),
        ("50;0;50;40\nline", "50;0;50\nline", "odd"),
        ("40;50;60;50;50;0;50;40", "40;50;60;50", "8 numbers"),
        ("mode=loose", "mode=sloppy", "sloppy"),
        ("stream-3", "stream-x", "invalid literal"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, old, new, reason):
    path = tmp_path / "analytics.txt"
    text = FILE.format(mode="loose", extended=1)
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(AnalyticsConfigError, match=reason):
        load(path)
