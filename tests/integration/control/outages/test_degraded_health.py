"""A service without NATS goes on with the tokens' own end, and its health says so."""

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.fixtures.analytics.stack import until
from tests.fixtures.local.ports import free_port
from tests.fixtures.nats import NatsServer

from countline.v1 import cameras_pb2
from countline_common.grpc.server import REVOCATIONS
from countline_control.auth.base import ACCESS_LIFETIME_S
from countline_local.parts.http_check import http_remarks

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def grpc_health(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)).status


async def test_a_service_that_loses_nats_serves_on_and_says_so(
    control_dsn: str, nats_server: NatsServer, start_control
):
    address = f"127.0.0.1:{free_port()}"
    control = await start_control(control_dsn, nats_url=nats_server.url, health_address=address)
    channel, url = control.channels["cameras"], f"http://{address}"

    async def followed() -> bool:
        return await grpc_health(channel, REVOCATIONS) == SERVING

    async def not_followed() -> bool:
        return await grpc_health(channel, REVOCATIONS) == NOT_SERVING

    await until(followed)
    assert await http_remarks(f"{url}/healthz") == ""
    await nats_server.kill()
    await until(not_followed)
    assert ACCESS_LIFETIME_S <= 5 * 60
    remarks = await http_remarks(f"{url}/healthz")
    assert remarks.startswith("revocations: ")
    assert "at most 5 minutes" in remarks
    async with aiohttp.ClientSession() as session:
        for path in ("healthz", "readyz"):
            async with session.get(f"{url}/{path}") as response:
                assert response.status == 200, "tokens are still checked, so the service is ready"
                assert "revocations" in (await response.json())["degraded"]
    assert await grpc_health(channel, "countline.v1.CameraService") == SERVING
    await control.caller().cameras.ListSites(cameras_pb2.ListSitesRequest())
    await nats_server.start()
    await until(followed)
    assert await http_remarks(f"{url}/healthz") == ""
