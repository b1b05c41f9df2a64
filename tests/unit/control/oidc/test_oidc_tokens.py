"""ID tokens of an identity provider: which are trusted, and which are not."""

import hmac
import json
import math
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from countline_common.errors import UnauthenticatedError
from countline_control.auth.oidc.id_tokens import ALGORITHMS, Expected, UnknownKeyError, check_id_token, read_keys

NOW = 1_800_000_000.0
ISSUER = "https://id.example.org"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
PUBLISHED = {"keys": [key.as_dict(private=False) for key in (RSA, EC, ED)]}
KEYS = read_keys(PUBLISHED)
CLAIMS = {"iss": ISSUER, "sub": "p1", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n1"}
EXPECTED = Expected(ISSUER, "us", "n1")
LENIENT = Expected(ISSUER, "us", "n1", algorithms=frozenset({"HS256", "none", "RS256"}))


def signed(claims: dict[str, Any], alg: str = "RS256", key: Any = RSA, **header: Any) -> str:
    return jwt.encode({"alg": alg, "kid": "rsa", **header}, claims, key, algorithms=[alg])


def check(token: str, expected: Expected = EXPECTED, now: float = NOW) -> Any:
    return check_id_token(token, KEYS, expected, now)


@pytest.mark.parametrize(
    ("alg", "key", "kid"),
    [("RS256", RSA, "rsa"), ("PS256", RSA, "rsa"), ("ES256", EC, "ec"), ("Ed25519", ED, "ed"), ("EdDSA", ED, "ed")],
)
def test_a_good_token_names_the_person(alg: str, key: Any, kid: str) -> None:
    assert check(signed(CLAIMS, alg, key, kid=kid))["sub"] == "p1"


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None])
def test_a_token_without_a_signature_is_refused(alg: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        check(f"{part({'alg': alg, 'kid': 'rsa'})}.{part(CLAIMS)}.", LENIENT)


@pytest.mark.parametrize("secret", [RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()])
def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(secret: bytes) -> None:
    """Everybody knows the public key, and must not be able to sign with it. Not even if the provider says HS256."""
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(CLAIMS)}"
    signature = urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).decode().rstrip("=")
    for expected in (EXPECTED, LENIENT):
        with pytest.raises(UnauthenticatedError):
            check(f"{text}.{signature}", expected)


def test_symmetric_and_encrypting_keys_of_a_provider_are_left_out() -> None:
    octet = OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True)
    encrypting = {**OTHER_RSA.as_dict(private=False), "use": "enc", "kid": "e"}
    keys = read_keys({"keys": [octet, encrypting, {"kty": "ML"}, {"kty": "EC", "crv": "P-0"}, 5, *PUBLISHED["keys"]]})
    assert sorted(str(key.kid) for key in keys) == ["ec", "ed", "rsa"]
    for document in ({}, [], {"keys": 5}, None):
        with pytest.raises(ValueError, match="no JWK set"):
            read_keys(document)


def test_an_algorithm_that_the_provider_does_not_use_is_refused() -> None:
    only_rsa = Expected(ISSUER, "us", "n1", algorithms=frozenset({"RS256"}))
    assert check(signed(CLAIMS), only_rsa)
    with pytest.raises(UnauthenticatedError):
        check(signed(CLAIMS, "ES256", EC, kid="ec"), only_rsa)
    assert not {"none", "HS256", "HS384", "HS512"} & ALGORITHMS


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": "others"},
        {"aud": ["others"]},
        {"aud": []},
        {"aud": None},
        {"aud": ["us", "others"]},  # several audiences need an `azp`
        {"aud": ["us", "others"], "azp": "others"},
        {"azp": "others"},
        {"nonce": "n2"},
        {"nonce": None},
        {"nonce": ["n1"]},
        {"exp": NOW - 61},
        {"exp": None},
        {"exp": math.nan},
        {"exp": "tomorrow"},
        {"exp": True},
        {"iat": NOW + 61},
        {"iat": None},
        {"nbf": NOW + 61},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "a\0b"},
        {"sub": "x" * 256},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(wrong: dict[str, Any]) -> None:
    claims = {name: value for name, value in {**CLAIMS, **wrong}.items() if value is not None}
    with pytest.raises(UnauthenticatedError, match="login was not completed"):
        check(signed(claims))


@pytest.mark.parametrize(
    "right",
    [
        {"exp": NOW - 59},
        {"iat": NOW + 59},
        {"nbf": NOW + 59},
        {"aud": ["us"]},
        {"aud": ["us", "others"], "azp": "us"},
        {"azp": "us"},
    ],
    ids=str,
)
def test_clocks_may_differ_by_a_minute_and_a_token_may_have_more_readers(right: dict[str, Any]) -> None:
    assert check(signed({**CLAIMS, **right}))["sub"] == "p1"


def test_a_token_for_another_access_token_is_refused() -> None:
    claims = {**CLAIMS, "at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}  # of the example in OpenID Connect Core, A.3
    access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert check(signed(claims), Expected(ISSUER, "us", "n1", access_token))
    with pytest.raises(UnauthenticatedError):
        check(signed(claims), Expected(ISSUER, "us", "n1", f"{access_token}x"))


def test_a_token_with_an_unknown_key_asks_for_newer_keys_and_a_wrong_signature_does_not() -> None:
    with pytest.raises(UnknownKeyError):
        check(signed(CLAIMS, kid="new"))
    with pytest.raises(UnauthenticatedError) as caught:
        check(signed(CLAIMS, key=OTHER_RSA))
    assert not isinstance(caught.value, UnknownKeyError)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30.", "." * 100, "é.é.é", "[" * 70_000, "x" * 70_000])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check(text)


def test_deep_json_in_a_token_is_refused() -> None:
    deep = urlsafe_b64encode(b'{"alg":' + b"[" * 20_000 + b"]" * 20_000 + b"}").decode()
    with pytest.raises(UnauthenticatedError):
        check(f"{deep}.e30.e30")
