"""Settings of `countline serve`, from `COUNTLINE_…` variables."""

from pathlib import Path

from pydantic import Field, SecretStr

from countline_common.errors import InvalidInputError
from countline_common.http.client_address import Network, networks
from countline_common.resilience.policy import CallLimits, RetriedCallLimits, ServiceCallLimits, ServiceCallSettings
from countline_common.secrets.master_keys import MasterKeySource
from countline_common.settings import DataFolder
from countline_common.tls.postgres import with_tls
from countline_common.tls.settings import TlsSettings
from countline_control.auth.domain import PasswordLogins
from countline_control.models.domain import MOST_DEPLOYMENTS
from countline_control.workers.schedule import LEASE_S


class OidcCallLimits(RetriedCallLimits):
    """Calls to the identity provider: the gateway gives a login 5 s."""

    deadline_s: float = Field(default=4.0, gt=0, le=3600)


class ModelStoreCallLimits(CallLimits):
    """Transfers of model files; the library of the store repeats its requests by itself."""

    deadline_s: float = Field(default=600.0, gt=0, le=3600)
    calls: int = Field(default=4, ge=1, le=10_000)
    waiting: int = Field(default=32, ge=0, le=100_000)


class ControlSettings(TlsSettings, ServiceCallSettings):
    """Settings of all services; each service reads only its part."""

    auth_address: str = "127.0.0.1:3001"
    """Address on which auth listens, or at which other services exchange API keys."""
    cameras_address: str = "127.0.0.1:8000"
    """Address on which cameras listens, or at which other services call it."""
    workers_address: str = "127.0.0.1:8003"
    """Address on which workers listens, or at which other services call it."""
    workers_peer_address: str = ""
    """`host:port` at which other copies of the control-plane reach workers of this one; by default `workers_address`,
    with the name of this machine in place of 0.0.0.0."""
    models_address: str = "127.0.0.1:8005"
    """Address on which models listens, or at which workers calls it; empty: workers runs without versions of models."""
    health_address: str = ""
    """`host:port` of /healthz, /readyz and /metrics; empty for none."""

    auth_dsn: SecretStr = SecretStr("")
    cameras_dsn: SecretStr = SecretStr("")
    workers_dsn: SecretStr = SecretStr("")
    """Empty: the database of cameras, in its own schema."""
    models_dsn: SecretStr = SecretStr("")
    """Empty: the database of cameras, in its own schema."""
    nats_url: SecretStr = SecretStr("")
    """Empty: domain events stay in the outbox."""

    token_private_key_file: Path | None = None
    """Only for auth."""
    token_public_key_file: Path | None = None
    audit_key_file: Path | None = None
    """Key that signs the audit; only for auth. By default `audit-key.pem` beside the private key of tokens; it is made
    if there is none."""
    audit_retention_days: int = Field(default=0, ge=0, le=36_500)
    """Rows of the audit that are older are purged; 0 keeps them for ever. At least 30."""
    admin_password_file: Path | None = None
    """Password of the first user, `admin`; read only if there is no user yet."""
    password_logins: PasswordLogins = PasswordLogins.EVERYONE
    """Who can log in with a password: `everyone`, `super-admins` or `nobody`. Only auth reads this and what follows."""
    oidc_issuer: str = ""
    """Address of the identity provider, exactly as it calls itself; empty for none."""
    oidc_client_id: str = ""
    oidc_client_secret_file: Path | None = None
    """Without it, we are a public client of the provider."""
    oidc_name: str = ""
    """What people call the provider; by default its host."""
    oidc_scopes: str = "openid profile email"
    """What to ask the provider for, separated by blanks."""
    oidc_groups_claim: str = "groups"
    """Claim that lists the groups of a person; `realm_access.roles` is a claim inside another one."""
    oidc_groups_file: Path | None = None
    """Mapping of groups to roles. Without it, only users whom an administrator has linked can log in."""
    oidc_ca_file: Path | None = None
    """Certificates that vouch for the provider; by default those of the system."""
    calls_oidc: OidcCallLimits = OidcCallLimits()
    trusted_proxies: str = "127.0.0.0/8,::1/128"
    """Networks of our own proxies: auth uses their header for the address of a caller who logs in."""
    master_key_file: Path | None = None
    """Master keys that encrypt stored secrets; for auth and cameras. Exactly one of these three is set."""
    master_key: SecretStr = SecretStr("")
    master_key_command: str = ""
    """Command that prints the master keys; no shell runs it."""
    forget_lost_secrets: bool = False
    """Start although a master key is lost. Rows stay; the secrets that it encrypted cannot be read."""
    service_token_file: Path | None = None
    """Token for services in separate processes: `camera:read`, `camera:secrets`, `model:read`, `worker:read`."""

    model_repository: Path | None = None
    """Folder from which Triton serves models; by default that of the data folder."""
    model_store: str = "nats"
    """Second place of model files: `nats`, `repository` (none), or an address that fsspec knows, such as
    s3://bucket/models."""
    calls_model_store: ModelStoreCallLimits = ModelStoreCallLimits()
    model_work: Path | None = None
    """Folder for uploads and rendered clips; by default in the data folder."""
    model_max_bytes: int = Field(default=1 << 30, gt=0)
    model_most_deployments: int = Field(default=MOST_DEPLOYMENTS, ge=1, le=64)
    """Limit of concurrent deployments; one more is refused before its upload."""
    model_check_timeout_s: float = Field(default=120.0, gt=0)
    """Longest time to examine a model."""
    triton_address: str = "127.0.0.1:9001"
    """gRPC address of the Triton that serves the repository."""
    default_model: str = "demo_detector"
    """Model of cameras that name none; the same as COUNTLINE_DEFAULT_MODEL of the workers."""

    lease_s: float = Field(default=LEASE_S, gt=1.0, le=600.0)
    """How long a worker may be silent before its cameras move."""

    def proxy_networks(self) -> tuple[Network, ...]:
        """Parse `trusted_proxies`.

        Raises:
            InvalidInputError: one of them is not a network.
        """
        return networks(self.trusted_proxies, "COUNTLINE_TRUSTED_PROXIES")

    def retention_of_environment(self) -> dict[str, int]:
        """Return what the environment sets, by the name under which an administrator changes it."""
        is_set = "audit_retention_days" in self.model_fields_set
        return {"retention.audit_days": self.audit_retention_days} if is_set else {}

    @property
    def master_key_source(self) -> MasterKeySource:
        """Where the master keys come from."""
        return MasterKeySource(self.master_key_file, self.master_key.get_secret_value(), self.master_key_command)

    @property
    def repository_folder(self) -> Path:
        """Folder of Triton's model repository."""
        return self.model_repository or DataFolder.resolve().models

    @property
    def work_folder(self) -> Path:
        """Folder for uploads and rendered clips."""
        return self.model_work or DataFolder.resolve().model_work

    def elsewhere(self, service: str) -> tuple[str, ServiceCallLimits]:
        """Return the address of a service in another process, and the limits of the calls to it."""
        found = {
            "auth": (self.auth_address, self.calls_auth),
            "cameras": (self.cameras_address, self.calls_cameras),
            "models": (self.models_address, self.calls_models),
            "workers": (self.workers_address, self.calls_workers),
        }
        return found[service]

    def dsn_of(self, service: str) -> str:
        """Return the DSN of a service's database.

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
        return with_tls(dsn, self.tls)


def missing(variable: str, example: str) -> InvalidInputError:
    """Build the error for a missing setting."""
    hint = f"set it, for example to {example}; on one machine `countline up` does all of this"
    return InvalidInputError(f"{variable} is not set", hint=hint)
