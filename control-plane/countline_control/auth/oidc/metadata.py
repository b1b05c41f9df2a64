"""What an identity provider publishes about itself (OpenID Connect Discovery 1.0). Pure."""

from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from countline_common.errors import UnavailableError

WELL_KNOWN: Final = "/.well-known/openid-configuration"
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ProviderMetadata(BaseModel):
    """The parts of the document that a login needs."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    id_token_signing_alg_values_supported: list[str] = ["RS256"]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


def read_metadata(document: Any, issuer: str) -> ProviderMetadata:
    """Read the document of a provider.

    Args:
        document: parsed JSON.
        issuer: the configured provider.

    Raises:
        UnavailableError: the document cannot be used, or belongs to another provider.
    """
    try:
        found = ProviderMetadata.model_validate(document)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, each["loc"])) or "the document" for each in error.errors())
        raise _unusable(issuer, f"these parts are missing or wrong: {wrong}") from error
    if found.issuer != issuer:
        raise UnavailableError(
            f"the identity provider {issuer} calls itself {found.issuer[:200]!r}",
            hint="set COUNTLINE_OIDC_ISSUER to exactly this name",
        )
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        address = getattr(found, name)
        if address and not is_safe(address):
            raise _unusable(issuer, f"{name} {address[:200]!r} does not begin with https://")
    return found


def is_safe(address: str) -> bool:
    """Whether an address is protected by TLS, or does not leave this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE))


def _unusable(issuer: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"the identity provider {issuer} describes itself in a way that cannot be used: {why}",
        hint=f"look at {issuer.rstrip('/')}{WELL_KNOWN}",
    )
