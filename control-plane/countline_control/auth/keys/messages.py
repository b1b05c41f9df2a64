"""API keys as messages of the contract."""

from countline.v1 import keys_pb2
from countline_common.access.scopes import EVERYTHING
from countline_common.times import to_timestamp
from countline_control.auth.keys.domain import StoredKey
from countline_control.auth.messages import grant_message


def key_message(key: StoredKey, secret: str = "") -> keys_pb2.ApiKey:
    """Translate a key; `secret` is the key itself, in the answer to its creation."""
    return keys_pb2.ApiKey(
        key_id=key.key_id,
        name=key.name,
        roles=[grant.role for grant in key.grants if grant.scope == EVERYTHING],
        grants=[grant_message(grant) for grant in key.grants if grant.scope != EVERYTHING],
        created_at=to_timestamp(key.created_at.timestamp()),
        expires_at=to_timestamp(key.expires_at.timestamp()),
        last_used_at=to_timestamp(key.last_used_at.timestamp()) if key.last_used_at else None,
        revoked=key.revoked_at is not None,
        key=secret,
    )
