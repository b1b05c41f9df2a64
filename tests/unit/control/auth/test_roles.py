"""Built-in and custom roles, and who may give them away."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.control.permissions_page import PAGE, page

from countline_common.access.scopes import EVERYTHING, Held, Scope, not_covered, reach
from countline_common.access.vocabulary import MACHINES_ONLY, MEANINGS, PEOPLE, Permission
from countline_common.errors import ConflictError, InvalidInputError, PermissionDeniedError
from countline_control.auth.access.holding import Grantor, check_may_give, check_remains
from countline_control.auth.access.roles import BUILT_IN, Role, check_custom


def test_the_page_is_the_one_that_the_code_renders() -> None:
    assert PAGE.read_text() == page(), "run make permissions"


def test_every_permission_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Permission)


def test_each_built_in_role_permits_more_than_the_next() -> None:
    held = [role.permissions for role in BUILT_IN.values()]
    assert list(BUILT_IN) == ["super-admin", "admin", "operator", "viewer", "guest"]
    assert all(less < more for more, less in pairwise(held))


def test_no_role_permits_what_only_machines_may_do() -> None:
    assert BUILT_IN["super-admin"].permissions == PEOPLE
    assert PEOPLE.isdisjoint(MACHINES_ONLY)


@pytest.mark.parametrize("role", ["viewer", "guest"])
def test_a_viewer_and_a_guest_change_nothing_but_the_own_account(role: str) -> None:
    changes = {name for name in BUILT_IN[role].permissions if not name.endswith(":read")}
    assert changes == {"self:write"}


@pytest.mark.parametrize(
    ("role", "fields"),
    [
        (Role("auditor", "", frozenset({"audit:read"})), []),
        (Role("Auditor", "", frozenset({"audit:read"})), ["role"]),
        (Role("admin", "", frozenset({"audit:read"})), ["role"]),
        (Role("x" * 64, "", frozenset({"audit:read"})), ["role"]),
        (Role("auditor", "x" * 121, frozenset({"audit:read"})), ["title"]),
        (Role("auditor", "", frozenset()), ["permissions"]),
        (Role("auditor", "", frozenset({"audit:eat", "*"})), ["permissions", "permissions"]),
        (Role("auditor", "", frozenset({"camera:secrets"})), ["permissions"]),
    ],
)
def test_a_custom_role_that_would_mislead_is_refused(role: Role, fields: list[str]) -> None:
    if not fields:
        check_custom(role)
        return
    with pytest.raises(InvalidInputError) as caught:
        check_custom(role)
    assert [problem.field for problem in caught.value.fields] == fields


LAB, DOORS = Scope(site_id="lab"), Scope(camera_ids=frozenset({"a", "b"}))
SCOPES = st.sampled_from([EVERYTHING, LAB, Scope(site_id="yard"), DOORS, Scope(camera_ids=frozenset({"a"}))])
HELD = st.builds(Held, st.frozensets(st.sampled_from(sorted(PEOPLE)[:4])), SCOPES)


@pytest.mark.parametrize(
    ("holds", "wanted", "covered"),
    [
        (EVERYTHING, EVERYTHING, True),
        (EVERYTHING, LAB, True),
        (LAB, LAB, True),
        (LAB, EVERYTHING, False),
        (LAB, Scope(site_id="yard"), False),
        (DOORS, Scope(camera_ids=frozenset({"a"})), True),
        (DOORS, Scope(camera_ids=frozenset({"a", "c"})), False),
        (DOORS, EVERYTHING, False),
        (LAB, DOORS, False),
    ],
)
def test_a_scope_covers_what_lies_in_it(holds: Scope, wanted: Scope, covered: bool) -> None:
    assert reach([Held(frozenset({"camera:read"}), holds)], "camera:read").covers(wanted) == covered
    assert not reach([Held(frozenset({"camera:read"}), holds)], "camera:write")


@given(st.lists(HELD, max_size=4), st.lists(HELD, max_size=3))
def test_what_is_not_covered_is_exactly_what_is_missing(holder: list[Held], wanted: list[Held]) -> None:
    missing = not_covered(holder, wanted)
    assert not_covered(wanted, wanted) == []
    assert (not_covered([*holder, *wanted], wanted)) == []
    added = [Held(frozenset({permission}), scope) for permission, scope in missing]
    assert not_covered([*holder, *added], wanted) == []


def test_an_error_names_what_is_not_held() -> None:
    vera = Grantor("u", "vera", (Held(BUILT_IN["viewer"].permissions, LAB),))
    check_may_give(vera, (Held(frozenset({"camera:read"}), LAB),), "do it")
    with pytest.raises(PermissionDeniedError, match="vera does not hold 'camera:write' over site lab"):
        check_may_give(vera, (Held(frozenset({"camera:write"}), LAB),), "do it")
    with pytest.raises(PermissionDeniedError, match=r"and \d+ more"):
        check_may_give(vera, (Held(BUILT_IN["admin"].permissions),), "do it")


def test_one_super_admin_remains() -> None:
    check_remains(1, "ann", "deleted")
    with pytest.raises(ConflictError, match="last super-admin and cannot be deleted"):
        check_remains(0, "ann", "deleted")
