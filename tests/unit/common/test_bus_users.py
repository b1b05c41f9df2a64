"""The table of NATS's users: the page shows it, and no user but those of the control-plane gets what would undo it."""

import pytest
from tests.fixtures.local.nats_page import PAGE, page

from countline_common.data.bus_client import _matches
from countline_common.data.bus_users import CONTROL, EARLIER_USER, OPERATOR, USERS, quoted, users_block

RESTRICTED = [user for user in USERS if not user.is_free]
OTHERS = [user for user in RESTRICTED if user.name != CONTROL]


def test_the_page_shows_what_the_code_says():
    assert PAGE.read_text() == page(), "run make nats-users"


def test_only_operators_may_do_everything():
    assert [user.name for user in USERS if user.is_free] == [OPERATOR]
    for user in RESTRICTED:
        for subject in (*user.publish, *user.subscribe):
            assert subject.split(".")[0] not in {">", "*"}, f"{user.name}: {subject}"
            assert subject not in {"$JS.>", "$JS.API.>", "countline.>", "$KV.>", "$O.>"}, f"{user.name}: {subject}"


@pytest.mark.parametrize(
    "subject",
    [
        "countline.domain.access.ended",
        "countline.audit.rows.auth",
        "countline.audit.checkpoints.rows",
        "$KV.countline_administration.state",
        "$JS.API.STREAM.CREATE.COUNTS",
        "$JS.API.STREAM.UPDATE.AUDIT",
        "$JS.API.STREAM.DELETE.COUNTS",
        "$JS.API.STREAM.MSG.DELETE.DOMAIN",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$JS.API.STREAM.PURGE.DOMAIN",
        "$JS.API.CONSUMER.CREATE.AUDIT.x.y",
        "$JS.API.CONSUMER.MSG.NEXT.AUDIT.audit",
        "$JS.API.DIRECT.GET.KV_countline_administration",
        "$JS.ACK.AUDIT.audit.1",
    ],
)
def test_no_part_but_the_control_plane_may(subject: str):
    assert [user.name for user in OTHERS if _matches(subject, user.publish)] == []


def test_not_even_the_control_plane_deletes_streams_or_what_the_audit_holds():
    for subject in ("$JS.API.STREAM.DELETE.AUDIT", "$JS.API.STREAM.PURGE.AUDIT", "$JS.API.STREAM.MSG.DELETE.AUDIT"):
        assert [user.name for user in RESTRICTED if _matches(subject, user.publish)] == []


def test_each_part_hears_its_own_answers_only():
    inboxes = {user.name: [subject for subject in user.subscribe if "INBOX" in subject] for user in RESTRICTED}
    assert inboxes == {user.name: [f"_INBOX_{user.name}.>"] for user in RESTRICTED}


def test_the_user_of_earlier_releases_exists_only_with_a_password():
    passwords = {user.name: "p" for user in USERS}
    assert f'"{EARLIER_USER}"' not in users_block(passwords)
    assert f'user: "{EARLIER_USER}"\n    password: "of-before"' in users_block(passwords | {EARLIER_USER: "of-before"})


@pytest.mark.parametrize(
    ("subject", "pattern", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.*", True),
        ("a.b", "a.>", True),
        ("a.b.c", "a.>", True),
        ("a", "a.>", False),
        ("a", ">", True),
        ("a.b.c", "a.*", False),
        ("a.b", "*.c", False),
        ("a.b.c", "a.*.>", True),
        ("a.b", "a.*.>", False),
    ],
)
def test_a_pattern_stands_for_subjects_as_in_nats(subject: str, pattern: str, matches: bool):
    assert _matches(subject, (pattern,)) is matches


def test_a_password_cannot_leave_its_quotes():
    assert quoted('a"b\\c\n') == '"a\\"b\\\\c\\n"'
