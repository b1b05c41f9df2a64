"""Attacks on an embedded Triton by another user of the machine: it loads nothing, and its memory is closed."""

import base64
import json
import os
import stat
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import tritonclient.grpc as triton_grpc
from tests.fixtures.models.contract_models import write_marker_repository
from tests.fixtures.triton import TritonServer, start_triton
from tritonclient.utils import InferenceServerException

from countline_common.triton.access import secret_headers
from countline_common.triton.connection import Connection

MODEL_CODE = (
    b"import pathlib\npathlib.Path(%r).write_text('ran')\nclass TritonPythonModel:\n  def execute(self, r): pass\n"
)
CONFIG = {"backend": "python", "input": [], "output": [], "max_batch_size": 0}


def models_of(server: TritonServer) -> set[str]:
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        index = client.get_model_repository_index(headers=secret_headers())
    return {model.name for model in index.models}


def modes_of_segments(prefix: str) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path("/dev/shm").glob(f"{prefix}*")}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain", "Origin": "https://attacker.example"},
        {"countline-secret": "guess"},
    ],
)
def test_a_model_that_is_posted_to_http_is_refused(
    triton: TritonServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    code = MODEL_CODE % str(tmp_path / "mark").encode()
    body = {"parameters": {"config": json.dumps(CONFIG), "file:1/model.py": base64.b64encode(code).decode()}}
    request = urllib.request.Request(
        f"http://{triton.http}/v2/repository/models/p/load", json.dumps(body).encode(), headers, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in {401, 403}
    assert not (tmp_path / "mark").exists()
    assert "p" not in models_of(triton)


@pytest.mark.parametrize("headers", [{}, {"triton-grpc-protocol-countline-secret": "guess"}])
def test_a_model_that_is_loaded_over_grpc_is_refused(
    triton: TritonServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    code = MODEL_CODE % str(tmp_path / "mark").encode()
    with (
        triton_grpc.InferenceServerClient(triton.grpc) as client,
        pytest.raises(InferenceServerException, match="restricted"),
    ):
        client.load_model("p", headers=headers, config=json.dumps(CONFIG), files={"file:1/model.py": code})
    assert not (tmp_path / "mark").exists()
    assert "p" not in models_of(triton)


@pytest.mark.parametrize(
    "path", ["v2/repository/index", "v2/systemsharedmemory/status", "v2/logging", "v2/trace/setting"]
)
def test_http_gives_no_management_call_without_the_secret(triton: TritonServer, path: str) -> None:
    request = urllib.request.Request(f"http://{triton.http}/{path}", b"{}" if "index" in path else None)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in {401, 403}


def secret_is_shown(secret: bytes) -> bool:
    """Whether the list of processes contains the secret now."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if secret in line.read_bytes():
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


@pytest.mark.usefixtures("triton")  # the first server makes the secret
async def test_the_secret_is_never_among_the_processes_and_any_path_works(tmp_path: Path) -> None:
    """Triton receives it as an argument, and gives its paths to a shell, unquoted."""
    (secret,) = secret_headers().values()
    folder = tmp_path / 'it\'s "dätä" $(id); 数据'
    ready, shown = threading.Event(), []

    def watch() -> None:
        while not ready.is_set():
            shown.append(secret_is_shown(secret.encode()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        server = start_triton(write_marker_repository(folder, "marker"), folder)
    finally:
        ready.set()
        watcher.join()
    try:
        assert any(word.endswith("countline-secret=***") for word in psutil.Process(server.pid).cmdline())
        assert len(shown) > 2
        assert not any(shown)
        async with Connection(server.grpc) as connection:  # it has the true secret
            await connection.load("marker")
            assert await connection.ready_versions("marker") == (1,)
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
async def test_nothing_of_triton_runs_as_root(triton: TritonServer) -> None:
    async with Connection(triton.grpc) as connection:
        await connection.load("marker")
    server = psutil.Process(triton.pid)
    family = [server, *server.children(recursive=True)]
    assert len(family) >= 2, "the server and a backend process"
    for process in family:
        assert 0 not in (*process.uids(), *process.gids()), process.cmdline()


async def test_segments_are_closed_to_other_users(triton: TritonServer) -> None:
    async with Connection(triton.grpc) as connection:
        await connection.load("marker")
    modes = modes_of_segments(f"countline-triton-{triton.command_pid}-")
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}, modes
