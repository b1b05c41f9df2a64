"""TLS of gRPC, NATS and PostgreSQL on real servers: who connects, what a refusal says, how files are reloaded."""

import asyncio
import contextlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import nats.errors
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text
from tests.fixtures.local.ports import free_port, free_ports
from tests.fixtures.local.processes import wait_until
from tests.fixtures.nats import NatsServer as PlainNatsServer

from countline_common.data import bus, database
from countline_common.errors import CountlineError, InvalidInputError, UnavailableError
from countline_common.grpc.channels import open_channel
from countline_common.grpc.server import GrpcServer
from countline_common.grpc.tokens import TokenVerifier, generate_key_pair
from countline_common.tls import renewing_channel
from countline_common.tls.authority import Authority
from countline_common.tls.diagnosis import diagnose
from countline_common.tls.files import TlsFiles
from countline_common.tls.grpc_credentials import server_credentials
from countline_common.tls.postgres import with_tls
from countline_local.parts import postgres as embedded
from countline_local.parts.nats import NatsServer

SYSTEM_POSTGRES = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls") / "certs")
    authority.init(("control", "nats", "postgres", "cli", "worker"))
    authority.issue("old", days=0)
    return authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of another installation."""
    authority = Authority(tmp_path_factory.mktemp("stranger") / "certs")
    authority.init(("cli",))
    return authority


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> TokenVerifier:
    path = tmp_path_factory.mktemp("keys") / "public"
    path.write_bytes(generate_key_pair()[1])
    return TokenVerifier.from_file(path)


def without_certificate(authority: Authority) -> TlsFiles:
    return TlsFiles(authority.files("cli").ca)


def with_foreign_certificate(authority: Authority, stranger: Authority) -> TlsFiles:
    theirs = stranger.files("cli")
    return TlsFiles(authority.files("cli").ca, theirs.certificate, theirs.key)


async def is_served(address: str, files: TlsFiles | None) -> bool:
    async with open_channel(address, files) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        return answer.status == health_pb2.HealthCheckResponse.SERVING


async def refusal(address: str, files: TlsFiles | None) -> str:
    """What the client is told, with the hint."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await is_served(address, files)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    cause = await asyncio.to_thread(diagnose, address, files)
    assert cause is not None
    assert cause.hint
    return cause.message


