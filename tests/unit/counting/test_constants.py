"""The table of constants: complete, equal to its page, and the benchmark's way to vary one of them."""

import json
import subprocess
import sys

import pytest
from tests.benchmarks.mot import sensitivity
from tests.benchmarks.mot.constants import PAGE, constants, page
from tests.benchmarks.mot.sensitivity import Change, Figures, Sensitivity
from tests.fixtures.repository import REPOSITORY

from countline_counting.constants import LINES
from countline_counting.tracking import TrackerSettings


def test_every_constant_has_one_line_and_every_line_a_constant():
    """A constant that is new, renamed or gone fails here. Add, rename or delete its line in constants.py."""
    found, lines = [each.key for each in constants()], [line.key for line in LINES]
    assert {"without a line": sorted(set(found) - set(lines)), "of no constant": sorted(set(lines) - set(found))} == {
        "without a line": [],
        "of no constant": [],
    }
    assert len(set(lines)) == len(lines)


def test_constants_are_found_with_their_values():
    by_key = {each.key: each.value for each in constants()}
    settings = TrackerSettings()
    fields = {f"tracking.settings.{name}": getattr(settings, name) for name in TrackerSettings.__dataclass_fields__}
    numbers = {key: value for key, value in fields.items() if isinstance(value, int | float)}
    assert numbers.items() <= by_key.items()
    assert by_key["rules.EXCURSION_SAMPLES"] == 2


def test_every_constant_says_what_it_decides_and_why():
    assert [each.key for each in constants() if not each.meaning] == []
    assert [line.key for line in LINES if not (line.unit and line.why)] == []


def test_the_page_is_the_one_that_the_code_renders():
    assert PAGE.read_text() == page(), "run make constants"


PROBE = """
from tests.benchmarks.mot.constants import vary
vary({key!r}, {value!r})
import json
from countline_counting import reasons, rules
from countline_counting.rule import passage
from countline_counting.tracking import TrackerSettings
words = reasons.REASONS[reasons.Reason.TURNED_BACK]
print(json.dumps([rules.DESTINATION_CLEAR_HEIGHTS, words, TrackerSettings().gate, rules.EXCURSION_SAMPLES]))
"""


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rules.DESTINATION_CLEAR_HEIGHTS", 0.44, (0.44, "0.44 heights", 4.0, 2)),
        ("rules.EXCURSION_SAMPLES", 4.0, (0.22, "0.22 heights", 4.0, 4)),
        ("tracking.settings.gate", 8.0, (0.22, "0.22 heights", 8.0, 2)),
    ],
)
def test_a_varied_constant_reaches_everything_that_is_computed_from_it(key, value, expected):
    probe = PROBE.format(key=key, value=value)
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    clear, words, gate, samples = json.loads(done.stdout)
    assert (clear, gate, samples) == (expected[0], *expected[2:])
    assert expected[1] in words
    assert isinstance(samples, int)


def test_a_constant_of_a_module_that_is_imported_cannot_be_varied():
    done = subprocess.run(
        [sys.executable, "-c", "import countline_counting.rules\n" + PROBE.format(key="rules.STALL_S", value=2.0)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "rules is imported already" in done.stderr


def test_stored_figures_are_read_as_they_were_written(tmp_path):
    changes = {
        "rules.A": Change(0.5, Figures(36, 0.86, 2), None),
        "rules.B": Change(2.0, Figures(34, 0.8642, 0), Figures(33, 0.87, 0)),
    }
    found = Sensitivity(5, 11, 303, Figures(34, 0.8642, 0), changes)
    sensitivity.write(found, tmp_path / "figures.json")
    assert sensitivity.read(tmp_path / "figures.json") == found
    assert found.cells("rules.A", 0.5) == ("+2, F1 -0.004, 2 cases", "refused")
    assert found.cells("rules.B", 2.0) == ("=", "-1, F1 +0.006")
    assert found.cells("rules.B", 3.0) == ("not measured", "not measured")
    assert found.cells("rules.C", 3.0) == ("not measured", "not measured")


def test_stored_figures_are_those_of_constants():
    assert set(sensitivity.read().changes) <= {each.key for each in constants()}


VARIANT = """
import pickle, sys
from pathlib import Path
from tests.benchmarks.mot.variant import prepare, scores
path = Path(sys.argv[1])
print(prepare([path.parent], path))
prepared = pickle.loads(path.read_bytes())
print(scores(prepared, track=True) == scores(prepared, track=False))
"""


def test_recorded_tracks_are_counted_like_tracked_detections(tmp_path):
    """A person walks down over the line `across`."""
    (tmp_path / "seqinfo.ini").write_text(
        "[Sequence]\nname=walk\nframeRate=10\nseqLength=30\nimWidth=1000\nimHeight=1000\n"
    )
    boxes = [f"{i + 1},{{}},480,{250 + 20 * i},40,100,{{}}" for i in range(30)]
    (tmp_path / "gt.txt").write_text("".join(box.format(1, "1,1,1") + "\n" for box in boxes))
    (tmp_path / "det.txt").write_text("".join(box.format(-1, 0.5 + i / 100) + "\n" for i, box in enumerate(boxes)))
    command = [sys.executable, "-c", VARIANT, str(tmp_path / "prepared")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "True"]
