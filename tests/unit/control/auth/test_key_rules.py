"""What an API key holds: never more than its owner."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.scopes import EVERYTHING, Held, Scope, not_covered, reach
from countline_common.errors import InvalidInputError
from countline_control.auth.keys.domain import check_name, expiry, narrowed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAB, DOOR, DOORS = Scope("lab"), Scope(camera_ids=frozenset({"a"})), Scope(camera_ids=frozenset({"a", "b"}))
SCOPES = st.sampled_from([EVERYTHING, LAB, Scope("yard"), DOOR, DOORS, Scope(camera_ids=frozenset({"b", "c"}))])
HELD = st.lists(
    st.builds(Held, st.frozensets(st.sampled_from(["camera:read", "camera:write", "x:y"])), SCOPES), max_size=4
)


@given(HELD, HELD)
def test_a_key_holds_no_more_than_its_owner_and_no_more_than_its_limits(owner: list[Held], limits: list[Held]) -> None:
    both = list(narrowed(owner, limits))
    assert not_covered(owner, both) == []
    assert not_covered(limits, both) == []


@given(HELD)
def test_limits_that_the_owner_holds_take_nothing_away(held: list[Held]) -> None:
    assert not_covered(narrowed(held, held), held) == []


@pytest.mark.parametrize(
    ("owner", "limit", "common"),
    [
        (EVERYTHING, LAB, [LAB]),
        (LAB, EVERYTHING, [LAB]),
        (LAB, Scope("yard"), []),
        (DOORS, DOOR, [DOOR]),
        (LAB, DOOR, []),
        (DOOR, LAB, []),
    ],
)
def test_scopes_have_in_common_what_lies_in_both(owner: Scope, limit: Scope, common: list[Scope]) -> None:
    held = frozenset({"camera:read"})
    assert [each.scope for each in narrowed([Held(held, owner)], [Held(held, limit)])] == common


@given(HELD)
def test_the_scopes_of_a_reach_make_up_that_reach(held: list[Held]) -> None:
    found = reach(held, "camera:read")
    again = reach([Held(frozenset({"camera:read"}), scope) for scope in found.scopes()], "camera:read")
    assert again == found or found.everything


def test_a_key_lives_for_a_year_unless_another_time_is_given() -> None:
    assert expiry(None, NOW) == NOW + timedelta(days=365)
    assert expiry(NOW + timedelta(hours=1), NOW) == NOW + timedelta(hours=1)
    for wrong in (NOW, NOW - timedelta(days=1), NOW + timedelta(days=3000)):
        with pytest.raises(InvalidInputError, match="cannot be created"):
            expiry(wrong, NOW)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb", "\x1b[31m"])
def test_a_key_without_a_usable_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        check_name(name)
