"""The conformance suite inside the product: it passes, and it would notice if the rule were another."""

import json

import pytest
from tests.fixtures.examples import is_fuzzing
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_counting import rules
from countline_pipelines.selftest.cases import all_cases
from countline_pipelines.selftest.run import FORMS, run_cases


@pytest.mark.fuzz
def test_every_case_is_counted_right_in_every_form():
    """In `make test`, each case as it is and in one other form; these forms take turns."""
    plain, *others = FORMS
    outcomes = [
        outcome
        for number, case in enumerate(all_cases())
        for outcome in run_cases([case], FORMS if is_fuzzing() else (plain, others[number % len(others)]))
    ]
    assert [(outcome.case.name, outcome.failed_forms) for outcome in outcomes if not outcome.passed] == []


def test_there_are_enough_cases_each_with_a_name_and_a_remark_of_its_own():
    cases = all_cases()
    assert len(cases) >= 100
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.remark for case in cases)


@pytest.mark.parametrize(
    ("number", "value", "case"),
    [
        ("EXCURSION_S", 0.0, "flickers far beyond"),
        ("DESTINATION_CLEAR_HEIGHTS", 0.01, "a foot over the line"),
        ("DESTINATION_CLEAR_HEIGHTS", 1.0, "half a height beyond"),
        ("ORIGIN_CLEAR_HEIGHTS", 0.0, "clean pass"),
        ("APPROACH_HEIGHTS", 0.15, "comes into view before the line"),
        ("APPROACH_DEVIATIONS", 1000.0, "comes into view before the line"),
        ("JITTER_DEVIATIONS", 0.0, "noise, stands on the line"),
        ("JITTER_DEVIATIONS", 0.0, "noise, stands on a vertical line"),
        ("JITTER_DEVIATIONS", 0.0, "noise, stands on a diagonal line"),
        ("JITTER_DEVIATIONS", 90.0, "noise, goes over at last"),
        ("OBJECT_UNSEEN_S", 10.0, "unseen for 4 s"),
        ("OBJECT_UNSEEN_S", 0.2, "hidden over the line"),
        ("SAME_OBJECT_OVERLAP", 1.1, "two boxes on one"),
        ("NESTED_OVERLAP", 1.1, "nested boxes"),
        ("SECOND_BOX_OVERLAP", 1.1, "a person and his legs"),
        ("SAME_OBJECT_OTHER_CLASS_OVERLAP", 1.1, "person and rider"),
        ("ZONE_CHANGE_S", 0.0, "teleports into a zone"),
    ],
)
def test_the_suite_notices_a_number_of_the_rule_that_is_off(monkeypatch, number, value, case):
    monkeypatch.setattr(rules, number, value)
    if value == 0 and number.endswith("_S"):  # either number alone would still stop a single bad box
        monkeypatch.setattr(rules, "EXCURSION_SAMPLES", 1)
    if number == "NESTED_OVERLAP":  # after a second, such a box would be a second box of the object
        monkeypatch.setattr(rules, "SECOND_BOX_OVERLAP", value)
    cases = [each for each in all_cases() if each.name == case]
    assert [outcome.case.name for outcome in run_cases(cases, FORMS[:1]) if not outcome.passed]


@pytest.fixture
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command counts the first cases only; another test counts all of them."""
    monkeypatch.setattr("countline_pipelines.cli.selftest.all_cases", lambda: all_cases()[:8])


@pytest.mark.usefixtures("few_cases")
def test_the_command_prints_truth_against_counted_as_json():
    result = CliRunner().invoke(app, ["selftest", "--quick", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["failed"] == 0
    assert printed["cases"][0]["true"] == {"gate": [1, 0]}
    assert printed["cases"][0]["counted"] == {"gate": [1, 0]}


@pytest.mark.usefixtures("few_cases")
def test_the_command_leaves_with_one_when_a_case_is_wrong(monkeypatch):
    monkeypatch.setattr(rules, "DESTINATION_CLEAR_HEIGHTS", 5.0)
    result = CliRunner().invoke(app, ["selftest", "--quick"])
    assert result.exit_code == 1
    assert "wrong" in result.stdout
