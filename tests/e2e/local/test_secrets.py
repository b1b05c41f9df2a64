"""Secrets in a whole system with TLS: nothing that it stores, shows, logs or publishes contains one."""

import asyncio
import base64
import contextlib
import json
import re
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import nats
import psycopg
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from psycopg import sql
from tests.fixtures.local.accounts import Accounts
from tests.fixtures.local.processes import descendants, wait_until
from tests.fixtures.local.system import System, wait_for
from tests.fixtures.oidc.provider import NodeProvider

from countline_common.grpc.channels import open_channel
from countline_common.tls.authority import Authority
from countline_common.tls.diagnosis import diagnose

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

SECRET = re.compile("S3CR3TMARK|S3%43R3TMARK|(?i:hunter7)")
ADDRESSES = (
    'rtsp://admin:pa"S3CR3TMARK@127.0.0.1:9/live',
    "rtsp://admin:a@S3CR3TMARK@b@127.0.0.1:9/live",
    "rtsp://admin:S3%43R3TMARK%2FS3CR3TMARK@[::1]:9/live",
    "rtsp://S3CR3TMARK@127.0.0.1:9/live",
    "http://127.0.0.1:9/live?loginuse=a&loginpas=S3CR3TMARK",
    "http://127.0.0.1:9/live?auth=S3CR3TMARK&x=1#top",
    "http://127.0.0.1:9/live#token=S3CR3TMARK",
    "http://127.0.0.1:9/user=admin_password=S3CR3TMARK_channel=1_stream=0.sdp",
    "http://127.0.0.1:9/api?src=rtsp%3A%2F%2Fadmin%3AS3CR3TMARK%40cam%2Flive",
)
MISTYPED = (
    "rtsp:/admin:S3CR3TMARK@127.0.0.1:9/live",
    "admin:S3CR3TMARK@127.0.0.1/live",
    "rtsp://admin:pa/S3CR3TMARK@127.0.0.1/live",
)
LOOSE = (
    "rtsp://admin:S3CR3TMARK@10.0.0.7/live",
    "rtsp://admin:pa/S3CR3TMARK@10.0.0.7/live",
    "http://10.0.0.7/live?pwd=S3CR3TMARK",
    "admin:S3CR3TMARK@10.0.0.7",
)
"""Addresses where a camera's id belongs."""
REPORTED_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, identity_provider: NodeProvider) -> Iterator[System]:
    """With an identity provider, whose client secret lies in a file of the user outside the data folder."""
    folder = tmp_path_factory.mktemp("secrets")
    groups = folder / "groups.yaml"
    groups.write_text("groups:\n  - {group: ops, role: operator}\n")
    settings = {**identity_provider.settings(folder), "oidc_groups_file": groups}
    environment = {f"COUNTLINE_{name.upper()}": str(value) for name, value in settings.items()}
    running = System(folder / "data", "--no-demo", "--tls", **environment)
    try:
        running.wait_ready()
        yield running
    finally:
        running.end()


def commands_show(system: System) -> dict[str, str]:
    """What commands print, by command."""
    asked = [("cameras", "list"), ("cameras", "show", "c0", "--json"), ("status", "--json"), ("workers", "list")]
    asked += [("cameras", "add", "wrong", address) for address in MISTYPED]
    shown = {}
    for words in asked:
        done = system.run(*words)
        shown[" ".join(words[:2])] = done.stdout + done.stderr
    return shown


async def connected(system: System) -> NatsClient:
    port = ports_of(system)["nats"]
    password = (system.data / "credentials" / "nats-operator-password").read_text().strip()
    return await nats.connect(
        f"tls://127.0.0.1:{port}",
        user="operator",
        password=password,
        tls=Authority(system.data / "certs").files("cli").client_context(),
        tls_handshake_first=True,
    )


async def stored_by_nats(system: System) -> dict[str, str]:
    """The messages of each stream."""
    client = await connected(system)
    stream_of = client.jetstream()
    found: dict[str, str] = {}
    for name in [str(stream.config.name) for stream in await stream_of.streams_info()]:
        async with asyncio.timeout(60):
            while not (messages := await _messages(stream_of, name)):
                if (await stream_of.stream_info(name)).state.messages == 0:
                    break
        found |= {name: messages} if messages else {}
    await client.close()
    return found


async def _messages(stream_of: JetStreamContext, name: str) -> str:
    """Those of a stream; none if newer ones, such as statuses, replaced each before it was read."""
    state, found = (await stream_of.stream_info(name)).state, ""
    for number in range(max(1, state.first_seq), state.last_seq + 1):
        with contextlib.suppress(nats.js.errors.NotFoundError):
            found += repr(await stream_of.get_msg(name, number))
    return found


