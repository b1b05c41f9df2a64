"""Settings of the processes of analytics, from `COUNTLINE_…` variables."""

from pathlib import Path

from pydantic import Field

from countline_common.addresses import Network, networks
from countline_common.settings import ProcessSettings


class AnalyticsSettings(ProcessSettings):
    """What every process of analytics needs."""

    nats_url: str = Field(repr=False)
    """`nats://user:password@host:port`."""
    analytics_dsn: str = Field(repr=False)
    """`postgresql://user:password@host:port/database`."""
    health_address: str = "127.0.0.1:0"
    """Where `/healthz`, `/readyz` and `/metrics` answer."""


class IngestSettings(AnalyticsSettings):
    """`countline analytics ingest`."""

    ingest_batch_messages: int = Field(default=500, ge=1, le=10_000)
    """Records that are written in one transaction at most."""
    rollup_interval_s: float = Field(default=5.0, gt=0)
    """How often changed buckets are rolled up. Readers see every crossing at once all the same."""
    crossings_retention_days: int | None = Field(default=None, ge=7)
    """Crossings and visits older than this are deleted, their counts stay, and crossings that come later than this are
    refused; unset: kept for ever."""
    occupancy_retention_days: int | None = Field(default=90, ge=7)
    """Occupancy samples older than this are deleted; unset: kept for ever."""
    trajectories_retention_days: int | None = Field(default=90, ge=7)
    """Trajectories older than this are deleted; unset: kept for ever. About 60 bytes a second for each object."""


class ApiSettings(AnalyticsSettings):
    """`countline analytics api`."""

    token_public_key_file: Path
    """Public half of the key that auth signs access tokens with."""
    auth_address: str = "127.0.0.1:3001"
    cameras_address: str = "127.0.0.1:8000"
    workers_address: str = "127.0.0.1:8003"
    models_address: str = "127.0.0.1:8005"
    analytics_address: str = "127.0.0.1:8001"
    """REST of analytics alone."""
    websocket_address: str = "127.0.0.1:8004"
    """`/ws` alone."""
    gateway_address: str = "127.0.0.1:8080"
    """What a browser talks to: REST of everything, `/ws`, the dashboard."""
    gateway_trusted_proxies: str = ""
    """Networks of the proxies in front, such as `10.0.0.5/32`, whose `X-Forwarded-For` is believed; empty: nobody's.
    Each of them must replace what a browser says there, or add to it, as NGINX, HAProxy and Traefik do when told to."""

    def proxy_networks(self) -> tuple[Network, ...]:
        """`gateway_trusted_proxies`, parsed.

        Raises:
            InvalidInputError: one of them is no network.
        """
        return networks(self.gateway_trusted_proxies, "COUNTLINE_GATEWAY_TRUSTED_PROXIES")
