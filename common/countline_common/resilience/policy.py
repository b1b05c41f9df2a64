"""The limits of calls to one remote dependency, as settings.

A setting is a JSON object that names what differs from the default: `COUNTLINE_CALLS_OIDC='{"open_s": 30}'`.
"""

from pydantic import BaseModel, ConfigDict, Field

from countline_common.settings import ProcessSettings


class CallLimits(BaseModel):
    """Limits of the calls to one dependency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline_s: float = Field(default=10.0, gt=0, le=3600)
    """Time of a call with all its attempts, unless the caller sets another one."""
    failures: int = Field(default=5, ge=0, le=1000)
    """Failures in a row that open the circuit breaker; 0 for none."""
    open_s: float = Field(default=60.0, gt=0, le=3600)
    """How long an open breaker refuses calls before it admits one trial."""
    calls: int = Field(default=64, ge=1, le=10_000)
    """Calls that run at the same time."""
    waiting: int = Field(default=128, ge=0, le=100_000)
    """Calls that wait for a place; one more is refused."""


class RetriedCallLimits(CallLimits):
    """Limits with retries, which only calls get that may be repeated."""

    retries: int = Field(default=3, ge=0, le=10)
    """Further attempts after the first one."""
    first_pause_s: float = Field(default=1.0, gt=0, le=60)
    """Pause before the second attempt. Each further pause is twice as long; half of the first is added at random."""


class ServiceCallLimits(CallLimits):
    """Calls to a service of ours. The caller repeats what may be repeated, in the time that it has."""

    deadline_s: float = Field(default=3.0, gt=0, le=3600)
    calls: int = Field(default=256, ge=1, le=10_000)
    waiting: int = Field(default=256, ge=0, le=100_000)


class ServiceCallSettings(ProcessSettings):
    """Limits of the calls to each service of the control-plane."""

    calls_auth: ServiceCallLimits = ServiceCallLimits()
    calls_cameras: ServiceCallLimits = ServiceCallLimits()
    calls_workers: ServiceCallLimits = ServiceCallLimits()
    calls_models: ServiceCallLimits = ServiceCallLimits()
