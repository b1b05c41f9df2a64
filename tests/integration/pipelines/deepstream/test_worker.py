"""`countline worker --backend deepstream` and `countline doctor` as programs, with the double and without it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.clips import write_blob_repository
from tests.fixtures.control_double import ControlDouble
from tests.fixtures.forked.command import countline
from tests.fixtures.nats import NatsServer
from tests.fixtures.pipelines.deepstream_bench import install_root
from tests.fixtures.pipelines.workers import WorkerProcess, assignment, wait_until, worker_process
from tests.fixtures.repository import REPOSITORY
from tests.fixtures.triton import TritonServer, start_triton

from countline.v1 import cameras_pb2

CONFIG = REPOSITORY / "triton-repo" / "demo_detector" / "config.pbtxt"


class DoubledWorker(WorkerProcess):
    """A worker where DeepStream seems to be installed; what the double saw is written down at its end."""

    @property
    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.doubles.deepstream", "--report", str(self.folder / "report.json")]
        with (self.folder / "worker.log").open("a") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, "--", "countline", "worker", "--backend", "deepstream",
                env={**os.environ, **self.environment}, cwd=REPOSITORY, stderr=log, stdout=log,
            )  # fmt: skip


def doubled(folder: Path, nats_server: NatsServer, control: ControlDouble, triton: str) -> DoubledWorker:
    """A worker that is not started yet."""
    plain = worker_process(
        folder / "worker",
        nats_server.url,
        control.address,
        triton,
        COUNTLINE_DEEPSTREAM_ROOT=str(install_root(folder / "deepstream", "7.1")),
        COUNTLINE_DEEPSTREAM_BOXES="python",
        COUNTLINE_DEEPSTREAM_FRAME_RATE="20",
    )
    return DoubledWorker(plain.environment, plain.folder)


@pytest.fixture
async def doubled_worker(
    deepstream_double: Installed,  # skips where there is no GStreamer
    tmp_path: Path,
    nats_server: NatsServer,
    control_double: ControlDouble,
    blob_triton: TritonServer,
) -> AsyncIterator[DoubledWorker]:
    process = doubled(tmp_path, nats_server, control_double, blob_triton.grpc)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


async def test_a_worker_on_deepstream_counts_and_publishes_as_any_other(
    doubled_worker: DoubledWorker, nats_server: NatsServer, control_double: ControlDouble, clip: Path
) -> None:
    await control_double.assign(assignment("cam", str(clip)))
    status = await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    totals = await wait_until(nats_server.url, "cam", lambda t: sum(span.frames for span in t.spans) == 200)
    assert totals.in_out == (1, 3)
    assert (status.width, status.height) == (320, 240)
    assert {report.backend for report in control_double.reports} == {"deepstream"}
    assert await doubled_worker.stop() < 8
    assert doubled_worker.process is not None
    assert doubled_worker.process.returncode == 0, doubled_worker.log
    report = doubled_worker.report
    assert not report["complaints"]
    assert report["alive"]["elements"] == 0


async def test_while_triton_is_away_the_gap_shows_as_coverage(
    deepstream_double: Installed,
    tmp_path: Path,
    nats_server: NatsServer,
    control_double: ControlDouble,
    clip: Path,
) -> None:
    repository = write_blob_repository(tmp_path / "models")
    triton = start_triton(repository, tmp_path / "triton")
    ports = tuple(int(address.rpartition(":")[2]) for address in (triton.http, triton.grpc, triton.metrics))
    worker = doubled(tmp_path, nats_server, control_double, triton.grpc)
    await worker.start()
    try:
        await control_double.assign(assignment("cam", str(clip), epoch=3, playback=cameras_pb2.PLAYBACK_LOOP))
        await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
        await wait_until(nats_server.url, "cam", lambda t: sum(span.frames for span in t.spans) > 40)
        await asyncio.to_thread(triton.kill)
        died_at = time.time()
        await asyncio.sleep(3)  # how long it is away, not a wait for something
        triton = await asyncio.to_thread(start_triton, repository, tmp_path / "again", ports=ports)
        came_back_at = time.time()
        after = await wait_until(
            nats_server.url, "cam", lambda t: bool(t.spans) and t.covered_s[-1][0] > came_back_at + 2
        )
    finally:
        await worker.stop()
        await asyncio.to_thread(triton.stop)
    gaps = [(b, a - b) for (_, b), (a, _) in pairwise(after.covered_s) if a - b > 1]
    ((began, gap_s),) = gaps
    assert began == pytest.approx(died_at, abs=1.5)
    assert 2 < gap_s < came_back_at - died_at + 10
    assert {record.epoch for record in after.records} == {3}
    assert len({record.run for record in after.records}) == 2


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(countline()), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COUNTLINE_NATS_URL": "nats://127.0.0.1:9", "COLUMNS": "200", **environment},
    )


def test_without_deepstream_the_worker_says_what_is_missing_and_which_image_has_it(tmp_path: Path) -> None:
    done = run(
        "worker", "--backend", "deepstream",
        COUNTLINE_DEEPSTREAM_ROOT=str(tmp_path), COUNTLINE_SPOOL=str(tmp_path / "spool"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "the DeepStream backend cannot run here" in done.stderr
    assert "nvcr.io/nvidia/deepstream:7.1-triton-multiarch" in done.stderr.partition("hint:")[2].replace("\n", "")
    assert "Traceback" not in done.stderr


def test_the_pipeline_is_printed_without_deepstream_or_triton(tmp_path: Path) -> None:
    done = run(
        "worker", "--print-pipeline", "--config", str(CONFIG), "--json",
        COUNTLINE_DATA=str(tmp_path), COUNTLINE_CAPACITY="4", COUNTLINE_TRITON_ADDRESS="triton:8001",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    chain = ("nvstreammux", "queue", "nvinferserver", "nvtracker", "fakesink", "nvurisrcbin")
    places = [printed["command"].index(name) for name in chain]
    assert places == sorted(places)
    assert printed["command"].startswith("USE_NEW_NVSTREAMMUX=yes gst-launch-1.0 ")
    assert "batch-size=4" in printed["command"]
    files = {Path(path).name: text for path, text in printed["files"].items()}
    assert set(files) == {"inference.pbtxt", "labels.txt", "tracker.yml", "mux.txt"}
    assert 'url: "triton:8001"' in files["inference.pbtxt"]
    assert all(path in printed["command"] for path in printed["files"] if not path.endswith("labels.txt"))
    plain = run("worker", "--print-pipeline", "--config", str(CONFIG), COUNTLINE_DATA=str(tmp_path))
    assert "gst-launch-1.0" in plain.stdout
    assert "%YAML:1.0" in plain.stdout


@pytest.mark.parametrize(
    ("config", "words"), [("missing.pbtxt", "there is no file missing.pbtxt"), (__file__, "no config.pbtxt")]
)
def test_a_config_that_is_none_is_named_with_its_hint(config: str, words: str) -> None:
    done = run("worker", "--print-pipeline", "--config", config)
    assert done.returncode == 1
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_doctor_names_what_is_missing_for_each_backend(blob_triton: TritonServer, tmp_path: Path) -> None:
    root = {"COUNTLINE_DEEPSTREAM_ROOT": str(tmp_path)}
    done = run("doctor", "--triton", blob_triton.grpc, "--model", "blob", "--json", **root)
    assert done.returncode == 0, done.stderr
    printed = {name: {each["name"]: each for each in found} for name, found in json.loads(done.stdout).items()}
    assert printed["software"]["Triton"]["verdict"] == "ok"
    assert "blob@1, 96x64" in printed["software"]["Triton"]["detail"]
    assert printed["deepstream"]["DeepStream"]["verdict"] == "missing"
    assert "deepstream:7.1-triton-multiarch" in printed["deepstream"]["DeepStream"]["hint"]
    assert all(each["hint"] for each in printed["deepstream"].values() if each["verdict"] == "missing")


def test_the_doctor_leaves_with_1_where_the_backend_that_is_asked_for_cannot_run(
    blob_triton: TritonServer, tmp_path: Path
) -> None:
    root = {"COUNTLINE_DEEPSTREAM_ROOT": str(tmp_path)}
    here = ("--triton", blob_triton.grpc, "--model", "blob")
    assert run("doctor", "--backend", "software", *here, **root).returncode == 0
    table = run("doctor", "--backend", "deepstream", *here, **root)
    assert table.returncode == 1
    assert "backend software can run here" in table.stdout
    assert "backend deepstream cannot run here" in table.stdout


def test_the_doctor_says_that_triton_is_away(tmp_path: Path) -> None:
    done = run("doctor", "--backend", "software", "--triton", "127.0.0.1:9", "--json")
    assert done.returncode == 1
    triton = json.loads(done.stdout)["software"][0]
    assert triton["verdict"] == "missing"
    assert "127.0.0.1:9" in triton["detail"]


def test_with_deepstream_the_doctor_is_content(
    deepstream_double: Installed, blob_triton: TritonServer, tmp_path: Path
) -> None:
    root = install_root(tmp_path / "deepstream", "7.1")
    environment = {
        **os.environ,
        "COUNTLINE_DEEPSTREAM_ROOT": str(root),
        "COUNTLINE_DEEPSTREAM_BOXES": "python",
        "COUNTLINE_TRITON_ADDRESS": blob_triton.grpc,
        "COUNTLINE_DEFAULT_MODEL": "blob",
    }
    command = [sys.executable, "-m", "tests.doubles.deepstream", "--"]
    command += ["countline", "doctor", "--backend", "deepstream", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    found = {each["name"]: each["verdict"] for each in json.loads(done.stdout)["deepstream"]}
    assert set(found.values()) == {"ok", "absent"}
    assert found["parser"] == "absent"
