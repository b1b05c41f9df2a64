"""Settings of the processes of analytics, from `COUNTLINE_…` variables."""

from pathlib import Path

from pydantic import Field, SecretStr

from countline_analytics.api.protection.cors import origins
from countline_common.http.client_address import Network, networks
from countline_common.http.origins import checked_origin
from countline_common.resilience.policy import ServiceCallSettings
from countline_common.tls.postgres import with_tls
from countline_common.tls.settings import TlsSettings


class AnalyticsSettings(TlsSettings):
    """Settings of every process of analytics."""

    nats_url: str = Field(repr=False)
    """`nats://user:password@host:port`."""
    analytics_dsn: str = Field(repr=False)
    """`postgresql://user:password@host:port/database`."""
    health_address: str = "127.0.0.1:0"
    """Address of `/healthz`, `/readyz` and `/metrics`."""

    @property
    def dsn(self) -> str:
        """Address of the database, with TLS if there is a CA."""
        return with_tls(self.analytics_dsn, self.tls)


class IngestSettings(AnalyticsSettings):
    """`countline analytics ingest`."""

    ingest_batch_messages: int = Field(default=500, ge=1, le=10_000)
    """Most records in one transaction."""
    rollup_interval_s: float = Field(default=5.0, gt=0)
    """How often changed buckets are rolled up. Readers see every committed crossing without waiting for this."""
    crossings_retention_days: int | None = Field(default=None, ge=7)
    """Crossings and visits older than this are deleted; their counts stay. Ingest refuses crossings that arrive later.
    Unset: kept for ever."""
    occupancy_retention_days: int | None = Field(default=90, ge=7)
    """Occupancy samples older than this are deleted. Unset: kept for ever."""
    trajectories_retention_days: int | None = Field(default=90, ge=7)
    """Trajectories older than this are deleted. Unset: kept for ever. An object takes about 60 bytes a second."""

    def retention_of_environment(self) -> dict[str, int]:
        """Return what the environment sets, by the names under which an administrator changes it; 0 for ever."""
        found = {name: getattr(self, f"{name}_retention_days") for name in ("crossings", "occupancy", "trajectories")}
        is_set = {name: days for name, days in found.items() if f"{name}_retention_days" in self.model_fields_set}
        return {f"retention.{name}_days": days or 0 for name, days in is_set.items()}


class ApiSettings(AnalyticsSettings, ServiceCallSettings):
    """`countline analytics api`."""

    token_public_key_file: Path
    """Public key of the pair with which auth signs access tokens."""
    auth_address: str = "127.0.0.1:3001"
    cameras_address: str = "127.0.0.1:8000"
    workers_address: str = "127.0.0.1:8003"
    models_address: str = "127.0.0.1:8005"
    analytics_address: str = "127.0.0.1:8001"
    """Address that serves REST of analytics only."""
    websocket_address: str = "127.0.0.1:8004"
    """Address that serves `/ws` only."""
    gateway_address: str = "127.0.0.1:8080"
    """Address for browsers: REST of all services, `/ws`, the dashboard."""
    gateway_public_url: str = ""
    """Address of the gateway as browsers see it, such as `https://counts.example.org`. Needed behind a proxy that does
    not pass on the `Host` header."""
    gateway_trusted_proxies: str = ""
    """Networks of trusted proxies, such as `10.0.0.5/32`: the gateway believes their `X-Forwarded-For`. Empty: none.
    Each proxy must replace or extend the header that a browser sends, as NGINX, HAProxy and Traefik can."""

    gateway_cors_origins: str = ""
    """Origins of other web sites that may call the API from a browser, such as `https://shop.example.org`, separated by
    commas. Empty: none."""

    gateway_rate_limit_address: int = Field(default=3000, ge=0)
    """Requests in a minute from one address. 0: no limit; so for the following ones."""
    gateway_rate_limit_login: int = Field(default=60, ge=0)
    """Requests in a minute without a login (login, refresh, logout) from one address."""
    gateway_rate_limit_user: int = Field(default=1200, ge=0)
    """Requests in a minute of one user."""
    gateway_rate_limit_key: int = Field(default=1200, ge=0)
    """Requests in a minute with one key."""
    gateway_rate_limit_redis_url: SecretStr = SecretStr("")
    """`redis://user:password@host:port/0`, which several gateways share to count requests; `rediss://` with TLS.
    Empty: each gateway counts in its memory."""

    gateway_idle_timeout_s: float = Field(default=20.0, gt=0, le=600)
    """A connection is closed when no complete request head arrives for this time, or the client reads no answer."""
    gateway_body_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """The body of a request must arrive within this time."""

    def public_origin(self) -> str:
        """Check `gateway_public_url`; empty if it is not set.

        Raises:
            InvalidInputError: it is not the origin of a web page.
        """
        return checked_origin(self.gateway_public_url, "COUNTLINE_GATEWAY_PUBLIC_URL")

    def proxy_networks(self) -> tuple[Network, ...]:
        """Parse `gateway_trusted_proxies`.

        Raises:
            InvalidInputError: an entry is not a network.
        """
        return networks(self.gateway_trusted_proxies, "COUNTLINE_GATEWAY_TRUSTED_PROXIES")

    def cors_origins(self) -> frozenset[str]:
        """Parse `gateway_cors_origins`.

        Raises:
            InvalidInputError: an entry is not an exact origin.
        """
        return origins(self.gateway_cors_origins)

    def rates_of_environment(self) -> dict[str, int]:
        """Return the rate limits that the environment sets, by the names under which an administrator changes them."""
        fields = {f"rate_limit.{kind}": f"gateway_rate_limit_{kind}" for kind in ("address", "login", "user", "key")}
        return {name: getattr(self, field) for name, field in fields.items() if field in self.model_fields_set}
