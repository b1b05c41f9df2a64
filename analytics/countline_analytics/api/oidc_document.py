"""Describes the routes of a login through an identity provider for the OpenAPI document."""

from typing import Any, Final

from countline.v1 import oidc_pb2
from countline_analytics.api.oidc_login import LOGIN_COOKIE, START_PATH
from countline_analytics.api.openapi import WrittenRoute, success_content
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK

_METHODS: Final = oidc_pb2.DESCRIPTOR.services_by_name["OidcService"].methods_by_name
_TEXT: Final = {"type": "string"}
_STARTED: Final = oidc_pb2.StartOidcLoginResponse.DESCRIPTOR


def _query(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": _TEXT, "description": description}


def _header(description: str) -> dict[str, Any]:
    return {"schema": _TEXT, "description": description}


OIDC_ROUTES: Final = (
    WrittenRoute(
        "POST",
        START_PATH,
        _METHODS["StartOidcLogin"],
        parameters=(
            {
                "name": "Origin",
                "in": "header",
                "required": True,
                "schema": _TEXT,
                "description": "Address of this gateway: only its own page can begin a login.",
            },
        ),
        responses={
            "200": {
                "description": "Success. `login` is empty, since the cookie carries it.",
                "headers": {"Set-Cookie": _header(f"`{LOGIN_COOKIE}`, which the callback needs.")},
                **success_content(_STARTED),
            }
        },
        answers=(_STARTED,),
    ),
    WrittenRoute(
        "GET",
        GATEWAY_CALLBACK,
        _METHODS["FinishOidcLogin"],
        parameters=(
            _query("state", "Of the login."),
            _query("code", "With which the gateway gets the identity of the person."),
            _query("iss", "Address of the provider (RFC 9207)."),
            _query("error", "Why the provider refuses, such as `access_denied`."),
            {"name": LOGIN_COOKIE, "in": "cookie", "schema": _TEXT, "description": "As the start of the login set it."},
        ),
        responses={
            "303": {
                "description": "The login succeeded or was refused.",
                "headers": {
                    "Location": _header("The dashboard. After a refusal, `login_error` in its query is the code."),
                    "Set-Cookie": _header("The refresh token after a success."),
                },
            }
        },
    ),
)
"""The routes that `add_oidc_routes` adds."""
