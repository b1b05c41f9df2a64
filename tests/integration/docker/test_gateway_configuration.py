"""The real NGINX with the gateway's configuration, with and without TLS; no engine is needed, only the program."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.fixtures.docker.engine import DOCKER, make_certificate
from tests.fixtures.docker.gateway_routes import ROUTES_FILE, configuration
from tests.fixtures.local.ports import free_port

from countline_analytics.api.services import http_methods
from countline_analytics.api.time_limits import time_limit
from countline_control.serve.plane import MODEL_CALL_LIMIT_S

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
GATEWAY = DOCKER / "gateway"
LARGE = 9 * 1024 * 1024

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt install nginx-light")


def prepare(folder: Path, listen: str) -> Path:
    """Put the configuration into a folder; returns its main file."""
    for name in ("nginx.conf", "routes.conf"):
        shutil.copy(GATEWAY / name, folder / name)
    (folder / "mime.types").write_text("types { text/html html; }\n")
    (folder / "listen.conf").write_text(listen)
    return folder / "nginx.conf"


def check(folder: Path, listen: str) -> str:
    """What `nginx -t` says about the configuration."""
    done = subprocess.run(
        [str(NGINX), "-t", "-e", "/dev/stderr", "-c", str(prepare(folder, listen))],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


@needs_nginx
def test_nginx_takes_the_configuration_without_a_warning(tmp_path: Path):
    said = check(tmp_path, (GATEWAY / "listen.conf").read_text())
    assert "[warn]" not in said.replace('the "user" directive', "")


@needs_nginx
def test_nginx_takes_the_configuration_for_tls(tmp_path: Path):
    make_certificate(tmp_path)
    check(tmp_path, (GATEWAY / "tls.conf").read_text().replace("/tls/", f"{tmp_path}/"))


def test_the_time_limits_of_nginx_are_those_of_the_table():
    assert ROUTES_FILE.read_text() == configuration(), "run `make routes`"


def nginx_waits_s(path: str) -> float:
    """How long NGINX waits for the answer to a path."""
    text = ROUTES_FILE.read_text()
    (default_s,) = re.findall(r"^proxy_read_timeout (\d+)s;", text, re.MULTILINE)
    for pattern, block in re.findall(r"location ~ (\S+) \{(.*?)\n\}", text, re.DOTALL):
        if re.search(pattern, path):
            return float(re.findall(r"proxy_read_timeout (\d+)s;", block)[0])
    return float(default_s)


def test_nginx_waits_longer_than_the_api_for_every_route():
    for method in http_methods():
        for route in method.routes:
            assert time_limit(route.path, route.method).seconds < nginx_waits_s(route.path), route.path


def test_the_api_waits_longer_than_the_service_for_changes_of_models():
    assert time_limit("/api/v1/ai-models/{model_id}", "PATCH").seconds > MODEL_CALL_LIMIT_S


@asynccontextmanager
async def serving_nginx(folder: Path, api_port: int) -> AsyncIterator[int]:
    """NGINX in front of an API on this machine; yields its port."""
    port = free_port()
    main = prepare(folder, f"listen 127.0.0.1:{port};\n")
    text = main.read_text().replace("http://api:8080", f"http://127.0.0.1:{api_port}")
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}").replace("/tmp/", f"{folder}/")
    main.write_text(text)
    process = await asyncio.create_subprocess_exec(
        str(NGINX), "-e", "/dev/stderr", "-c", str(main), "-g", "daemon off;", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while not await _answers(port):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[int]:
    """The port of NGINX in front of an API that answers with the headers that it got."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, "headers": [list(pair) for pair in request.headers.items()]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", api_port := free_port()).start()
    async with serving_nginx(tmp_path, api_port) as port:
        yield port
    await runner.cleanup()


@needs_nginx
async def test_every_route_reaches_the_api_and_headers_cannot_be_smuggled(gateway: int):
    sent = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"), ("X-Forwarded-Proto", "https")]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{gateway}", headers=sent) as session:
        for resource in ("auth/me", "users", "cameras/x", "analytics/counts", "ai-models", "settings", "openapi.json"):
            async with session.get(f"/api/v1/{resource}") as response:
                got = await response.json()
            assert got["path"] == f"/api/v1/{resource}"
            values = [(name.lower(), value) for name, value in got["headers"]]
            assert [value for name, value in values if name == "x-forwarded-for"] == ["127.0.0.1"]
            assert [value for name, value in values if name == "x-forwarded-proto"] == ["http"]


@needs_nginx
@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("a\u00e4", False)]
)
async def test_a_well_formed_request_id_is_kept_and_others_are_replaced(gateway: int, given: str, *, kept: bool):
    url = f"http://127.0.0.1:{gateway}/api/v1/cameras"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"X-Request-Id": given}) as response:
        headers = dict(await response.json())["headers"]
    (passed_on,) = [value for name, value in headers if name.lower() == "x-request-id"]
    assert (passed_on == given) == kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", passed_on)


@needs_nginx
async def test_a_large_body_is_refused_in_the_shape_of_the_api(gateway: int):
    url = f"http://127.0.0.1:{gateway}/api/v1/cameras"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x" * LARGE) as response:
        assert response.status == 413
        assert (await response.json())["errors"][0]["code"] == "PAYLOAD_TOO_LARGE"


@needs_nginx
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
    ],
)
async def test_requests_with_two_ends_are_refused(gateway: int, head: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway)
    writer.write(
        b"POST /api/v1/cameras HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert re.match(rb"HTTP/1.1 (400|501) ", answer), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
