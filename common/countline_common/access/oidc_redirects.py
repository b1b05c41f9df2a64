"""Addresses to which an identity provider sends a browser back: at the gateway, or of a command on this machine."""

from typing import Final

GATEWAY_CALLBACK: Final = "/api/v1/auth/oidc/callback"
"""Path on the gateway, at any host: the provider has a list of permitted ones."""
LOOPBACK_HOST: Final = "127.0.0.1"
"""Not `localhost`, which may lead to another interface (RFC 8252, section 8.3)."""
LOOPBACK_CALLBACK: Final = "/callback"
"""Path of `countline login --oidc`, on any port of the loopback interface (RFC 8252, section 7.3)."""
