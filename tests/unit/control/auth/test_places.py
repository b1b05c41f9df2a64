"""Grants name sites and cameras that exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.scopes import Scope
from countline_common.errors import InvalidInputError, NotFoundError
from countline_control.auth.access.places import Places, missing_places, site_of

PLACES = Places(frozenset({"north", "south"}), {"door": "north", "gate": "south"})
NAMES = st.sampled_from(["north", "south", "east", "door", "gate", "roof"])
SCOPES = st.builds(Scope, NAMES) | st.builds(lambda ids: Scope("", ids), st.frozensets(NAMES, min_size=1))


def test_places_that_exist_are_no_problem() -> None:
    scopes = [Scope("north"), Scope("", frozenset({"door", "gate"}))]
    assert not list(missing_places(PLACES, scopes, scopes))


def test_each_problem_names_its_position_in_the_request() -> None:
    scopes = [Scope("north"), Scope("east"), Scope("", frozenset({"roof", "door"}))]
    found = list(missing_places(PLACES, scopes[1:], scopes))
    assert [problem.field for problem in found] == ["grants[1].site_id", "grants[2].camera_ids"]
    assert "'east'" in found[0].message
    assert "'roof'" in found[1].message


@given(st.lists(SCOPES, unique=True))
def test_a_grant_is_refused_exactly_where_one_of_its_places_is_missing(scopes: list[Scope]) -> None:
    refused = {problem.field.split(".")[0] for problem in missing_places(PLACES, scopes, scopes)}
    missing = [
        (scope.site_id and scope.site_id not in PLACES.site_ids) or not scope.camera_ids <= PLACES.camera_ids
        for scope in scopes
    ]
    assert refused == {f"grants[{i}]" for i, each in enumerate(missing) if each}


def test_the_site_of_a_camera_is_the_one_where_it_stands() -> None:
    assert [site_of(PLACES, "door", given) for given in ("", "north")] == ["north", "north"]
    with pytest.raises(InvalidInputError) as caught:
        site_of(PLACES, "door", "south")
    assert caught.value.fields[0].message == "camera 'door' is of site 'north', not 'south'"
    with pytest.raises(NotFoundError, match="there is no camera 'roof'"):
        site_of(PLACES, "roof", "north")


def test_where_the_sites_of_cameras_are_unknown_the_caller_names_the_site() -> None:
    assert site_of(None, "door", "north") == "north"
    with pytest.raises(InvalidInputError, match="the site of the camera is unknown"):
        site_of(None, "door", "")
