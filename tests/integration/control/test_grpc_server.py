"""The server around every service: closed methods, leaks, and calls that take too long."""

import asyncio
import resource
from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.fixtures.control import raw_http2

from countline.v1 import cameras_pb2
from countline_common.access.vocabulary import PEOPLE
from countline_common.errors import UnavailableError
from countline_common.grpc import calls
from countline_common.grpc import server as grpc_server
from countline_common.grpc.authorization import bearer_metadata
from countline_common.grpc.calls import current_principal
from countline_common.grpc.errors import from_rpc_error
from countline_common.grpc.server import GrpcServer, Service
from countline_common.grpc.tokens import TokenSigner, TokenVerifier, generate_key_pair

NAME = "countline.v1.CameraService"
PATH = f"/{NAME}/ListSites"
WAIT_S = 30.0


class Answering:
    """A service whose one method does what the test says."""

    def __init__(self) -> None:
        self.well = True

    async def do(self, request, context) -> cameras_pb2.ListSitesResponse:
        return cameras_pb2.ListSitesResponse(next_page_token=current_principal().name)

    async def check(self) -> None:
        if not self.well:
            raise RuntimeError("not well")

    def register(self, server: grpc.aio.Server) -> None:
        async def call(request, context):
            return await self.do(request, context)

        async def echo(requests, context):
            async for request in requests:
                yield request

        handler = grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=cameras_pb2.ListSitesRequest.FromString,
            response_serializer=cameras_pb2.ListSitesResponse.SerializeToString,
        )
        stream = grpc.stream_stream_rpc_method_handler(
            echo,
            request_deserializer=cameras_pb2.ListSitesRequest.FromString,
            response_serializer=cameras_pb2.ListSitesResponse.SerializeToString,
        )
        generic = [
            grpc.method_handlers_generic_handler(NAME, {"ListSites": handler, "Refuse": stream, "ListCameras": stream}),
            grpc.method_handlers_generic_handler("countline.v1.Unstated", {"Do": handler}),
        ]
        server.add_generic_rpc_handlers(generic)


@pytest.fixture
async def answering(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answering]:
    monkeypatch.setattr(grpc_server, "CHECK_PERIOD_S", 0.05)
    private, public = generate_key_pair()
    answering = Answering()
    signed = partial(TokenSigner(private).sign, roles=(), permissions=PEOPLE, lifetime_s=60)
    answering.token = signed("u", "Uwe", session_id="login")
    answering.verifier = TokenVerifier(public)
    service = Service(NAME, answering.register, answering.check)
    async with (
        GrpcServer("127.0.0.1:0", (service,), answering.verifier, call_limit_s=0.3) as server,
        grpc.aio.insecure_channel(server.address) as answering.channel,
    ):
        answering.address = server.address
        answering.public = public
        yield answering


async def call(answering: Answering, path: str = PATH, **options: object) -> cameras_pb2.ListSitesResponse:
    method = answering.channel.unary_unary(
        path,
        request_serializer=cameras_pb2.ListSitesRequest.SerializeToString,
        response_deserializer=cameras_pb2.ListSitesResponse.FromString,
    )
    metadata = (("authorization", f"Bearer {answering.token}"), ("x-request-id", "req-1"))
    return await method(cameras_pb2.ListSitesRequest(), metadata=metadata, timeout=10, **options)


async def test_a_method_knows_who_calls(answering: Answering) -> None:
    assert (await call(answering)).next_page_token == "Uwe"


async def test_a_method_that_states_no_permission_is_closed_even_to_an_admin(answering: Answering) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(answering, "/countline.v1.Unstated/Do")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_fault_of_ours_says_where_to_look_and_nothing_of_its_inside(answering: Answering) -> None:
    async def fault(request, context):
        raise KeyError("rtsp://joe:secret@h/live")

    answering.do = fault
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(answering)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)
    assert "req-1" in from_rpc_error(caught.value).hint


async def test_a_call_that_takes_too_long_is_ended_by_the_server(answering: Answering) -> None:
    ended = asyncio.Event()

    async def slow(request, context):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    answering.do = slow
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(answering)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "took too long" in str(caught.value.details())
    await asyncio.wait_for(ended.wait(), WAIT_S)


async def test_a_caller_that_gives_up_ends_the_work(answering: Answering) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow(request, context):
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    answering.do = slow
    calling = asyncio.create_task(call(answering))
    await asyncio.wait_for(started.wait(), WAIT_S)
    calling.cancel()
    await asyncio.wait_for(ended.wait(), WAIT_S)


