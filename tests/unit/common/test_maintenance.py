"""Which calls maintenance refuses."""

import pytest

from countline.v1 import administration_pb2, auth_pb2, factor_pb2, registration_pb2
from countline_common.administration.current import AdministrationState, CurrentSettings, MaintenanceState
from countline_common.administration.maintenance import check_call
from countline_common.errors import UnavailableError

FILES = (administration_pb2, auth_pb2, factor_pb2, registration_pb2)  # imported, so that their methods are known
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
        "AuthService/CreateUser",
        "FactorService/DisableFactor",
        "FactorService/ResetFactor",
        "RegistrationService/Register",
    ],
)
def test_other_changes_are_refused(method: str) -> None:
    with pytest.raises(UnavailableError, match="maintenance"):
        check_call(ON, f"/countline.v1.{method}")
