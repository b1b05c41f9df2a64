"""Seals texts with AES-256-GCM, and wraps the keys that seal them.

Envelope encryption as in NIST SP 800-57: a random data key seals the secrets of a service, and a master key wraps the
data key. The master key never enters the database. Every sealed value names its place as associated data. So a value
that someone copies to another row cannot be opened there.
"""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countline_common.errors import CountlineError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Nonces are random (NIST SP 800-38D, 8.2.2): one key may seal 2^32 values, far more than a system has secrets."""


class UnreadableSecretError(CountlineError):
    """A sealed value cannot be opened: another key made it, or someone changed or moved it."""

    code = "FAILED_PRECONDITION"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of 32 bytes with its id. Its secret appears in no text."""

    key_id: str
    secret: bytes = field(repr=False)


def new_secret() -> bytes:
    """The secret of a new key."""
    return os.urandom(KEY_BYTES)


def fingerprint(secret: bytes) -> str:
    """A short id of a key that does not reveal it: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(b"countline key " + secret).hexdigest()[:16]


def seal(key: Key, secret: bytes, place: str) -> bytes:
    """Seal bytes.

    Args:
        key: seals them.
        secret: the bytes.
        place: where the result is stored, such as `cameras.stream_url:door`; needed again to open it.

    Returns:
        The nonce, then the ciphertext with its tag of 16 bytes.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key.secret).encrypt(nonce, secret, _associated(key, place))


def unseal(key: Key, sealed: bytes, place: str) -> bytes:
    """Open what `seal` made.

    Raises:
        UnreadableSecretError: another key sealed it, for another place, or it was changed.
    """
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return AESGCM(key.secret).decrypt(nonce, ciphertext, _associated(key, place))
    except (InvalidTag, ValueError) as error:
        raise UnreadableSecretError(
            f"the secret of {place} cannot be decrypted with key {key.key_id}",
            hint="it was changed or copied from another row: store the secret again",
        ) from error


def _associated(key: Key, place: str) -> bytes:
    return f"countline\0{key.key_id}\0{place}".encode()
