"""Groups at the identity provider: which roles they give, and what a file of them may say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.scopes import EVERYTHING, Scope
from countline_control.auth.access.roles import BUILT_IN
from countline_control.auth.domain import Grant, with_origins
from countline_control.auth.oidc.groups import (
    ANYONE,
    GroupRule,
    claimed_groups,
    grants_of_groups,
    person_of,
    read_group_file,
    regranted,
    unknown_roles,
    username_like,
)

GOOD = """\
groups:
  - {group: ops, role: admin}
  - {group: shop-staff, role: operator, site: shop}
  - group: door team
    role: viewer
    cameras: [door, gate]
  - {group: "*", role: guest}
"""


def test_a_file_gives_roles_over_everything_a_site_or_cameras() -> None:
    found = read_group_file(GOOD)
    assert found.problems == ()
    assert [(rule.line, rule.group, rule.role, rule.scope) for rule in found.rules] == [
        (2, "ops", "admin", EVERYTHING),
        (3, "shop-staff", "operator", Scope("shop")),
        (4, "door team", "viewer", Scope(camera_ids=frozenset({"door", "gate"}))),
        (7, ANYONE, "guest", EVERYTHING),
    ]
    as_json = json.dumps({"groups": [{"group": "ops", "role": "admin"}]}, indent=1)
    assert read_group_file(as_json).rules[0].role == "admin"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "is empty"),
        ("groups: [", 1, "not YAML"),
        ("roles: []", 1, "has no field 'roles'"),
        ("{}", 1, "needs `groups`"),
        ("groups: {ops: admin}", 1, "needs `groups`, a list"),
        ("groups:\n  - ops", 2, "must be a mapping"),
        ("groups:\n  - {group: ops}", 2, "names no role"),
        ("groups:\n  - {role: admin}", 2, "names no group"),
        ("groups:\n  - {group: '', role: admin}", 2, "names no group"),
        ("groups:\n  - {group: [a], role: admin}", 2, "names no group"),
        ("groups:\n  - {group: ops, role: admin, sites: shop}", 2, "has no field 'sites'"),
        ("groups:\n  - {group: ops, role: admin, role: viewer}", 2, "stands twice"),
        ("groups:\n  - {group: ops, role: worker}", 2, "for service accounts only"),
        ("groups:\n  - {group: ops, role: viewer, site: ''}", 2, "needs either a site or cameras"),
        ("groups:\n  - {group: ops, role: viewer, site: '../x'}", 2, "not the id of a site"),
        ("groups:\n  - {group: ops, role: viewer, site: [a]}", 2, "must be a name"),
        ("groups:\n  - {group: ops, role: viewer, site: a, cameras: [b]}", 2, "needs either a site or cameras"),
        ("groups:\n  - {group: ops, role: viewer, cameras: door}", 2, "must be a list of names"),
    ],
)
def test_each_problem_of_a_file_is_named_with_its_line(text: str, line: int, problem: str) -> None:
    found = read_group_file(text)
    assert (line, True) in [(each.line, problem in each.message) for each in found.problems], found.problems
    assert all(rule.scope != EVERYTHING or "site" not in text for rule in found.rules), "no wider than it is written"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["groups", "group", "role", "site", "cameras", "x"]), inner, max_size=3), max_leaves=8))  # fmt: skip  # noqa: E501
def test_any_document_is_read_or_refused(document: object) -> None:
    found = read_group_file(json.dumps(document))
    assert found.problems or all(rule.group and rule.role for rule in found.rules)


def test_roles_that_do_not_exist_are_named() -> None:
    rules = read_group_file("groups:\n  - {group: a, role: admin}\n  - {group: b, role: amdin}").rules
    assert [(each.line, each.message) for each in unknown_roles(rules, BUILT_IN)] == [(3, "'amdin' is no role")]


GROUPS = ("a", "b", "c")
scopes = st.sampled_from([EVERYTHING, Scope("s1"), Scope("s2"), Scope(camera_ids=frozenset({"c1"}))])
roles = st.sampled_from([*BUILT_IN, "gone"])
rules = st.lists(st.builds(GroupRule, st.just(1), st.sampled_from((*GROUPS, ANYONE)), roles, scopes), max_size=8)
manual = st.lists(st.builds(lambda role, scope: Grant(role, BUILT_IN[role].permissions, scope), st.sampled_from([*BUILT_IN]), scopes), max_size=3, unique=True)  # fmt: skip  # noqa: E501


@given(rules, st.sets(st.sampled_from(GROUPS)))
def test_groups_give_what_the_mapping_says_and_nothing_else(mapping: list[GroupRule], groups: set[str]) -> None:
    allowed = {(rule.role, rule.scope) for rule in mapping if rule.group in {*groups, ANYONE} and rule.role in BUILT_IN}
    found = grants_of_groups(mapping, groups, BUILT_IN)
    given_ = {(grant.role, grant.scope) for grant in found}
    assert given_ <= allowed
    assert len(given_) == len(found)
    for role, scope in allowed - given_:
        assert scope != EVERYTHING, "left out only where"
        assert (role, EVERYTHING) in given_, "the same role covers everything"
    assert all(grant.from_groups and grant.permissions == BUILT_IN[grant.role].permissions for grant in found)


@given(manual, st.lists(st.tuples(rules, st.sets(st.sampled_from(GROUPS))), min_size=1, max_size=4))
def test_each_login_replaces_what_groups_gave_and_keeps_what_an_administrator_gave(
    given_: list[Grant], logins: list[tuple[list[GroupRule], set[str]]]
) -> None:
    grants = tuple(given_)
    for mapping, groups in logins:
        grants = regranted(grants, grants_of_groups(mapping, groups, BUILT_IN))
    mapped = grants_of_groups(*logins[-1], BUILT_IN)
    places = [(grant.role, grant.scope) for grant in grants]
    assert {grant for grant in grants if not grant.from_groups} == set(given_)
    assert set(places) == {(grant.role, grant.scope) for grant in (*given_, *mapped)}
    assert len(places) == len(set(places))
    # Who edits the roles afterwards must not turn what groups gave into a gift for ever.
    edited = with_origins([Grant(grant.role, grant.permissions, grant.scope) for grant in grants], grants)
    assert edited == grants


@pytest.mark.parametrize(
    ("claims", "name", "groups"),
    [
        ({"groups": ["a", "b", 5, None]}, "groups", {"a", "b"}),
        ({"groups": "a"}, "groups", {"a"}),
        ({"groups": []}, "groups", set()),
        ({"groups": {"a": 1}}, "groups", None),
        ({}, "groups", None),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
        ({"realm_access": 5}, "realm_access.roles", None),
        ({"https://example.org/groups": ["a"]}, "https://example.org/groups", {"a"}),
    ],
)
def test_groups_are_read_from_the_configured_claim(claims: dict, name: str, groups: set[str] | None) -> None:
    found = claimed_groups(claims, name)
    assert (None if found is None else set(found)) == groups


@pytest.mark.parametrize(
    ("claims", "username"),
    [
        ({"preferred_username": "anna"}, "anna"),
        ({"preferred_username": "EXAMPLE\\anna"}, "EXAMPLE-anna"),
        ({"email": "anna.b@example.org"}, "anna.b"),
        ({"name": "José Ñandú"}, "Jose-Nandu"),
        ({"preferred_username": "安娜", "email": "a@example.org"}, "a"),
        ({"preferred_username": "-@-", "email": 5}, "user"),
        ({"preferred_username": "x\0y\n"}, "xy"),
        ({"preferred_username": "x" * 500}, "x" * 56),
    ],
)
def test_a_new_user_gets_a_name_from_the_claims(claims: dict, username: str) -> None:
    person = person_of({"iss": "i", "sub": "s", **claims}, "groups")
    assert (person.username, person.subject, person.groups) == (username, "s", frozenset())


@given(st.text())
def test_a_name_for_a_user_is_one(text: str) -> None:
    from countline_control.auth.domain import check_username

    if name := username_like(text):
        check_username(name)