async def test_health_follows_the_service(answering: Answering) -> None:
    stub = health_pb2_grpc.HealthStub(answering.channel)
    seen = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
    assert (await seen.read()).status == health_pb2.HealthCheckResponse.SERVING
    answering.well = False
    assert (await seen.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
    answering.well = True
    assert (await seen.read()).status == health_pb2.HealthCheckResponse.SERVING
    seen.cancel()


async def test_services_that_share_a_check_are_checked_once() -> None:
    """The eight services of auth each took a connection to the database, every second."""
    checks = [0, 0]

    async def check(index: int) -> None:
        checks[index] += 1

    shared, own = partial(check, 0), partial(check, 1)
    services = tuple(Service(f"countline.v1.{n}", lambda _: None, own if n == "C" else shared) for n in "ABC")
    async with GrpcServer("127.0.0.1:0", services, TokenVerifier(generate_key_pair()[1])) as server:
        assert checks == [1, 1]
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for service in services:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service.name), timeout=WAIT_S)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_what_is_under_way_when_the_server_stops_is_finished(answering: Answering) -> None:
    private, public = generate_key_pair()
    other, started = Answering(), asyncio.Event()
    other.token = TokenSigner(private).sign("u", "Uwe", roles=(), permissions=PEOPLE, lifetime_s=60)

    async def takes_a_while(request, context):
        started.set()
        await asyncio.sleep(0.2)
        return cameras_pb2.ListSitesResponse(next_page_token="done")

    other.do = takes_a_while
    server = GrpcServer("127.0.0.1:0", (Service(NAME, other.register, other.check),), TokenVerifier(public))
    await server.__aenter__()
    async with grpc.aio.insecure_channel(server.address) as other.channel:
        calling = asyncio.create_task(call(other))
        await asyncio.wait_for(started.wait(), WAIT_S)
        await server.__aexit__(None, None, None)
        assert (await calling).next_page_token == "done"