def certificate_at(address: str) -> bytes | None:
    """The certificate that a gRPC server shows now."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


class TestGrpc:
    @pytest.mark.parametrize("require", [False, True])
    async def test_who_is_served_and_what_others_are_told(
        self, authority: Authority, stranger: Authority, verifier: TokenVerifier, *, require: bool
    ) -> None:
        credentials = server_credentials(authority.files("control"), require_client_certs=require)
        async with GrpcServer("127.0.0.1:0", (), verifier, credentials=credentials) as server:
            address = server.address
            assert await is_served(address, authority.files("cli"))
            assert "requires TLS, and this client has no CA" in await refusal(address, None)
            assert "is signed by a CA that" in await refusal(address, stranger.files("cli"))
            if not require:
                assert await is_served(address, without_certificate(authority))
                return
            assert "requires a client certificate" in await refusal(address, without_certificate(authority))
            foreign = with_foreign_certificate(authority, stranger)
            assert "refuses the client certificate" in await refusal(address, foreign)

    async def test_a_server_without_tls_a_wrong_name_and_an_expired_certificate_are_named(
        self, authority: Authority, verifier: TokenVerifier
    ) -> None:
        client, old = authority.files("cli"), authority.files("old")
        async with GrpcServer("127.0.0.1:0", (), verifier) as server:
            assert f"{server.address} does not use TLS" in await refusal(server.address, client)
            assert diagnose(server.address, None) is None
        credentials = server_credentials(authority.files("control"), require_client_certs=False)
        async with GrpcServer("127.0.0.2:0", (), verifier, credentials=credentials) as server:
            assert "is for another name" in await refusal(server.address, client)
        pair = (old.key.read_bytes(), old.certificate.read_bytes())
        async with GrpcServer("127.0.0.1:0", (), verifier, credentials=grpc.ssl_server_credentials([pair])) as server:
            assert "has expired" in await refusal(server.address, client)
        with pytest.raises(InvalidInputError, match="expired on"):
            server_credentials(old, require_client_certs=False)
        with pytest.raises(InvalidInputError, match="expired on"):
            open_channel("127.0.0.1:1", old)

    async def test_a_renewed_certificate_is_used_without_a_restart(
        self, authority: Authority, verifier: TokenVerifier
    ) -> None:
        files = authority.files("control")
        credentials = server_credentials(files, require_client_certs=False)
        async with (
            GrpcServer("127.0.0.1:0", (), verifier, credentials=credentials) as server,
            open_channel(server.address, authority.files("cli")) as channel,
        ):
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            before = await asyncio.to_thread(certificate_at, server.address)
            key = files.key.read_bytes()
            files.key.write_text("half-written")
            assert await asyncio.to_thread(certificate_at, server.address) == before, "a broken file changes nothing"
            files.key.write_bytes(key)
            authority.renew(["control"])
            assert await asyncio.to_thread(certificate_at, server.address) != before
            assert await is_served(server.address, authority.files("cli"))
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)

    async def test_a_client_shows_its_renewed_certificate(
        self, authority: Authority, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its first certificate is a stranger's, so the server refuses it."""
        monkeypatch.setattr(renewing_channel, "LOOK_EVERY_S", 0.0)
        credentials = server_credentials(authority.files("control"), require_client_certs=True)
        own, another = authority.files("worker"), Authority(authority.folder / "another")
        another.init(("worker",))
        authority.renew(["worker"])
        good = [path.read_bytes() for path in own.paths[1:]]
        for path, theirs in zip(own.paths[1:], another.files("worker").paths[1:], strict=True):
            path.write_bytes(theirs.read_bytes())
        async with (
            GrpcServer("127.0.0.1:0", (), verifier, credentials=credentials) as server,
            open_channel(server.address, own) as channel,
        ):
            health = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            own.key.write_text("half-written")
            with pytest.raises(grpc.aio.AioRpcError):
                await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            for path, content in zip(own.paths[1:], good, strict=True):
                path.write_bytes(content)
            await health.Check(health_pb2.HealthCheckRequest(), timeout=10)


