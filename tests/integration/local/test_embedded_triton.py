"""The embedded Triton as a program that others start: it comes up, answers, and leaves nothing behind."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.fixtures.triton import TritonNotStartedError, TritonServer

COUNTLINE = str(Path(sys.executable).with_name("countline"))


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "condition was not met in time"
        time.sleep(0.02)


def segments_of(pid: int) -> list[str]:
    return sorted(path.name for path in Path("/dev/shm").glob(f"countline-triton-{pid}-*"))


def test_server_answers_on_the_addresses_it_prints(triton: TritonServer) -> None:
    with urllib.request.urlopen(f"http://{triton.http}/v2", timeout=30) as answer:
        assert json.load(answer)["name"] == "countline-embedded"
    with urllib.request.urlopen(f"http://{triton.metrics}/metrics", timeout=30) as answer:
        assert b"nv_cpu_utilization" in answer.read()


def test_models_named_at_start_are_ready_when_the_addresses_are_printed(own_triton) -> None:
    server = own_triton("--load", "marker")
    with urllib.request.urlopen(f"http://{server.http}/v2/models/marker/ready", timeout=30) as answer:
        assert answer.status == 200


def test_configuration_loads_unchanged_and_its_labels_are_known(own_triton) -> None:
    server = own_triton("--load", "marker")
    with urllib.request.urlopen(f"http://{server.http}/v2/models/marker/config", timeout=30) as answer:
        config = json.load(answer)
    assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 8)
    assert config["output"][0]["label_filename"] == "labels.txt"


def test_nothing_is_sent_to_the_makers_of_the_runtime(own_triton) -> None:
    """ONNX Runtime 1.32 collects events and sends them, unless its environment forbids it."""
    server = own_triton("--load", "marker")
    family = psutil.Process(server.command_pid).children(recursive=True)
    loaded = [each for each in family if "python_backend_stub" in " ".join(each.cmdline())]
    assert loaded
    assert {each.environ()["ORT_DISABLE_TELEMETRY"] for each in loaded} == {"1"}
    assert "telemetry" not in server.log


def test_stopping_leaves_no_process_and_no_shared_memory(own_triton) -> None:
    server = own_triton("--load", "marker")
    family = psutil.Process(server.command_pid).children(recursive=True)
    assert len(family) >= 3, "the server and two backend processes"
    assert segments_of(server.command_pid)
    assert server.stop() == 0
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)
    assert not segments_of(server.command_pid)


def test_closing_its_standard_input_stops_the_server(own_triton) -> None:
    server = own_triton("--load", "marker")
    server.process.stdin.close()
    assert server.process.wait(20) == 0
    wait_until(lambda: not psutil.pid_exists(server.pid))
    assert not segments_of(server.command_pid)


def test_frames_of_a_killed_program_are_removed_when_its_private_server_ends(own_triton, tmp_path: Path) -> None:
    """As `countline count` uses it: killed, it cannot remove its slots, but its server notices by the closed pipe."""
    own_triton().stop()  # makes the repository
    code = (
        "import os, signal, subprocess, sys\n"
        "from countline_pipelines.triton.slots import SlotRing\n"
        f"command = [{COUNTLINE!r}, 'triton', '--model-repository', {str(tmp_path / 'repository')!r}, '--json',\n"
        "           '--until-eof', '--http-port', '0', '--grpc-port', '0', '--metrics-port', '0']\n"
        "server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "server.stdout.readline()\n"
        "ring = SlotRing(2, 8, 8)\n"
        "print(ring.name, server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    name, pid = killed.stdout.split()
    wait_until(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
    assert not Path("/dev/shm", name).exists()


def test_killing_the_command_takes_triton_with_it_and_the_next_start_cleans_up(own_triton) -> None:
    server = own_triton("--load", "marker")
    family = psutil.Process(server.command_pid).children(recursive=True)
    server.kill()
    wait_until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family))
    own_triton()
    assert not segments_of(server.command_pid)


def test_a_triton_that_dies_ends_the_command_with_an_error(own_triton) -> None:
    server = own_triton()
    psutil.Process(server.pid).kill()
    assert server.process.wait(20) == 1
    assert "Triton ended by itself" in server.log


def test_a_second_server_does_not_clean_up_the_first(own_triton) -> None:
    first = own_triton("--load", "marker")
    before = segments_of(first.command_pid)
    own_triton("--load", "marker")
    assert segments_of(first.command_pid) == before


def test_a_broken_model_keeps_the_server_from_starting_and_is_named(own_triton, tmp_path: Path) -> None:
    own_triton().stop()
    (tmp_path / "repository" / "marker" / "1" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(TritonNotStartedError) as caught:
        own_triton("--load", "marker")
    assert "marker" in str(caught.value)
    assert "not a model that ONNX Runtime can run" in str(caught.value)


def test_a_taken_port_is_named_with_a_hint(own_triton) -> None:
    first = own_triton()
    taken = tuple(int(address.rpartition(":")[2]) for address in (first.http, first.grpc, first.metrics))
    with pytest.raises(TritonNotStartedError) as caught:
        own_triton(ports=taken)
    assert f"one of its ports {taken[0]}, {taken[1]}, {taken[2]} is taken" in str(caught.value)
    assert "hint:" in str(caught.value)


def test_a_repository_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    result = subprocess.run(
        [COUNTLINE, "triton", "--model-repository", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert f"there is no folder {tmp_path / 'none'}" in result.stderr
