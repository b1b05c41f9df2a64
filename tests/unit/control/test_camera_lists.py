"""Ids made of names, the life of a camera, and pages of a sorted list."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.repository import REPOSITORY

from countline_common.errors import ConflictError, InvalidInputError
from countline_common.grpc.texts import text_problem
from countline_control import names
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.cameras.lifecycle import TRANSITIONS, WantedStatus, check_transition
from countline_control.cameras.lists.filters import CameraFilter, ObservedCameras, PageKey, observed_cameras, page_key
from countline_control.cameras.naming import id_of_name, stem_of

STORED = [status for status in WantedStatus if status not in (WantedStatus.UNSPECIFIED, WantedStatus.UNKNOWN)]


@pytest.mark.parametrize(
    ("name", "camera_id"),
    [
        ("Main Entrance", "main-entrance"),
        ("  Straße / Café №1 ", "strasse-cafe-no1"),
        ("入口", "camera"),
        ("--", "camera"),
        ("a" * 80, "a" * 63),
    ],
)
def test_an_id_reads_like_the_name(name: str, camera_id: str) -> None:
    assert id_of_name(name, ()) == camera_id


@given(st.text(max_size=90), st.integers(0, 12))
def test_an_id_made_of_a_name_is_valid_and_new(name: str, others: int) -> None:
    taken: set[str] = set()
    for _ in range(others + 1):
        made = id_of_name(name, taken)
        assert names.is_label(made)
        assert made not in taken
        assert made.startswith(stem_of(name)), "the service looks for taken ids by this"
        taken.add(made)


@given(st.sampled_from(STORED), st.sampled_from(STORED))
def test_a_status_changes_along_the_table_and_a_refusal_names_what_is_possible(before, after) -> None:
    if after is before or after in TRANSITIONS[before]:
        check_transition("door", before, after)
        return
    with pytest.raises(ConflictError) as caught:
        check_transition("door", before, after)
    assert all(word in caught.value.hint for word in TRANSITIONS[before])


def test_only_retired_is_for_ever() -> None:
    assert set(TRANSITIONS) == set(STORED)
    assert [status for status, following in TRANSITIONS.items() if not following] == [WantedStatus.RETIRED]


def test_what_is_observed_filters_cameras_by_state_worker_and_model() -> None:
    known = {
        "counts": CameraObservation(ObservedState.RUNNING, worker_id="w1", model="net@2"),
        "starts": CameraObservation(ObservedState.STARTING, worker_id="w1", model="network@1"),
        "waits": CameraObservation(ObservedState.WAITING),
    }

    def of(**shown: object) -> ObservedCameras:
        return observed_cameras(CameraFilter(**shown), known)

    assert of() == ObservedCameras()
    assert of(observed=ObservedState.RUNNING).included == {"counts"}
    assert of(observed=ObservedState.FAILED).included == set()
    assert of(worker_id="w1").included == {"counts", "starts"}
    assert of(worker_id="w1", observed=ObservedState.STARTING).included == {"starts"}
    waiting = of(observed=ObservedState.WAITING)
    assert waiting.included is None, "a camera of which nothing is known waits, too"
    assert waiting.excluded == {"counts", "starts"}
    assert of(model="net").counted == of(model="net@2").counted == {"counts"}


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_key_of_a_page_comes_back_unless_it_holds_control_characters(value: str, camera_id: str) -> None:
    key = PageKey(value, camera_id)
    if text_problem(value) or text_problem(camera_id):
        with pytest.raises(InvalidInputError):
            page_key(key.text(), "name")
        return
    assert page_key(key.text(), "name desc") == key


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_to_the_microsecond(moment: datetime) -> None:
    key = PageKey(moment, "door")
    assert page_key(key.text(), "created_at") == key


@pytest.mark.parametrize("order", ["name", "created_at"])
@pytest.mark.parametrize(
    "text", ["x", "[]", "{}", "[1, 2]", '["a"]', "[null, null]", '[1, "c1"]', '["2026-01-01T00:00:00", 1]']
)
def test_a_forged_place_in_a_list_is_refused(text: str, order: str) -> None:
    with pytest.raises(InvalidInputError):
        page_key(text, order)


@pytest.mark.parametrize("text", ['["a", "c"]', '["2026-01-01T00:00:00", "c"]'])
def test_a_place_by_time_needs_a_time_with_a_zone(text: str) -> None:
    assert page_key(text, "name").camera_id == "c"
    with pytest.raises(InvalidInputError):
        page_key(text, "created_at")


def test_the_docs_show_the_table_of_transitions() -> None:
    page = (REPOSITORY / "docs" / "cameras.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page.partition("## What is seen")[0], re.MULTILINE))
    shown = {WantedStatus(name): tuple(re.findall(r"`(\w+)`", cell)) for name, cell in rows.items()}
    assert shown == TRANSITIONS
    states = re.findall(r"^\| `(\w+)` \|", page.partition("## What is seen")[2].partition("## Lists")[0], re.MULTILINE)
    assert set(states) == {state.value for state in ObservedState if state}
