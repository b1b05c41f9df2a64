"""The table of constants: complete, equal to its page, and the benchmark's way to vary one of them."""

import json
import subprocess
import sys

import pytest
from tests.benchmarks.mot.constants import PAGE, constants, page
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
