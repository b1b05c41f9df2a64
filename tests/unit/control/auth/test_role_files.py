"""Files of roles: each problem is named with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.scopes import Scope
from countline_control.auth.access.role_files import read_role_file
from countline_control.auth.access.roles import BUILT_IN

GOOD = """\
roles:
  auditor:
    title: Reads the audit
    includes: [viewer]
    permissions: [audit:read]
  chief:
    includes: [auditor]
grants:
  - {role: auditor, site: lab}
  - {role: chief, cameras: [door]}
  - {role: guest}
"""


def test_a_file_of_roles_is_read_with_what_its_roles_include() -> None:
    found = read_role_file(GOOD)
    assert found.problems == ()
    roles = {role.name: role.permissions for role in found.roles}
    assert roles == dict.fromkeys(("auditor", "chief"), BUILT_IN["viewer"].permissions | {"audit:read"})
    assert [(each.line, each.scope) for each in found.scopes] == [
        (9, Scope("lab")),
        (10, Scope(camera_ids=frozenset({"door"}))),
    ]


def test_json_is_read_too() -> None:
    text = json.dumps({"roles": {"auditor": {"permissions": ["audit:read"]}}}, indent=2)
    assert [role.name for role in read_role_file(text).roles] == ["auditor"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "is empty"),
        ("[]", 1, "must be a mapping"),
        ("roles: {", 1, "is not YAML"),
        ("? [a]\n: b\n", 1, "is no text"),
        ("a: \0", 1, "is not YAML"),
        ("roles:\n  a: [\n", 3, "is not YAML"),
        ("rules: {}", 1, "has no field 'rules'"),
        ("grants: []", 1, "no `roles`"),
        ("roles:\n  a:\n    permissions: [audit:eat]\n", 2, "'audit:eat' is not a permission"),
        ("roles:\n  a:\n    permissions: [camera:secrets]\n", 2, "held by machines only"),
        ("roles:\n  a:\n    permissions: []\n", 2, "is empty"),
        ("roles:\n  a: {}\n", 2, "is empty"),
        ("roles:\n  a:\n", 2, "must be a mapping"),
        ("roles:\n  a:\n    permissions: audit:read\n", 3, "must be a list"),
        ("roles:\n  a:\n    powers: [x]\n    permissions: [audit:read]\n", 3, "has no field 'powers'"),
        ("roles:\n  A b:\n    permissions: [audit:read]\n", 2, "lower-case"),
        ("roles:\n  admin:\n    permissions: [audit:read]\n", 2, "built-in role"),
        ("roles:\n  a:\n    permissions: [audit:read]\n  a:\n    permissions: [user:read]\n", 4, "stands twice"),
        ("roles:\n  a:\n    includes: [b]\n  b:\n    includes: [a]\n", 2, "include each other"),
        ("roles:\n  a:\n    includes: [a]\n", 2, "include each other"),
        ("roles:\n  a:\n    includes: [ghost]\n    permissions: [audit:read]\n", 2, "'ghost', which is no role"),
        ("roles:\n  a:\n    permissions: [audit:read]\ngrants:\n  - {role: b}\n", 5, "names no role"),
        ("roles:\n  a:\n    permissions: [audit:read]\ngrants:\n  - {role: a, site: A B}\n", 5, "not the id of a site"),
        ("roles:\n  a:\n    permissions: [audit:read]\ngrants: x\n", 4, "must be a list"),
    ],
)
def test_a_problem_is_named_with_its_line(text: str, line: int, says: str) -> None:
    problems = read_role_file(text).problems
    assert any(problem.line == line and says in problem.message for problem in problems), problems


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["roles", "includes", "a"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["roles", "grants", "a", "includes", "permissions", "role", "site", "cameras", "title"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    found = read_role_file(json.dumps(value))
    if not isinstance(value, dict):
        assert found.problems


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    read_role_file(text)
