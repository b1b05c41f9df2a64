"""Asks each service and the gateway whether they answer, without a login."""

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from countline_common.grpc.channels import open_channel
from countline_common.grpc.client import Client
from countline_common.grpc.errors import from_rpc_error
from countline_control.cli.monitoring.gateway import gateway_answers


async def answers_of_services(client: Client, limit_s: float, *, with_gateway: bool) -> dict[str, float | str]:
    """For each service the seconds until it said that it serves, or why it did not.

    Args:
        client: knows the addresses.
        limit_s: for each answer.
        with_gateway: ask the gateway of REST too.
    """
    endpoints = client.endpoints
    named = {"auth": endpoints.auth, "cameras": endpoints.cameras, "workers": endpoints.workers}
    if endpoints.models:
        named["models"] = endpoints.models
    asked = {name: _answers(address, client, limit_s) for name, address in named.items()}
    if with_gateway:
        asked["gateway"] = gateway_answers(client.rest_base_url, limit_s)
    answers = await asyncio.gather(*asked.values())
    return dict(zip(asked, answers, strict=True))


async def _answers(address: str, client: Client, limit_s: float) -> float | str:
    """Seconds until a service says that it serves, or why it does not."""
    channel = open_channel(address, client.tls)
    began = time.monotonic()
    try:
        request = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=limit_s)
    except grpc.RpcError as error:
        return from_rpc_error(error).message
    finally:
        await channel.close(None)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return "answers that it cannot serve"
    return time.monotonic() - began
