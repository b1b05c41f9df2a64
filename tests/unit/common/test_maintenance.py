"""Which calls maintenance refuses."""

import pytest
from google.protobuf import descriptor_pool

from countline.v1 import administration_pb2, auth_pb2, factor_pb2, keys_pb2, oidc_pb2, registration_pb2
from countline_common.administration.current import AdministrationState, CurrentSettings, MaintenanceState
from countline_common.administration.maintenance import GO_ON, check_call
from countline_common.errors import UnavailableError
from countline_common.grpc.permissions import method_policy

FILES = (
    administration_pb2,
    auth_pb2,
    factor_pb2,
    keys_pb2,
    oidc_pb2,
    registration_pb2,
)  # imported, so that their methods are known
ON = CurrentSettings()
ON.replace(AdministrationState(maintenance=MaintenanceState(True, "backup", "admin", 0.0)))


@pytest.mark.parametrize(
    "method",
    [
        "AuthService/Login",
        "FactorService/FinishLogin",
        "AuthService/ChangePassword",
        "FactorService/BeginFactor",
        "FactorService/ConfirmFactor",
        "AdministrationService/SetMaintenance",
    ],
)
def test_an_administrator_can_log_in_and_end_maintenance_whatever_the_login_demands(method: str) -> None:
    """A one-time password, or a second factor that a role requires, comes before everything else."""
    check_call(ON, f"/countline.v1.{method}")


@pytest.mark.parametrize(
    "method",
    [
        "AuthService/EndOwnSession",
        "AuthService/LogoutEverywhere",
        "AuthService/EndUserSession",
        "AuthService/LogoutUser",
        "AuthService/DisableUser",
        "AuthService/ResetPassword",
        "FactorService/ResetFactor",
        "KeyService/RevokeKey",
        "KeyService/RevokeUserKey",
        "OidcService/UnlinkIdentity",
        "RegistrationService/RevokeInvite",
    ],
)
def test_access_can_be_ended_and_each_such_call_is_audited(method: str) -> None:
    check_call(ON, f"/countline.v1.{method}")
    assert method_policy(f"/countline.v1.{method}").audited


def test_every_method_that_goes_on_exists() -> None:
    for method in GO_ON:
        service, _, name = method.strip("/").partition("/")
        assert descriptor_pool.Default().FindMethodByName(f"{service}.{name}").name == name


@pytest.mark.parametrize(
    "method",
    [
        "AuthService/CreateUser",
        "AuthService/DeleteUser",
        "AuthService/EnableUser",
        "AuthService/UnlockUser",
        "AuthService/UpdateUser",
        "FactorService/DisableFactor",
        "KeyService/CreateKey",
        "KeyService/RotateKey",
        "KeyService/RotateUserKey",
        "OidcService/LinkIdentity",
        "RegistrationService/CreateInvite",
        "RegistrationService/Register",
    ],
)
def test_other_changes_are_refused(method: str) -> None:
    with pytest.raises(UnavailableError, match="maintenance"):
        check_call(ON, f"/countline.v1.{method}")
