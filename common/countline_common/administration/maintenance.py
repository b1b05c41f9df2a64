"""Maintenance: all services refuse changes, so that a backup or an upgrade finds a system that stands still.

Cameras are counted, workers report, and everything can be read. Logins go on, or no administrator could end it. Access
can be ended, or an attacker who is found meanwhile would keep it.
"""

from functools import cache
from typing import Final

from google.api import annotations_pb2
from google.protobuf import descriptor_pool

from countline_common.administration.current import CurrentSettings
from countline_common.errors import UnavailableError
from countline_common.grpc.permissions import method_policy

RETRY_AFTER_S: Final = 60.0
GO_ON: Final = frozenset(
    {
        "/countline.v1.AdministrationService/SetMaintenance",
        # What an administrator may have to do after a login, before anything else is permitted.
        "/countline.v1.AuthService/ChangePassword",
        "/countline.v1.FactorService/BeginFactor",
        "/countline.v1.FactorService/ConfirmFactor",
        # What only ends or restricts access. `DeleteUser` is not here: it deletes data, and `DisableUser` ends the
        # access as well. Nor is `RotateKey`: it makes a new key.
        "/countline.v1.AuthService/EndOwnSession",
        "/countline.v1.AuthService/LogoutEverywhere",
        "/countline.v1.AuthService/EndUserSession",
        "/countline.v1.AuthService/LogoutUser",
        "/countline.v1.AuthService/DisableUser",
        "/countline.v1.KeyService/RevokeKey",
        "/countline.v1.KeyService/RevokeUserKey",
        "/countline.v1.OidcService/UnlinkIdentity",
        "/countline.v1.RegistrationService/RevokeInvite",
        # These two end every session of another user too. Then the user needs a new password or a new second factor.
        "/countline.v1.AuthService/ResetPassword",
        "/countline.v1.FactorService/ResetFactor",
    }
)
"""Methods that maintenance does not refuse although they change something. All of them are audited."""
_REGISTER: Final = "/countline.v1.RegistrationService/Register"
"""The public method that changes more than the caller's own login."""
_NO_CHANGES: Final = frozenset({"read", "report", "connect", "secrets"})
"""Actions of permissions whose methods change nothing, or only report what was counted."""


@cache
def changes(method: str) -> bool:
    """Whether a method, named as gRPC names it, changes what maintenance protects."""
    policy = method_policy(method)
    if method in GO_ON or (policy.public and method != _REGISTER) or policy.permission.partition(":")[2] in _NO_CHANGES:
        return False
    service, _, name = method.strip("/").partition("/")
    try:
        descriptor = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
    except KeyError:
        return False
    verb = descriptor.GetOptions().Extensions[annotations_pb2.http].WhichOneof("pattern")
    return verb is None or str(verb) != "get"


def check_call(current: CurrentSettings, method: str) -> None:
    """Check that a method may be called now.

    Raises:
        UnavailableError: it changes something, and the system is in maintenance.
    """
    if changes(method):
        check_off(current, "nothing can be changed")


def check_off(current: CurrentSettings, consequence: str) -> None:
    """Check that the system is not in maintenance.

    Args:
        current: what is set now.
        consequence: what is refused during maintenance, as it follows "so".

    Raises:
        UnavailableError: the system is in maintenance.
    """
    maintenance = current.state.maintenance
    if maintenance.on:
        raise UnavailableError(
            f"the system is in maintenance, so {consequence}: {maintenance.reason}",
            hint=f"try again later, or ask {maintenance.changed_by}; cameras are counted meanwhile",
            retry_after_s=RETRY_AFTER_S,
        )
