"""Ids made of names, the life of a camera, and pages of a sorted list."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.repository import REPOSITORY

from countline_common.errors import ConflictError, InvalidInputError
from countline_common.grpc.paging import Page
from countline_control import names
from countline_control.cameras.domain import CameraObservation, ObservedState
from countline_control.cameras.lifecycle import TRANSITIONS, WantedStatus, check_transition
from countline_control.cameras.listing import ORDERS, CameraFilter, CameraSummary, page_of
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


SUMMARY = CameraSummary("", "lab", "", "", WantedStatus.ACTIVE, "", 0.0, 0.0)
words = st.sampled_from(["", "a", "B", "ä"])
summaries = st.lists(
    st.builds(lambda i, name, at: replace(SUMMARY, camera_id=f"c{i}", name=name, created_at=at),
              st.integers(0, 30), words, st.sampled_from([0.0, 1.5])),
    unique_by=lambda each: each.camera_id,
)  # fmt: skip


@given(summaries, st.sampled_from(ORDERS), st.booleans(), st.integers(1, 4), st.sets(st.integers(0, 30)))
def test_pages_show_each_camera_once_in_order_whatever_is_deleted_meanwhile(
    found, field, descending, size, gone
) -> None:
    shown = CameraFilter(order_by=f"{field} desc" if descending else field)
    everything, after, seen = list(found), "", []
    while True:
        ids, after = page_of(found, {}, shown, Page(size, after))
        seen += ids
        if not after:
            break
        found = [each for each in found if each.camera_id not in {f"c{i}" for i in gone}]
    kept = {each.camera_id for each in found}
    order = sorted(everything, key=lambda each: (getattr(each, field), each.camera_id), reverse=descending)
    assert len(set(seen)) == len(seen)
    assert kept <= set(seen)
    assert seen == [each.camera_id for each in order if each.camera_id in seen]


@pytest.mark.parametrize("after", ["", "x", "[]", "{}", "[1, 2]", '["a"]', "[null, null]", '[1, "c1"]'])
def test_a_forged_place_in_a_list_is_refused(after: str) -> None:
    found = [replace(SUMMARY, camera_id=f"c{i}") for i in range(3)]
    if not after:
        assert page_of(found, {}, CameraFilter(), Page(2, after)) == (["c0", "c1"], json.dumps(["c1", "c1"]))
        return
    with pytest.raises(InvalidInputError):
        page_of(found, {}, CameraFilter(), Page(2, after))


def test_what_is_observed_filters_active_cameras_by_state_worker_and_model() -> None:
    running = CameraObservation(ObservedState.RUNNING, worker_id="w1", model="net@2")
    found = [
        replace(SUMMARY, camera_id="counts"),
        replace(SUMMARY, camera_id="waits", model="net"),
        replace(SUMMARY, camera_id="paused", model="net@1", status=WantedStatus.PAUSED),
    ]

    def ids(**shown: object) -> list[str]:
        return page_of(found, {"counts": running}, CameraFilter(**shown), Page(10, ""))[0]

    assert ids(observed=ObservedState.RUNNING) == ["counts"]
    assert ids(observed=ObservedState.WAITING) == ["waits"]
    assert ids(worker_id="w1") == ["counts"]
    assert ids(model="net") == ["counts", "paused", "waits"]
    assert ids(model="net@2") == ["counts"]
    assert ids(model="ne") == []


def test_the_docs_show_the_table_of_transitions() -> None:
    page = (REPOSITORY / "docs" / "cameras.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page.partition("## What is seen")[0], re.MULTILINE))
    shown = {WantedStatus(name): tuple(re.findall(r"`(\w+)`", cell)) for name, cell in rows.items()}
    assert shown == TRANSITIONS
    states = re.findall(r"^\| `(\w+)` \|", page.partition("## What is seen")[2], re.MULTILINE)
    assert set(states) == {state.value for state in ObservedState if state}
