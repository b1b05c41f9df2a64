"""The form of API keys: `cl_ID_SECRET` with a checksum at the end of the secret. Pure.

The prefix lets scanners find keys in source text, and the checksum finds typos without a lookup. The id is public. The
secret is random with 190 bits, so a fast hash of it is enough: nobody can try all secrets.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

from countline_common.errors import UnauthenticatedError

VARIABLE: Final = "COUNTLINE_API_KEY"
"""Environment variable from which the command line takes a key."""
PREFIX: Final = "cl_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
"""Base-62 digits of a CRC-32."""
_FORM: Final = re.compile(rf"cl_([0-9A-Za-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{6}})")


@dataclass(frozen=True, slots=True)
class KeyParts:
    """A key that was read: its public id, and the hash of its secret."""

    key_id: str
    secret_hash: bytes = field(repr=False)


def new_key() -> str:
    """Make a key.

    >>> len(new_key())
    54
    """
    body = f"{PREFIX}{_random(_ID_LENGTH)}_{_random(_SECRET_LENGTH)}"
    return body + _checksum(body)


def is_key(credential: str) -> bool:
    """Whether a credential claims to be an API key, and not an access token."""
    return credential.startswith(PREFIX)


def read_key(key: str) -> KeyParts:
    """Read a key.

    Raises:
        UnauthenticatedError: the key is incomplete or mistyped.
    """
    found = _FORM.fullmatch(key)
    if found is None or _checksum(key[:-_CHECKSUM_LENGTH]) != found[3]:
        raise UnauthenticatedError("the API key is incomplete or mistyped", hint="copy the whole key: cl_…")
    return KeyParts(found[1], hashlib.sha256(found[2].encode()).digest())


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