async def test_the_refusal_of_a_stream_reaches_a_caller_that_still_sends(answering: Answering) -> None:
    """gRPC's Python client reported INTERNAL, "Internal error from Core"."""
    chunks = [cameras_pb2.ListSitesRequest(page_token="x" * 1_000_000) for _ in range(8)]

    async def stream() -> AsyncIterator[cameras_pb2.ListSitesRequest]:
        for chunk in chunks:
            yield chunk

    method = answering.channel.stream_stream(
        f"/{NAME}/Refuse",
        request_serializer=cameras_pb2.ListSitesRequest.SerializeToString,
        response_deserializer=cameras_pb2.ListSitesResponse.FromString,
    )
    for token, code in ((answering.token, "PERMISSION_DENIED"), ("nonsense", "UNAUTHENTICATED")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in method(stream(), metadata=(("authorization", f"Bearer {token}"),), timeout=20):
                pass
        assert caught.value.code().name == code


async def test_an_open_stream_ends_soon_after_its_login(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "RECHECK_S", 0.05)
    echoed = answering.channel.stream_stream(
        f"/{NAME}/ListCameras",
        request_serializer=cameras_pb2.ListSitesRequest.SerializeToString,
        response_deserializer=cameras_pb2.ListSitesResponse.FromString,
    )
    stream = echoed(metadata=bearer_metadata(answering.token), timeout=WAIT_S)
    await stream.write(cameras_pb2.ListSitesRequest())
    assert await stream.read() == cameras_pb2.ListSitesResponse()
    answering.verifier.revocations.end("u", 0, ["login"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert "has ended" in str(from_rpc_error(caught.value))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_second_server_on_the_same_port_is_refused(answering: Answering) -> None:
    second = GrpcServer(answering.address, (), TokenVerifier(answering.public))
    with pytest.raises(UnavailableError, match="cannot listen on"):
        await second.__aenter__()


@pytest.mark.parametrize(
    "sent",
    [b"", raw_http2.PREFACE[:9], raw_http2.PREFACE, raw_http2.PREFACE + raw_http2.frame(4, 0, 0, b""),
     raw_http2.call(PATH)[:-20], raw_http2.call(PATH),
     raw_http2.call(PATH) + raw_http2.frame(0, 0, 1, b"\0\0\0\0\x09ab")],
    ids=["nothing", "half a preface", "preface", "settings", "half the headers", "headers", "half a message"],
)  # fmt: skip
async def test_a_connection_that_stalls_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some stayed open for two minutes, or for ever."""
    limits = {"grpc.server_handshake_timeout_ms", "grpc.http2.ping_timeout_ms"}
    quick = [(name, 500 if name in limits else value) for name, value in grpc_server.OPTIONS]
    quick = [(name, 1000 if "keepalive_time" in name else value) for name, value in quick]
    monkeypatch.setattr(grpc_server, "OPTIONS", quick)
    _, public = generate_key_pair()
    async with GrpcServer("127.0.0.1:0", (), TokenVerifier(public)) as server:
        reader, writer = await asyncio.open_connection(*server.address.split(":"))
        writer.write(sent)
        async with asyncio.timeout(15):
            await reader.read()  # to the end
        writer.close()


HALF_A_MESSAGE = raw_http2.frame(0, 0, 1, b"\0\0\0\0\x09ab")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/grpc.health.v1.Health/Check", HALF_A_MESSAGE),
        ("/grpc.health.v1.Health/Check", b""),
        ("/grpc.health.v1.Health/Watch", HALF_A_MESSAGE),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", HALF_A_MESSAGE),
    ],
    ids=["half a message", "no message", "of a stream", "in a stream"],
)
async def test_a_call_whose_message_stays_out_is_ended_though_its_connection_lives(path: str, sent: bytes) -> None:
    """A caller that answered pings could keep calls open for ever."""
    _, public = generate_key_pair()
    async with GrpcServer("127.0.0.1:0", (), TokenVerifier(public), message_limit_s=0.3) as server:
        caller = await raw_http2.PatientCaller.connect(server.address)
        caller.send(raw_http2.call(path) + sent)
        async with asyncio.timeout(10):
            await caller.receive_until(b"no whole message arrived within 0.3 s")
        caller.close()


async def test_connections_beyond_the_limit_are_closed_and_leave_the_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their number had no bound: a caller without a token could use up the open files of every service."""
    monkeypatch.setattr(grpc_server, "MOST_CONNECTIONS", 4)
    _, public = generate_key_pair()
    async with (
        GrpcServer("127.0.0.1:0", (), TokenVerifier(public)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
        held = [await raw_http2.PatientCaller.connect(server.address) for _ in range(3)]
        beyond = await raw_http2.PatientCaller.connect(server.address)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(beyond.receive_until(b"never sent"), WAIT_S)
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
        for caller in (*held, beyond):
            caller.close()
        async with grpc.aio.insecure_channel(server.address) as later:
            check = health_pb2_grpc.HealthStub(later).Check
            await check(health_pb2.HealthCheckRequest(), timeout=WAIT_S, wait_for_ready=True)


def test_callers_cannot_use_up_the_open_files_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((1024, 128), (1_000_000, 1000), (resource.RLIM_INFINITY, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert grpc_server.most_connections() == most


async def test_a_call_without_a_token_is_refused_before_its_message_is_read(answering: Answering) -> None:
    caller = await raw_http2.PatientCaller.connect(answering.address)
    caller.send(raw_http2.call(PATH) + HALF_A_MESSAGE)
    async with asyncio.timeout(10):
        await caller.receive_until(b"access token")
    caller.close()


async def test_a_call_without_a_message_is_refused(answering: Answering) -> None:
    caller = await raw_http2.PatientCaller.connect(answering.address)
    caller.send(raw_http2.call(PATH, authorization=f"Bearer {answering.token}") + raw_http2.frame(0, 1, 1, b""))
    async with asyncio.timeout(10):
        await caller.receive_until(b"the call has no message")
    caller.close()


async def test_a_message_that_is_falsely_marked_as_compressed_is_refused(answering: Answering) -> None:
    host, port = answering.address.split(":")
    reader, writer = await asyncio.open_connection(host, port)
    head = raw_http2.call("/grpc.health.v1.Health/Check", grpc_encoding="gzip")
    writer.write(head + raw_http2.frame(0, 1, 1, b"\1\0\0\0\x08garbage!"))
    received = b""
    async with asyncio.timeout(15):
        while b"Decompression failed" not in received:
            part = await reader.read(4096)
            assert part, received
            received += part
    writer.close()
    async with grpc.aio.insecure_channel(answering.address) as channel:  # the server goes on
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status
