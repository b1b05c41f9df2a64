"""Acting for another user: what both hold, what the token names, and who ends it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.access.scopes import EVERYTHING, Held, Scope, common, not_covered, reach
from countline_common.access.vocabulary import NOT_WHILE_ACTING, Permission
from countline_common.audit.calls import AuditedCall
from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.authorization import check_permission, record_caller
from countline_common.grpc.permissions import MethodPolicy, ResourceRule
from countline_common.grpc.tokens import Principal, RealCaller, TokenSigner, TokenVerifier, generate_key_pair

PRIVATE, PUBLIC = generate_key_pair()
NOW = 1_800_000_000.0
ANN = RealCaller("a1", "ann", 3, "s1")
SCOPES = st.one_of(
    st.just(EVERYTHING),
    st.builds(Scope, st.sampled_from(["lab", "yard"])),
    st.builds(Scope, st.just(""), st.frozensets(st.sampled_from("abc"), min_size=1)),
)
HELD = st.lists(st.builds(Held, st.frozensets(st.sampled_from(sorted(Permission)[:4])), SCOPES), max_size=5)


@given(HELD, HELD)
def test_what_both_hold_never_exceeds_either(one: list[Held], other: list[Held]) -> None:
    both = common(one, other)
    assert not_covered(one, both) == not_covered(other, both) == []
    assert {(each, reach(both, each)) for each in Permission} == {
        (each, reach(common(other, one), each)) for each in Permission
    }


@given(HELD)
def test_a_caller_who_holds_everything_acts_with_all_that_the_user_holds(user: list[Held]) -> None:
    everything = [Held(frozenset(Permission))]
    assert not_covered(common(everything, user), user) == []
    assert not_covered(common(user, user), user) == []


@given(HELD, HELD)
def test_a_camera_or_site_that_both_name_is_kept(one: list[Held], other: list[Held]) -> None:
    for permission in Permission:
        both, first, second = (reach(each, permission) for each in (common(one, other), one, other))
        assert both.everything == (first.everything and second.everything)
        for site_id in ("lab", "yard"):
            assert both.covers_site(site_id) == (first.covers_site(site_id) and second.covers_site(site_id))
        assert both.cameras >= first.cameras & second.cameras or both.everything


def token(lifetime_s: float = 300) -> str:
    return TokenSigner(PRIVATE, lambda: NOW).sign(
        "v1", "vera", roles=(), permissions=frozenset({"camera:write"}), lifetime_s=lifetime_s, access_revision=7,
        actor=ANN,
    )  # fmt: skip


def test_a_token_names_the_user_and_the_real_caller() -> None:
    principal = TokenVerifier(PUBLIC, lambda: NOW).verify(token())
    assert (principal.subject, principal.name, principal.access_revision) == ("v1", "vera", 7)
    assert (principal.actor, principal.real_name, principal.session_id) == (ANN, "ann", "")
    row = AuditedCall("m")
    record_caller(row, principal)
    assert (row.subject, row.name, row.on_behalf_of) == ("a1", "ann", ("v1", "vera"))
    row = AuditedCall("m")
    record_caller(row, dataclasses.replace(principal, actor=None))
    assert (row.subject, row.name, row.on_behalf_of) == ("v1", "vera", ("", ""))


@pytest.mark.parametrize("ended", [("v1", 8, ()), ("a1", 4, ()), ("a1", 0, ("s1",)), ("x", 0, ("s1",))], ids=str)
def test_the_end_of_either_access_ends_the_token(ended: tuple) -> None:
    verifier = TokenVerifier(PUBLIC, lambda: NOW)
    principal = verifier.verify(token())
    verifier.revocations.end("other", 9, ("s2",))
    verifier.check(principal)
    verifier.revocations.end(*ended)
    with pytest.raises(UnauthenticatedError, match="ended"):
        verifier.verify(token())
    with pytest.raises(UnauthenticatedError, match="ended"):
        verifier.check(principal)


async def test_an_open_stream_ends_with_the_token() -> None:
    now = [NOW]
    verifier = TokenVerifier(PUBLIC, lambda: now[0])
    principal = verifier.verify(token())
    assert await verifier.again(token(), principal) is principal
    now[0] += 306
    with pytest.raises(UnauthenticatedError, match="has expired"):
        await verifier.again(token(), principal)


@pytest.mark.parametrize("permission", Permission)
def test_no_account_is_changed_while_acting(permission: str) -> None:
    policy = MethodPolicy(permission=permission, resource=ResourceRule(own=True))
    vera = Principal("v1", "vera", permissions=frozenset(Permission))
    check_permission(vera, "M", policy)
    acting = dataclasses.replace(vera, actor=ANN)
    if permission not in NOT_WHILE_ACTING:
        check_permission(acting, "M", policy)
        return
    with pytest.raises(PermissionDeniedError, match="ann may not call M while acting for vera"):
        check_permission(acting, "M", policy)
