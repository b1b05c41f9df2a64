"""Settings of `countline serve`, from `COUNTLINE_…` variables."""

from pathlib import Path

from pydantic import Field, SecretStr

from countline_common.addresses import Network, networks
from countline_common.errors import InvalidInputError
from countline_common.settings import DataFolder, ProcessSettings
from countline_control.models.domain import MOST_DEPLOYMENTS
from countline_control.workers.schedule import LEASE_S


class ControlSettings(ProcessSettings):
    """What the services of the control-plane need to know; each needs only its part."""

    auth_address: str = "127.0.0.1:3001"
    """Where auth listens; other services do not need it."""
    cameras_address: str = "127.0.0.1:8000"
    """Where cameras listens, or where workers asks for cameras."""
    workers_address: str = "127.0.0.1:8003"
    """Where workers listens, or where cameras asks for statuses."""
    models_address: str = "127.0.0.1:8005"
    """Where models listens, or where workers asks what is live; empty for workers: nobody knows of versions."""
    health_address: str = ""
    """`host:port` of /healthz, /readyz and /metrics; empty for none."""

    auth_dsn: SecretStr = SecretStr("")
    cameras_dsn: SecretStr = SecretStr("")
    workers_dsn: SecretStr = SecretStr("")
    """Empty: the database of cameras, in a schema of its own."""
    models_dsn: SecretStr = SecretStr("")
    """Empty: the database of cameras, in a schema of its own."""
    nats_url: SecretStr = SecretStr("")
    """Empty: domain events stay in the outbox."""

    token_private_key_file: Path | None = None
    """Auth only."""
    token_public_key_file: Path | None = None
    admin_password_file: Path | None = None
    """The password of the first user, `admin`; read only where there is no user yet."""
    trusted_proxies: str = "127.0.0.0/8,::1/128"
    """Networks from which our own API calls auth: its word for the address of whoever logs in is believed."""
    service_token_file: Path | None = None
    """A token with `cameras.read`, `cameras.secrets`, `models.read` and `workers.read`, for services that run apart."""

    model_repository: Path | None = None
    """The folder that Triton serves models from; that of the data folder where it is not given."""
    model_store: str = "nats"
    """Where the files of deployed models are kept besides, by digest: `nats`, `repository` (nowhere else), or an
    address that fsspec knows, such as s3://bucket/models."""
    model_work: Path | None = None
    """For uploads and rendered clips; a folder of the data folder where it is not given."""
    model_max_bytes: int = Field(default=1 << 30, gt=0)
    model_most_deployments: int = Field(default=MOST_DEPLOYMENTS, ge=1, le=64)
    """How many deployments may be under way at once; one more is refused before anything of it is received."""
    model_check_timeout_s: float = Field(default=120.0, gt=0)
    """How long a model may take to be examined."""
    triton_address: str = "127.0.0.1:9001"
    """gRPC address of the Triton that serves the repository."""
    default_model: str = "demo_detector"
    """Of cameras that name none; as the workers' COUNTLINE_DEFAULT_MODEL."""

    lease_s: float = Field(default=LEASE_S, gt=1.0, le=600.0)
    """How long a worker may be silent before its cameras move."""

    def proxy_networks(self) -> tuple[Network, ...]:
        """`trusted_proxies`, parsed.

        Raises:
            InvalidInputError: one of them is no network.
        """
        return networks(self.trusted_proxies, "COUNTLINE_TRUSTED_PROXIES")

    @property
    def repository_folder(self) -> Path:
        """Triton's model repository."""
        return self.model_repository or DataFolder.resolve().models

    @property
    def work_folder(self) -> Path:
        """Where uploads and rendered clips lie."""
        return self.model_work or DataFolder.resolve().model_work

    def dsn_of(self, service: str) -> str:
        """The database of a service.

        Raises:
            InvalidInputError: it is not set.
        """
        own = {
            "auth": self.auth_dsn,
            "cameras": self.cameras_dsn,
            "models": self.models_dsn or self.cameras_dsn,
            "workers": self.workers_dsn or self.cameras_dsn,
        }
        dsn = own[service].get_secret_value()
        if not dsn:
            raise missing(f"COUNTLINE_{service.upper()}_DSN", "postgresql://user:password@host:port/database")
        return dsn


def missing(variable: str, example: str) -> InvalidInputError:
    """The error for a setting that is needed and not there."""
    return InvalidInputError(
        f"{variable} is not set", hint=f"set it, e.g. to {example}; `countline up` does all of this for one machine"
    )