def ports_of(system: System) -> dict[str, int]:
    ports: dict[str, int] = json.loads((system.data / "run" / "ports.json").read_text())
    return ports


def stored_by_databases(system: System) -> dict[str, str]:
    """The rows of each table of each service, audit entries and events among them."""
    password = (system.data / "credentials" / "postgres-password").read_text().strip()
    server = f"postgresql://postgres:{password}@127.0.0.1:{ports_of(system)['postgres']}"
    found = {}
    for database in ("auth", "cameras", "analytics"):
        with psycopg.connect(f"{server}/{database}") as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, table in tables:
                rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
                found[f"{database}.{schema}.{table}"] = repr(connection.execute(rows).fetchall())
    return found


async def sockets_answer(system: System) -> dict[str, str]:
    """What the WebSocket answers to messages that hold a secret where none belongs, and its close codes."""
    url, token = await system.login()
    token_message = {"type": "auth", "token": token}
    wrong: list[dict[str, Any]] = [{"type": "auth", "token": "S3CR3TMARK.S3CR3TMARK.S3CR3TMARK"}, {"type": LOOSE[0]}]
    wrong += [
        {"type": "subscribe", "channel": f"{kind}:{address}"} for kind in ("live", "pictures") for address in LOOSE
    ]
    found = {}
    async with aiohttp.ClientSession() as session:
        for message in wrong:
            async with session.ws_connect(f"{url}/ws") as socket:
                await socket.send_json(token_message)
                assert (await socket.receive_json())["type"] == "ready"
                await socket.send_json(message)
                answer = await socket.receive_json(timeout=10)
                assert answer["type"] == "error", answer
                await socket.close()
                found[f"socket {message}"] = json.dumps(answer) + repr(socket.close_code)
    return found


async def refused_logins(system: System) -> dict[str, str]:
    """What the log-in answers to a password in the place of a user name."""
    url, _ = await system.login()
    found = {}
    async with aiohttp.ClientSession() as session:
        for username in ("Hunter7", "admin:Hunter7", "rtsp://admin:Hunter7@10.0.0.7/live"):
            body = {"username": username, "password": "hunter7"}
            async with session.post(f"{url}/api/v1/auth/login", json=body) as answer:
                assert answer.status == 401
                found[f"login {username}"] = await answer.text()
    return found


async def metrics(system: System) -> dict[str, str]:
    """The metrics of each part."""
    ports, found = ports_of(system), {}
    async with aiohttp.ClientSession() as session:
        for name in ("control-health", "ingest-health", "api-health", "worker-health"):
            async with session.get(f"http://127.0.0.1:{ports[name]}/metrics") as answer:
                assert answer.status == 200
                found[name] = await answer.text()
    return found


def files_with(folder: Path, *needles: bytes) -> set[str]:
    """The files below a folder that hold one of some texts: tables and journals of PostgreSQL, stores, spools, logs."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        path.relative_to(folder).as_posix()
        for path in files
        if any(each in content for content in [_content(path)] for each in needles)
    }


def _content(path: Path) -> bytes:
    """The bytes of a file; none if a running server has deleted it meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def logs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in folder.iterdir() if path.is_file()}


async def test_no_password_of_a_camera_leaves_the_system(system: System) -> None:
    assert system.run("sites", "add", "here").returncode == 0
    for number, address in enumerate(ADDRESSES):
        words = ("--model", "demo_detector", "--line", "gate:0,0.5,1,0.5")
        assert system.run("cameras", "add", f"c{number}", address, *words).returncode == 0

    async def all_failed() -> bool:
        cameras = (await system.get("/api/v1/cameras"))["cameras"]
        return all(each["observed"].get("error") for each in cameras)

    await wait_for(all_failed, REPORTED_WITHIN_S)
    shown = {**commands_show(system), **await sockets_answer(system), **await refused_logins(system)}
    stored = {**await stored_by_nats(system), **stored_by_databases(system)}
    assert {"DOMAIN", "STATUS", "auth.audit.audit_logs", "cameras.cameras.outbox", "cameras.cameras.cameras"} <= set(
        stored
    )
    assert "UNAUTHENTICATED" in stored["auth.audit.audit_logs"]
    rest = {"REST": json.dumps(await system.get("/api/v1/cameras"))}
    shown |= {**stored, **await metrics(system), **rest, **logs(system.data / "logs")}
    assert {name for name, text in shown.items() if SECRET.search(text)} == set()
    assert files_with(system.data, b"S3CR3TMARK", b"S3%43R3TMARK") == set()
    master_key = (system.data / "credentials" / "master-key").read_text().strip()
    needles = (master_key.encode(), base64.b64decode(master_key))
    assert files_with(system.data, *needles) == {"credentials/master-key"}
    assert {name for name, text in shown.items() if master_key in text} == set()


