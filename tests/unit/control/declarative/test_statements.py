"""Files of `countline apply`: what is read, and what is refused with file and line."""

import pytest

from countline_control.declarative.documents import MOST_ENTRIES
from countline_control.declarative.stating import read_statement, with_password

SITE = "sites:\n  lab: {time_zone: Europe/Berlin}\n"
CAMERA = "cameras:\n  door:\n    site: lab\n"


def problems(text: str, file: str = "site.yaml") -> list[str]:
    return [str(each) for each in read_statement([(file, text)]).problems]


def test_several_documents_and_files_state_one_whole() -> None:
    found = read_statement([("a.yaml", f"{SITE}---\n{CAMERA}"), ("b.json", '{"cameras": {"gate": {"site": "yard"}}}')])
    assert not found.problems
    assert list(found.cameras) == ["door", "gate"]
    assert found.owned_sites == {"lab", "yard"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("---\n---\n", 1, "the file is empty"),
        ("- door\n", 1, "must be a mapping"),
        ("camera: {}\n", 1, "known: cameras, sites"),
        ("cameras: [door]\n", 1, "`cameras` must be a mapping"),
        ("cameras:\n\tdoor: {}\n", 2, "is indented with a tab"),
        ("cameras: {door: [}\n", 1, "is not YAML"),
        ("a: \x01\n", 1, "U+0001"),
        ("a: &a {}\nb: *a\n", 2, "aliases are not read"),
        ("a: !!python/object:os.system {}\n", 1, "tags are not read"),
        ("[" * 40, 1, "more than 12 deep"),
        ("cameras:\n  door: {site: lab}\n  door: {site: lab}\n", 3, "'door' stands twice"),
        (f"{CAMERA}---\n{CAMERA}", 6, "is already stated in site.yaml:2"),
        ("cameras:\n  door: {name: x}\n", 2, "names no `site`"),
        (f"{CAMERA}    lins: []\n", 4, "has no field 'lins'"),
        (f"{CAMERA}    rate: 1\n    rate: 2\n", 5, "'rate' stands twice"),
        (f"{CAMERA}    rate: fast\n", 4, "'fast' is not a number"),
        (f"{CAMERA}    rate: .inf\n", 4, "is not a number"),
        (f"{CAMERA}    rate: [1]\n", 4, "must be one value"),
        (f"{CAMERA}    status: on\n", 4, "is none of active, inactive, paused, retired"),
        (f"{CAMERA}    lines: gate\n", 4, "must be a list"),
        (f"{CAMERA}    lines:\n      - gate:0,0,1,1\n      - till:1,2\n", 6, "2 numbers, but pairs are needed"),
        (f"{CAMERA}    ignore_masks: ['pole:0,0,1,0,1,1:person']\n", 4, "a mask cannot have classes"),
        (f"{CAMERA}    position: here\n", 4, "LATITUDE,LONGITUDE"),
        (f"{CAMERA}    recorded_at: 2026-03-01\n", 4, "RFC 3339"),
        (f"{CAMERA}    password_env: SECRET\n", 3, "must hold *** once"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    found = problems(text)
    assert any(each.startswith(f"site.yaml:{line}: ") and words in each for each in found), found


def test_more_entries_than_a_plan_can_show_are_refused() -> None:
    text = "cameras:\n" + "".join(f"  c{i}: {{site: lab}}\n" for i in range(MOST_ENTRIES + 1))
    (found,) = problems(text)
    assert found.startswith(f"site.yaml:1: {MOST_ENTRIES + 1} sites and cameras are stated")


def test_what_is_left_out_stays_and_null_is_the_default() -> None:
    stated = read_statement([("a.yaml", f"{CAMERA}    lines: []\n    rate: ~\n    name: no\n")]).cameras["door"]
    assert stated.values == {"lines": (), "rate": 0.0, "name": "no"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_states_cameras(separator: str) -> None:
    rows = [
        ("camera", "site", "stream_url", "tags", "lines", "rate"),
        ("door", "lab", "rtsp://h/1", "a b", '"gate:0.1,0.5,0.9,0.5 till:0,0,1,1"', "12"),
        ("", "", "", "", "", ""),
        ("yard", "lab", "rtsp://h/2", "", "", ""),
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    found = read_statement([("cameras.CSV", text)])
    assert not found.problems
    door, yard = found.cameras.values()
    assert door.values["tags"] == ("a", "b")
    assert [line.line_id for line in door.values["lines"]] == ["gate", "till"]
    assert (door.values["rate"], yard.values, yard.line) == (12.0, {"stream_url": "rtsp://h/2"}, 4)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "names no column `camera`"),
        ("camera,site,site\n", 1, "names the column 'site' twice"),
        ("camera,site\ndoor\n", 2, "has 1 cells for 2 columns"),
        ("camera,site\n,lab\n", 2, "has no `camera`"),
        ("camera,site,speed\ndoor,lab,3\n", 2, "has no field 'speed'"),
        ('camera,site\n"door,lab\n', 2, "is not CSV"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    found = problems(text, "cameras.csv")
    assert any(each.startswith(f"cameras.csv:{line}: ") and words in each for each in found), found


def test_a_password_is_quoted_for_an_address() -> None:
    assert with_password("rtsp://joe:***@h/live", "p@s/s") == "rtsp://joe:p%40s%2Fs@h/live"