@asynccontextmanager
async def running_nats(folder: Path, files: TlsFiles) -> AsyncIterator[tuple[NatsServer, asyncio.subprocess.Process]]:
    server = NatsServer(folder / "nats", *free_ports(2), folder / "credentials", files)
    server.prepare()
    process = await asyncio.create_subprocess_exec(*server.argv(), env=server.env(), stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(CountlineError):
                    await server.check()
                    break
                await asyncio.sleep(0.05)
        yield server, process
    finally:
        process.kill()
        await process.wait()


class TestNats:
    async def test_who_connects_and_what_others_are_told(
        self, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        async with running_nats(tmp_path, authority.files("nats")) as (server, process):
            url = server.url_of("operator")
            client = await bus.connect(url, "good", tls=authority.files("worker"))
            await client.flush()
            plain = url.replace("tls://", "nats://")
            refused = (
                (plain, None, "requires TLS"),
                (url, stranger.files("cli"), "is signed by a CA that"),
                (url, without_certificate(authority), "requires a client certificate"),
                (url, with_foreign_certificate(authority, stranger), "refuses the client certificate"),
            )
            for address, files, message in refused:
                with pytest.raises(UnavailableError, match=message) as caught:
                    await bus.connect(address, "bad", tls=files)
                assert caught.value.hint
            with pytest.raises(InvalidInputError, match="no CA is set"):
                await bus.connect(url, "bad")
            with pytest.raises(InvalidInputError, match="some addresses of NATS have TLS"):
                await bus.connect(f"{url},{plain}", "bad", tls=authority.files("worker"))
            # Certificates are renewed on both sides. NATS may close connections when it reloads; clients come back.
            authority.renew(["nats", "worker"])
            process.send_signal(signal.SIGHUP)
            other = await bus.connect(url, "other", tls=authority.files("worker"))
            await other.close()
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(nats.errors.Error):
                        await client.flush(2)
                        break
            await client.close()

    async def test_a_server_without_tls_gets_no_password(
        self, authority: Authority, nats_server: PlainNatsServer
    ) -> None:
        with pytest.raises(UnavailableError, match="does not use TLS"):
            await bus.connect(nats_server.url.replace("nats://", "tls://"), "x", tls=authority.files("worker"))


class TlsPostgres(embedded.PostgresServer):
    """The system's PostgreSQL, which has TLS, with the set-up of `countline up`."""

    def __init__(self, folder: Path, port: int, files: TlsFiles) -> None:
        super().__init__(folder / "data", port, folder / "credentials")
        self._binaries = SYSTEM_POSTGRES
        self._files = files
        self.process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        super().prepare()
        hba = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
        self._write(self.data_dir / "pg_hba.conf", hba)
        self.copy_certificate()
        names = {"ssl_cert_file": "server.pem", "ssl_key_file": "server-key.pem", "ssl_ca_file": "ca.pem"}
        lines = "".join(f"{name} = '{file}'\n" for name, file in {"ssl": "on", **names}.items())
        self._write(self.data_dir / "postgresql.auto.conf", lines)

    def copy_certificate(self) -> None:
        for path, name in zip(self._files.paths, ("ca.pem", "server.pem", "server-key.pem"), strict=True):
            self._write(self.data_dir / name, path.read_text())
            (self.data_dir / name).chmod(0o600)


@pytest.fixture
def tls_postgres(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    if not SYSTEM_POSTGRES.is_dir():
        pytest.skip("the PostgreSQL of the wheel has no TLS, and the Debian package postgresql-15 is not installed")
    folder = tmp_path_factory.mktemp("pg")
    server = TlsPostgres(folder, free_port(), authority.files("postgres"))
    server.prepare()
    command = ["setpriv", "--pdeathsig=INT", "--", *server.argv(), "-c", "fsync=off"]
    process = server.process = subprocess.Popen(command, env=server.env(), stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def accepts(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def certificate_of(port: int) -> bytes | None:
    """The certificate that PostgreSQL shows now; TLS begins after a request of eight bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True)


class TestPostgres:
    async def test_who_connects_and_what_others_are_told(
        self, authority: Authority, stranger: Authority, tls_postgres: TlsPostgres
    ) -> None:
        dsn = tls_postgres.dsn("cameras")
        await asyncio.to_thread(wait_until, lambda: accepts(with_tls(dsn, authority.files("cli"))), 30, 0.05)
        engine = database.create_engine(with_tls(dsn, authority.files("cli")))
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")) is True
        await engine.dispose()
        for address, message in (
            (dsn + "?sslmode=disable", "no encryption"),
            (with_tls(dsn, stranger.files("cli")), "certificate verify failed"),
            (with_tls(dsn, without_certificate(authority)), "client certificate"),
            (
                with_tls(dsn.replace("127.0.0.1", "127.0.0.2"), authority.files("cli")),
                "does not match host name|refused",
            ),
        ):
            with pytest.raises(psycopg.OperationalError, match=message):
                await psycopg.AsyncConnection.connect(address, connect_timeout=5)
        before = await asyncio.to_thread(certificate_of, tls_postgres.port)
        authority.renew(["postgres"])
        tls_postgres.copy_certificate()
        tls_postgres.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: certificate_of(tls_postgres.port) != before)
        with pytest.raises(CountlineError, match="no encryption"):
            await database.migrate(dsn + "?sslmode=disable", "countline_control.cameras", "cameras")