def _of(process: int) -> tuple[str, list[str]]:
    """Name of a process, and its soft and hard limit of core dumps."""
    folder = Path(f"/proc/{process}")
    (line,) = [each for each in (folder / "limits").read_text().splitlines() if each.startswith("Max core file size")]
    return (folder / "comm").read_text().strip(), line.split()[4:6]


async def test_no_process_may_dump_its_memory(system: System) -> None:
    found = [_of(pid) for pid in {system.process.pid, *descendants(system.process.pid)}]
    assert {"postgres", "nats-server", "tritonserver"} <= {name for name, _ in found}
    assert [each for each in found if each[1] != ["1", "1"]] == []


async def test_no_secret_of_an_account_leaves_the_system(system: System, identity_provider: NodeProvider) -> None:
    assert system.run("settings", "set", "registration", "invite").returncode == 0
    client, heard = await connected(system), dict[str, str]()

    async def hear(message: Msg) -> None:
        heard[message.subject] = heard.get(message.subject, "") + repr(message)

    # Everything that passes over the bus: streams that are work queues keep nothing.
    await client.subscribe(">", cb=hear)
    async with Accounts(*await system.login()) as accounts:
        await wait_for(partial(_is_open, accounts), 10.0)
        await accounts.plant(identity_provider)
    secrets = accounts.secrets
    assert len(secrets) > 20

    async def audit_has_arrived() -> bool:
        rows = (await system.get("/api/v1/audit"))["records"]
        return any(each["row"]["method"].endswith("ResetPassword") for each in rows)

    await wait_for(audit_has_arrived, 30.0)
    await client.close()
    assert "countline.audit.rows.auth" in heard
    shown = {**heard, **await stored_by_nats(system), **stored_by_databases(system), **await metrics(system)}
    shown |= {**logs(system.data / "logs"), "audit": json.dumps(await system.get("/api/v1/audit"))}
    shown |= {"lines": json.dumps(await system.get("/api/v1/logs")), "output": system.said}
    assert {"auth.auth.second_factors", "auth.auth.api_keys", "auth.auth.invites"} <= {*shown}
    for what, secret in secrets.items():
        forms = {secret, secret.replace("-", ""), secret.replace("-", "").upper()}
        assert [name for name, text in shown.items() if any(form in text for form in forms)] == [], what
        assert files_with(system.data, *(form.encode() for form in forms)) == set(), what
    sealed = base64.b32decode(secrets["secret of a second factor"])
    assert files_with(system.data, sealed) == set()


async def _is_open(accounts: Accounts) -> bool:
    """Whether the setting acts: until then, invites are refused."""
    try:
        await accounts.post("invites", {"roles": ["viewer"]}, accounts.admin)
    except AssertionError:
        return False
    return True


async def test_the_master_key_is_replaced_while_the_system_runs(system: System) -> None:
    before = (system.data / "credentials" / "master-key").read_text().strip()
    done = system.run("secrets", "rotate", "--new-master-key")
    assert done.returncode == 0, done.stderr
    file = system.data / "credentials" / "master-key"
    assert before not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = system.run("secrets", "show")
    assert len(shown.stdout.splitlines()) == 3, shown.stdout  # those of cameras, and of second factors
    assert system.run("cameras", "show", "c0").returncode == 0


async def test_every_grpc_service_and_nats_refuse_clients_without_a_certificate(system: System) -> None:
    ports = ports_of(system)
    for name in ("auth", "cameras", "workers", "models"):
        address = f"127.0.0.1:{ports[name]}"
        async with open_channel(address, None) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
        cause = diagnose(address, None)
        assert cause is not None
        assert "requires TLS" in cause.message
    with pytest.raises((nats.errors.Error, OSError)):
        await nats.connect(f"nats://127.0.0.1:{ports['nats']}", max_reconnect_attempts=0, allow_reconnect=False)


async def test_certificates_are_renewed_while_the_system_runs(system: System) -> None:
    shown = json.loads(system.run("certs", "show", "--json").stdout)["certificates"]
    assert {"ca", "control", "api", "ingest", "worker", "nats", "cli"} <= {each["name"] for each in shown}
    assert all(each["days_left"] > 300 for each in shown)
    assert system.run("certs", "renew").returncode == 0
    log = system.data / "logs" / "supervisor.log"
    wait_until(lambda: "certificates.reloaded" in log.read_text(), 60, 0.2)
    done = system.run("cameras", "list")
    assert done.returncode == 0, done.stderr
    assert system.status()["ready"]
    assert "Reloaded server configuration" in (system.data / "logs" / "nats.log").read_text()
