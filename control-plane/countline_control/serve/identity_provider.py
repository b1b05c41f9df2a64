"""Reads the settings of logins through an identity provider."""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.lined_yaml import LineProblem
from countline_common.files.text_files import check_file, read_text
from countline_control.auth.domain import PasswordLogins
from countline_control.auth.oidc.groups import GroupRule, read_group_file
from countline_control.auth.oidc.metadata import is_safe
from countline_control.auth.oidc.provider import OidcConfig
from countline_control.settings import ControlSettings, missing

OPENID: Final = "openid"
MOST_SHOWN: Final = 10
"""Problems of a file that an error names."""


def oidc_config(settings: ControlSettings) -> OidcConfig | None:
    """Return how to talk to the identity provider; None if there is none.

    Raises:
        InvalidInputError: a setting or a file that it names cannot be used.
    """
    if not settings.oidc_issuer:
        _check_without_provider(settings)
        return None
    if not is_safe(settings.oidc_issuer):
        raise InvalidInputError(
            f"COUNTLINE_OIDC_ISSUER: {settings.oidc_issuer[:200]!r} does not begin with https://",
            hint="give the address of the provider; http:// is for a provider on this machine",
        )
    if not settings.oidc_client_id:
        raise missing("COUNTLINE_OIDC_CLIENT_ID", "countline")
    scopes = tuple(settings.oidc_scopes.split())
    if OPENID not in scopes:
        raise InvalidInputError("COUNTLINE_OIDC_SCOPES lacks `openid`", hint="set it to 'openid profile email'")
    if settings.oidc_ca_file is not None:
        check_file(settings.oidc_ca_file, hint="correct COUNTLINE_OIDC_CA_FILE")
    return OidcConfig(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        name=settings.oidc_name or urlsplit(settings.oidc_issuer).hostname or settings.oidc_issuer,
        client_secret=_secret(settings.oidc_client_secret_file),
        scopes=scopes,
        groups_claim=settings.oidc_groups_claim,
        rules=_rules(settings.oidc_groups_file),
        ca_file=settings.oidc_ca_file,
    )


def _check_without_provider(settings: ControlSettings) -> None:
    alone = [name for name in sorted(settings.model_fields_set) if name.startswith("oidc_") and getattr(settings, name)]
    if alone:
        raise InvalidInputError(
            f"COUNTLINE_{alone[0].upper()} is set, but COUNTLINE_OIDC_ISSUER is not",
            hint="set COUNTLINE_OIDC_ISSUER to the address of the identity provider",
        )
    if settings.password_logins is not PasswordLogins.EVERYONE:
        raise InvalidInputError(
            f"COUNTLINE_PASSWORD_LOGINS is {settings.password_logins.value!r}, and there is no other way to log in",
            hint="set COUNTLINE_OIDC_ISSUER, or COUNTLINE_PASSWORD_LOGINS=everyone",
        )


def _secret(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        secret = read_text(path).strip()
    except CountlineError as error:
        raise InvalidInputError(
            f"the client secret cannot be read: {error.message}", hint="correct COUNTLINE_OIDC_CLIENT_SECRET_FILE"
        ) from error
    if not secret:
        raise InvalidInputError(f"{path} holds no client secret", hint="write the secret into the file")
    return secret


def _rules(path: Path | None) -> tuple[GroupRule, ...]:
    if path is None:
        return ()
    try:
        found = read_group_file(read_text(path))
    except CountlineError as error:
        raise InvalidInputError(
            f"the mapping of groups cannot be read: {error.message}", hint="correct COUNTLINE_OIDC_GROUPS_FILE"
        ) from error
    if found.problems:
        raise wrong_mapping(path, found.problems)
    return found.rules


def wrong_mapping(path: Path | None, problems: tuple[LineProblem, ...]) -> InvalidInputError:
    """Return the error for a mapping of groups that cannot be used."""
    shown = "; ".join(f"line {each.line}: {each.message}" for each in problems[:MOST_SHOWN])
    more = f"; and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
    return InvalidInputError(
        f"the mapping of groups {path} cannot be used: {shown}{more}",
        hint="correct the file that COUNTLINE_OIDC_GROUPS_FILE names; docs/security.md shows one",
    )
