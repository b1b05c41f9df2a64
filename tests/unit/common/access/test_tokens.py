"""Access tokens: who they speak for, and which are refused."""

import base64
import hmac
import json

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from countline_common.access.scopes import Held, Scope
from countline_common.access.vocabulary import MACHINES_ONLY, PEOPLE
from countline_common.errors import InvalidInputError, UnauthenticatedError
from countline_common.grpc.permissions import MethodPolicy, ResourceRule, method_policy
from countline_common.grpc.tokens import (
    CLOCK_LEEWAY_S,
    Principal,
    TokenSigner,
    TokenVerifier,
    generate_key_pair,
)

PRIVATE, PUBLIC = generate_key_pair()
NOW = 1_800_000_000.0


def sign(lifetime_s: float = 60.0, at: float = NOW) -> str:
    signer = TokenSigner(PRIVATE, lambda: at)
    return signer.sign("u1", "Anna", roles=("viewer",), permissions=frozenset({"a.read"}), lifetime_s=lifetime_s)


def test_a_token_says_who_in_which_roles_with_which_permissions_until_when() -> None:
    assert TokenVerifier(PUBLIC, lambda: NOW).verify(sign()) == Principal(
        "u1", "Anna", ("viewer",), frozenset({"a.read"}), NOW + 60
    )


@pytest.mark.parametrize(("after_s", "good"), [(0, True), (59, True), (60 + CLOCK_LEEWAY_S - 1, True), (66, False)])
def test_a_token_is_good_until_it_expires(after_s: float, good: bool) -> None:
    verifier = TokenVerifier(PUBLIC, lambda: NOW + after_s)
    if good:
        verifier.verify(sign())
    else:
        with pytest.raises(UnauthenticatedError, match="has expired"):
            verifier.verify(sign())


def test_a_token_that_was_good_once_expires_and_ends_like_any_other() -> None:
    times = [NOW, NOW, NOW + 60 + CLOCK_LEEWAY_S - 1, NOW + 60 + CLOCK_LEEWAY_S, NOW]
    verifier = TokenVerifier(PUBLIC, lambda: times[0])
    token = sign()
    assert verifier.verify(token) is verifier.verify(token)
    del times[:2]
    verifier.verify(token)
    del times[0]
    with pytest.raises(UnauthenticatedError, match="has expired"):
        verifier.verify(token)
    del times[0]
    verifier.revocations.end("u1", 7, ())
    with pytest.raises(UnauthenticatedError, match="has ended"):
        verifier.verify(token)


def _claims(**changes: object) -> dict:
    claims = {
        "iss": "countline",
        "aud": "countline",
        "sub": "u1",
        "permissions": ["*"],
        "exp": int(NOW + 60),
        **changes,
    }
    return {key: value for key, value in claims.items() if value is not None}


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _signing_input(algorithm: str) -> str:
    return f"{_part(json.dumps({'alg': algorithm}).encode())}.{_part(json.dumps(_claims()).encode())}"


def _signed_with_the_public_key() -> str:
    text = _signing_input("HS256")
    return f"{text}.{_part(hmac.digest(PUBLIC, text.encode(), 'sha256'))}"


FORGED = {
    "signed by another key": lambda: TokenSigner(generate_key_pair()[0], lambda: NOW).sign(
        "u1", "x", roles=(), permissions=frozenset({"*"}), lifetime_s=60
    ),
    "not signed": lambda: f"{_signing_input('none')}.",
    # The classic: a public key used as if it were a shared secret.
    "signed with the public key as a secret": _signed_with_the_public_key,
    "without an end": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(exp=None), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "of another issuer": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(iss="else"), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "for nobody": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(sub=None), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "of another system": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(aud="else"), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "for no system": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(aud=None), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "with an end beyond any float": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(exp=10**400), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "with permissions that are a number": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(permissions=7), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "with a scope that is everything": lambda: jwt.encode(
        {"alg": "Ed25519"},
        _claims(scoped=[{"permissions": ["*"], "sites": [""], "cameras": []}]),
        OKPKey.import_key(PRIVATE),
        algorithms=["Ed25519"],
    ),
    "with scopes that are a number": lambda: jwt.encode(
        {"alg": "Ed25519"}, _claims(scoped=7), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    ),
    "with a header of nested lists": lambda: f"{_part(b'[' * 100_000)}.e30.e30",
    "with a header that is a list": lambda: f"{_part(b'[]')}.e30.e30",
    "empty": lambda: "",
    "no token": lambda: "hello",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_token_that_is_not_ours_is_refused(forge) -> None:
    with pytest.raises(UnauthenticatedError, match="is not valid"):
        TokenVerifier(PUBLIC, lambda: NOW).verify(forge())


def test_a_token_carries_what_is_held_over_scopes() -> None:
    scoped = (Held(frozenset({"a.read"}), Scope("lab")), Held(frozenset({"a.read"}), Scope("", frozenset({"c"}))))
    signer = TokenSigner(PRIVATE, lambda: NOW)
    token = signer.sign("u1", "Anna", roles=(), permissions=frozenset(), scoped=scoped, lifetime_s=60, session_id="s")
    principal = TokenVerifier(PUBLIC, lambda: NOW).verify(token)
    assert (principal.scoped, principal.session_id, principal.permissions) == (scoped, "s", frozenset())
    reach = principal.reach("a.read")
    assert (reach.everything, reach.sites, reach.cameras) == (False, {"lab"}, {"c"})
    assert principal.may("a.read")
    assert not principal.may("a.write")


def test_only_the_private_key_signs() -> None:
    with pytest.raises(InvalidInputError, match="is a public key"):
        TokenSigner(PUBLIC)
    with pytest.raises(InvalidInputError):
        TokenVerifier(b"no key at all")


def _verified(permissions: list[str]) -> Principal:
    token = jwt.encode(
        {"alg": "Ed25519"}, _claims(permissions=permissions), OKPKey.import_key(PRIVATE), algorithms=["Ed25519"]
    )
    return TokenVerifier(PUBLIC, lambda: NOW).verify(token)


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("cameras.read", {"camera:read"}),
        ("cameras.write", {"camera:write", "camera:delete"}),
        ("cameras.secrets", {"camera:secrets"}),
        ("counts.read", {"analytics:read"}),
        ("workers.report", {"worker:report", "worker:connect"}),
        ("*", PEOPLE),
        ("camera:read", {"camera:read"}),
        ("king.all", {"king.all"}),
    ],
)
def test_a_token_of_an_earlier_version_opens_what_it_opened(earlier: str, now: set[str]) -> None:
    assert _verified([earlier]).permissions == now


def test_a_token_for_everything_does_not_open_what_only_machines_hold() -> None:
    assert _verified(["*"]).may("camera:write")
    assert [permission for permission in MACHINES_ONLY if _verified(["*"]).may(permission)] == []


def test_what_a_method_asks_is_read_from_its_proto_and_what_says_nothing_is_closed() -> None:
    from countline.v1 import auth_pb2, cameras_pb2  # noqa: F401  (loads the descriptors)

    assert method_policy("/countline.v1.CameraService/CreateCamera") == MethodPolicy(
        permission="camera:write", resource=ResourceRule(site="camera.site_id"), audited=True
    )
    assert method_policy("/countline.v1.AuthService/Login") == MethodPolicy(public=True, audited=True)
    assert method_policy("/grpc.health.v1.Health/Check").public
    for unknown in ("/countline.v1.AuthService/NoSuchMethod", "/else.Service/Do", "nonsense", ""):
        assert method_policy(unknown) == MethodPolicy()
