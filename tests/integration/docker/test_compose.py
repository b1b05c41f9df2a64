"""The system that docker/compose.yaml starts, on a real engine: counts a clip as a user would have it counted.

Runs where DOCKER_HOST names an engine. Images of others are stand-ins from Debian packages and wheels
(tests/fixtures/docker/stand_ins/) unless POSTGRES_IMAGE, NATS_IMAGE and NGINX_IMAGE name them.
"""

import http.client
import json
import os
import ssl
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.docker.engine import DOCKER, System, make_certificate, why_no_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(2400)]

PARTS = ("postgres", "nats", "triton", "control-plane", "ingest", "api", "worker", "gateway")
CLIP = "street"
FINISHED_WITHIN_S = 120.0
COUNTED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Everything, up and well; gone with its volumes after the last test."""
    if why := why_no_engine():
        pytest.skip(why)
    system = System(f"countline-test-{os.getpid()}")
    system.build()
    try:
        system.compose("up", "-d", timeout_s=600)
        system.wait_healthy(PARTS)
        system.log_in()
        yield system
    finally:
        system.compose("--profile", "demo", "down", "--volumes", "--timeout", "10", "--remove-orphans")


@pytest.fixture(scope="module")
def clip(system: System) -> dict[str, Any]:
    """A rendered clip where the worker finds it, with its lines and true crossings; its site is there too."""
    system.compose("run", "--rm", "-T", "demo", timeout_s=600)
    system.countline("sites", "add", "shop", "--time-zone", "Europe/Zurich")
    described: dict[str, Any] = json.loads(system.shell("worker", f"cat /recordings/{CLIP}.json"))
    return described


def truth(clip: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((item["line"], item["direction"]) for item in clip["truth"])


def count(system: System, clip: dict[str, Any], camera: str, day: str) -> Counter[tuple[str, str]]:
    """Have a camera count the clip, as if it had been recorded on a day; returns what REST says when it is through."""
    lines = [
        f"--line={line['id']}:{','.join(str(v) for point in line['points'] for v in point)}" for line in clip["lines"]
    ]
    options = ("--site=shop", "--playback=fast", f"--recorded-at={day}T09:00:00Z", *lines)
    system.countline("cameras", "add", camera, f"file:///recordings/{CLIP}.mp4", *options)
    system.wait(lambda: is_finished(system, camera), f"{camera} is through", FINISHED_WITHIN_S)
    expected = sum(truth(clip).values())
    system.wait(lambda: counted(system, camera, day).total() >= expected, f"{camera} is counted", COUNTED_WITHIN_S)
    return counted(system, camera, day)


def is_finished(system: System, camera: str) -> bool:
    return any(
        line.startswith(f"{camera} ") and "finished" in line
        for line in system.countline("cameras", "list").splitlines()
    )


def counted(system: System, camera: str, day: str) -> Counter[tuple[str, str]]:
    hour = f"start={day}T09:00:00Z&end={day}T10:00:00Z&bucket=1h"
    buckets = system.get(f"/api/v1/analytics/counts?camera_id={camera}&{hour}&group_by=line,direction")["buckets"]
    found = Counter({(each["line_id"], each["direction"]): each[each["direction"]] for each in buckets})
    return +found


def test_what_a_clip_is_counted_is_what_is_true(system: System, clip: dict[str, Any]):
    assert count(system, clip, "road", "2026-03-01") == truth(clip)


def test_frames_reach_triton_through_shared_memory(system: System, clip: dict[str, Any]):
    assert '"transport": "shm"' in system.compose("logs", "--no-color", "worker")


def is_protected(system: System) -> bool:
    """Whether this start has protected the audit; its chain has to be intact."""
    system.wait(lambda: system.health("protect-audit") == "exited", "the audit is protected")
    assert system.container("protect-audit")["State"]["ExitCode"] == 0, system.compose("logs", "protect-audit")
    found = json.loads(system.countline("audit", "verify", "--json"))
    assert found["intact"], found
    return bool(found["protected"])


def test_the_audit_is_protected_with_a_password_that_only_this_step_has(system: System):
    assert is_protected(system)
    change = "update audit.audit_logs set hashed_text = hashed_text"
    change = f'PGPASSWORD=$(cat /secrets/auth-password) psql -h 127.0.0.1 -U auth -d auth -Atc "{change}" 2>&1'
    assert "permission denied" in system.shell("postgres", change)
    holders = [
        part
        for part in PARTS
        for mount in system.container(part)["Mounts"]
        if mount.get("Name", "").endswith("secrets-audit")
    ]
    assert holders == []
    system.compose("up", "-d", timeout_s=600)  # it can be repeated
    assert is_protected(system)


@pytest.mark.parametrize("part", [*PARTS, "init", "protect-audit"])
def test_a_container_has_no_privilege_and_a_root_that_nobody_can_write(system: System, part: str):
    container = system.container(part)
    host = container["HostConfig"]
    assert container["Config"]["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"]
    assert host["PidsLimit"]


@pytest.mark.parametrize("part", PARTS)
def test_no_process_is_roots_and_none_can_write_where_programs_lie(system: System, part: str):
    assert set(system.processes(part)) == {"10001"}
    for folder in ("/", "/usr", "/etc", "/opt"):
        assert "refused" in system.shell(part, f"touch {folder}/x 2>/dev/null || echo refused")


def test_only_the_gateway_is_reached_from_outside_and_from_this_machine_alone(system: System):
    published = {part: system.container(part)["HostConfig"]["PortBindings"] for part in PARTS}
    assert {part: ports for part, ports in published.items() if ports} == {
        "gateway": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(system.port)}]}
    }


def test_no_password_is_seen_from_outside_and_no_service_has_that_of_another(system: System):
    passwords = system.shell("postgres", "cat /secrets/*-password").split()
    assert len(passwords) == 4
    for part in PARTS:
        inspected = json.dumps(system.container(part))
        assert not [password for password in passwords if password in inspected], part
    assert system.shell("worker", "ls /secrets").split() == ["nats-url", "triton-secret", "worker-token"]
    assert set(system.shell("control-plane", "stat -c %a:%u /var/lib/countline/credentials/*").split()) == {"600:10001"}


def test_the_database_lets_each_service_into_its_own_alone(system: System):
    reach = 'PGPASSWORD=$(cat /secrets/auth-password) psql -h 127.0.0.1 -U auth -Atc "select 1" '
    assert system.shell("postgres", reach + "auth").strip() == "1"
    assert system.shell("postgres", reach + "analytics").strip() == ""


def test_triton_and_the_database_cannot_be_reached_from_where_the_gateway_is(system: System):
    for name in ("triton", "postgres", "nats", "control-plane"):
        assert system.shell("gateway", f"getent hosts {name}") == ""
    assert system.shell("gateway", "getent hosts api") != ""


def test_the_page_comes_with_its_headers(system: System):
    status, headers, page = system.request("/")
    assert status == 200
    assert b"<title>Countline</title>" in page
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "nginx"


def test_text_is_compressed_for_whoever_takes_it(system: System):
    assert system.request("/api/v1/openapi.json", **{"Accept-Encoding": "gzip"})[1]["Content-Encoding"] in {
        "gzip",
        "deflate",
    }


def test_the_live_socket_opens_through_the_gateway(system: System):
    status, headers, _ = system.request(
        "/ws", **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
    )  # fmt: skip
    assert (status, headers["Upgrade"].lower()) == (101, "websocket")


def test_a_body_that_is_too_large_is_refused_in_the_shape_of_the_api(system: System):
    status, _, said = system.request("/api/v1/cameras", {"title": "x" * 17_000_000})
    assert (status, json.loads(said)["errors"][0]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_passwords_cannot_be_guessed_quickly_and_everything_else_goes_on(system: System):
    wrong = {"username": "admin", "password": "guess"}
    answers = [system.request("/api/v1/auth/login", wrong) for _ in range(12)]
    assert 429 in {status for status, _, _ in answers}
    refused = next(json.loads(said) for status, _, said in answers if status == 429)
    assert refused["errors"][0]["code"] == "RESOURCE_EXHAUSTED"
    assert refused["request_id"]
    assert system.get("/api/v1/cameras") is not None


@pytest.mark.parametrize("part", PARTS)
def test_a_part_whose_processes_are_killed_comes_back_by_itself(system: System, part: str):
    restarts = system.container(part)["RestartCount"]
    system.shell(part, "kill -9 -1")
    system.wait(lambda: system.container(part)["RestartCount"] > restarts, f"{part} is started again")
    system.wait_healthy(PARTS)


def test_the_gateway_says_that_the_api_is_away(system: System):
    system.compose("stop", "--timeout", "10", "api")
    try:
        status, headers, said = system.request("/api/v1/cameras")
        assert (status, json.loads(said)["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert headers["X-Frame-Options"] == "DENY"
    finally:
        system.compose("start", "api")
    system.wait_healthy(PARTS)


def test_after_all_that_and_a_new_start_the_clip_is_counted_the_same(system: System, clip: dict[str, Any]):
    system.compose("down", "--timeout", "20", timeout_s=600)
    system.compose("up", "-d", timeout_s=600)
    system.wait_healthy(PARTS)
    assert counted(system, "road", "2026-03-01") == truth(clip), "what was counted before is still there"
    assert is_protected(system)
    assert count(system, clip, "road-again", "2026-03-02") == truth(clip)


def test_a_backup_brings_everything_back(system: System, clip: dict[str, Any], tmp_path: Path):
    system.script("backup.sh", str(tmp_path))
    assert system.script("restore.sh", str(tmp_path), check=False).returncode == 1, "there is something to write over"
    system.compose("down", "--volumes", "--timeout", "10", timeout_s=600)
    system.script("restore.sh", str(tmp_path))
    system.wait_healthy(PARTS)
    system.log_in()
    assert counted(system, "road", "2026-03-01") == truth(clip)
    assert is_protected(system)
    assert "road-again" in system.countline("cameras", "list")


def test_with_a_certificate_the_gateway_speaks_tls_and_sends_plain_http_there(system: System, tmp_path: Path):
    tmp_path.chmod(0o755)
    make_certificate(tmp_path)
    system.compose(
        "-f", str(DOCKER / "compose.tls.yaml"), "up", "-d", "--no-deps", "gateway", COUNTLINE_TLS=str(tmp_path)
    )
    system.wait_healthy(["gateway"])
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    with urllib.request.urlopen(f"https://localhost:{system.port}/", timeout=20, context=trusting) as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert b"<title>Countline</title>" in answer.read()
    plain = http.client.HTTPConnection("localhost", system.port, timeout=20)
    plain.request("GET", "/cameras")
    moved = plain.getresponse()
    assert (moved.status, moved.headers["Location"]) == (308, f"https://localhost:{system.port}/cameras")
    plain.close()
