"""Invites as messages of the contract."""

from countline.v1 import auth_pb2, registration_pb2
from countline_common.access.scopes import EVERYTHING
from countline_common.times import to_timestamp
from countline_control.auth.registration.domain import StoredInvite


def invite_message(invite: StoredInvite, token: str = "") -> registration_pb2.Invite:
    """Translate an invite; its token is known only when it is created."""
    return registration_pb2.Invite(
        invite_id=invite.invite_id,
        roles=[role for role, scope in invite.grants if scope == EVERYTHING],
        grants=[
            auth_pb2.Grant(role=role, site_id=scope.site_id, camera_ids=sorted(scope.camera_ids))
            for role, scope in invite.grants
            if scope != EVERYTHING
        ],
        created_by=invite.created_by,
        created_at=to_timestamp(invite.created_at.timestamp()),
        expires_at=to_timestamp(invite.expires_at.timestamp()),
        token=token,
    )
