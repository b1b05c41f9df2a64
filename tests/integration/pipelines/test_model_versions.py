"""Versions of a model on a worker with a real Triton: they change under way, and run beside each other on trial."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fixtures.clips import FPS, Pass, render, write_blob_versions
from tests.fixtures.control_double import COUNTING, ControlDouble
from tests.fixtures.forked.command import countline
from tests.fixtures.nats import NatsServer
from tests.fixtures.pipelines.workers import (
    Totals,
    WorkerProcess,
    assignment,
    check_film,
    compared,
    published,
    wait_compared,
    wait_until,
)
from tests.fixtures.triton import TritonServer, start_triton

from countline.v1 import cameras_pb2, events_pb2, workers_pb2
from countline_common.times import from_timestamp
from countline_counting import rules

pytestmark = [pytest.mark.early, pytest.mark.timeout(600)]

CYCLE_S = 1.5
BLUE = 2


@pytest.fixture(scope="module")
def blob_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """In place of the usual one: versions 1 and 2 see everything, version 3 sees nothing that is blue."""
    folder = tmp_path_factory.mktemp("versions")
    server = start_triton(write_blob_versions(folder, None, None, BLUE), folder)
    yield server
    server.stop()


def film(path: Path, passes: int) -> Path:
    """Somebody crosses every second and a half, to the right and to the left in turn, in three colours."""
    return render(path, [Pass(index % 2 == 0, index % 3, 1.0) for index in range(passes)])


def check_covered(totals: Totals) -> None:
    """No moment is covered twice, and none is left out but where a machine that is too slow dropped its frames."""
    spans = sorted(totals.spans, key=lambda span: from_timestamp(span.start))
    for earlier, later in pairwise(spans):
        gap = from_timestamp(later.start) - from_timestamp(earlier.end)
        assert gap == pytest.approx(0, abs=2e-6) or (gap > 0 and later.frames_dropped)


def undisturbed(records: list[events_pb2.TrialRecord]) -> list[events_pb2.TrialRecord]:
    """Those for which both versions had every frame, before too, so that they must agree."""

    def is_whole(record: events_pb2.TrialRecord) -> bool:
        length_s = from_timestamp(record.end) - from_timestamp(record.start)
        return record.frames == round(length_s * FPS) and not record.frames_missed

    return [later for earlier, later in pairwise(records) if is_whole(earlier) and is_whole(later)]


@pytest.mark.slow
async def test_cameras_of_every_kind_go_to_another_version_and_back(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    passes = {"fast": 90, "realtime": 24}
    sources = {
        "loop": (film(tmp_path / "loop.mp4", 2), cameras_pb2.PLAYBACK_LOOP, 1),
        "fast": (film(tmp_path / "fast.mp4", passes["fast"]), cameras_pb2.PLAYBACK_FAST, 0),
        "realtime": (film(tmp_path / "realtime.mp4", passes["realtime"]), cameras_pb2.PLAYBACK_REALTIME, 0),
    }
    model = dict.fromkeys(sources, "blob@1")

    async def assign() -> None:
        await control_double.assign(
            *(
                assignment(name, str(path), playback=playback, epoch=epoch, model=model[name])
                for name, (path, playback, epoch) in sources.items()
            )
        )

    async def there_and_back(name: str) -> None:
        await control_double.wait_for(name, lambda status: status.frames_processed > 5)
        for version in ("blob@2", "blob@1"):
            model[name] = version
            await assign()
            await control_double.wait_for(name, lambda status, wanted=version: status.model == wanted)

    await assign()
    await asyncio.gather(*(there_and_back(name) for name in sources))
    for name, count in passes.items():
        status = await control_double.wait_for_state(name, cameras_pb2.OBSERVED_STATE_FINISHED)
        assert (status.model, status.frames_dropped) == ("blob@1", 0)
        frames = round(count * CYCLE_S * FPS)
        totals = await wait_until(nats_server.url, name, lambda t, n=frames: sum(s.frames for s in t.spans) == n)
        crossings = [crossing.crossing_id for record in totals.records for crossing in record.crossings]
        assert len(crossings) == len(set(crossings)) == count, name
        assert totals.in_out == (count // 2, count // 2)
        assert len({record.run for record in totals.records}) == 3
        check_covered(totals)
    totals = await check_film(nats_server.url, "loop", CYCLE_S)
    assert len({record.run for record in totals.records}) == 3
    assert {record.epoch for record in totals.records} == {1}
    check_covered(totals)
    assert "Traceback" not in worker.log


async def test_a_version_that_is_not_there_leaves_the_old_one_counting_and_is_reported(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    source = str(film(tmp_path / "loop.mp4", 2))
    live = {"playback": cameras_pb2.PLAYBACK_LOOP, "epoch": 1}
    await control_double.assign(assignment("cam", source, model="blob@1", **live))
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_RUNNING)
    await control_double.assign(assignment("cam", source, model="blob@9", **live))
    status = await control_double.wait_for("cam", lambda status: "blob@9" in status.error.message)
    assert status.state in COUNTING
    assert status.model == "blob@1"
    before = await published(nats_server.url, "cam")
    await wait_until(nats_server.url, "cam", lambda totals: len(totals.crossings) >= len(before.crossings) + 3)
    await control_double.assign(assignment("cam", source, model="blob@1", **live))
    await control_double.wait_for("cam", lambda status: not status.error.code)
    totals = await published(nats_server.url, "cam")
    assert len({record.run for record in totals.records}) == 1
    check_covered(totals)


async def test_a_follower_is_compared_with_what_counts_and_counts_nothing_itself(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    """The challenger is blind for every third."""
    source, passes = str(film(tmp_path / "film.mp4", 60)), 60
    follower = workers_pb2.Follower(trial_id="trial", model="blob@3", is_challenger=True)
    await control_double.assign(assignment("cam", source, model="blob@1", follower=follower))
    following = await control_double.wait_for("cam", lambda status: bool(status.follower_model))
    assert (following.model, following.follower_model) == ("blob@1", "blob@3")
    await control_double.wait_for_state("cam", cameras_pb2.OBSERVED_STATE_FINISHED)
    totals = await wait_until(nats_server.url, "cam", lambda t: sum(s.frames for s in t.spans) == passes * 30)
    assert totals.in_out == (30, 30)
    records = await compared(nats_server.url, "trial", "cam")
    spans = [(from_timestamp(record.start), from_timestamp(record.end)) for record in records]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    first, times = (
        from_timestamp(totals.records[0].hand_over_at),
        [from_timestamp(c.t) for c in totals.crossings.values()],
    )
    warm = [t for t in times if t >= spans[0][0]]
    blue = sum(int((t - first) / CYCLE_S) % 3 == BLUE for t in warm)
    assert _sums(records) == (len(warm) - blue, blue, 0)
    assert {(r.incumbent, r.challenger, r.worker_id) for r in records} == {("blob@1", "blob@3", "worker-1")}
    assert spans[0][0] >= first + rules.WARM_UP_S
    assert sum(record.frames for record in records) == pytest.approx((spans[-1][1] - spans[0][0]) * FPS, abs=2)
    assert sum(record.frames_missed for record in records) == 0


def _sums(records: list[events_pb2.TrialRecord]) -> tuple[int, int, int]:
    names = ("both", "only_incumbent", "only_challenger")
    return tuple(sum(getattr(tally, name) for record in records for tally in record.tallies) for name in names)


async def test_a_canary_begins_and_is_rolled_back_without_a_lost_crossing(
    worker: WorkerProcess, nats_server: NatsServer, control_double: ControlDouble, tmp_path: Path
) -> None:
    """A file leaves no frame out, so every record counts; a live camera beside it may leave some out."""
    passes = 30
    file = {"source": str(film(tmp_path / "file.mp4", passes)), "playback": cameras_pb2.PLAYBACK_REALTIME}
    live = {"source": str(film(tmp_path / "loop.mp4", 2)), "playback": cameras_pb2.PLAYBACK_LOOP, "epoch": 1}
    cameras = {"file": file, "live": live}

    async def assign(model: str, **more: object) -> None:
        await control_double.assign(
            *(assignment(name, model=model, **camera, **more) for name, camera in cameras.items())
        )

    async def both_are(holds: Callable[[cameras_pb2.CameraObservation], bool]) -> None:
        for name in cameras:
            await control_double.wait_for(name, holds)

    await assign("blob@1")
    await both_are(lambda status: status.frames_processed > 20)
    await assign("blob@2", follower=workers_pb2.Follower(trial_id="canary", model="blob@1", is_challenger=False))
    await both_are(lambda status: status.follower_model == "blob@1")
    await wait_compared(nats_server.url, "canary", "file", lambda records: _sums(records)[0] >= 5)
    await assign("blob@1")
    await both_are(lambda status: (status.model, status.follower_model) == ("blob@1", ""))
    await control_double.wait_for_state("file", cameras_pb2.OBSERVED_STATE_FINISHED)
    of_file = await compared(nats_server.url, "canary", "file")
    assert _sums(of_file)[1:] == (0, 0)
    assert sum(record.frames_missed for record in of_file) == 0
    frames = round(passes * CYCLE_S * FPS)
    totals = await wait_until(nats_server.url, "file", lambda t: sum(span.frames for span in t.spans) == frames)
    assert totals.in_out == (passes // 2, passes // 2)
    check_covered(totals)
    assert _sums(undisturbed(await compared(nats_server.url, "canary", "live")))[1:] == (0, 0)
    totals = await check_film(nats_server.url, "live", CYCLE_S)
    check_covered(totals)


def count(*options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(countline()), "count", *options, "--line", "middle:0.5,0,0.5,1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.parametrize("transport", ["auto", "shm", "grpc"])
def test_a_clip_is_counted_by_a_version_on_a_triton_that_runs_already(
    clip: Path, blob_triton: TritonServer, transport: str
) -> None:
    there = ("--triton", blob_triton.grpc, "--triton-transport", transport, "--json", "--progress-json")
    done = count(str(clip), *there, "--model", "blob@1")
    printed = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert printed
    assert all(line.keys() == {"frames", "share", "fps"} for line in printed)
    line = json.loads(done.stdout)["lines"]["middle"]
    assert (line["in"], line["out"]) == (1, 3)


def test_versions_have_counts_and_ids_of_their_own_and_a_model_alone_means_its_newest(
    clip: Path, blob_triton: TritonServer
) -> None:
    seeing, blind, newest = (
        json.loads(count(str(clip), "--triton", blob_triton.grpc, "--json", "--model", model).stdout)
        for model in ("blob@1", "blob@3", "blob")
    )
    lines = [each["lines"]["middle"] for each in (seeing, blind)]
    assert [(line["in"], line["out"]) for line in lines] == [(1, 3), (0, 3)]
    ids = [{event["id"] for event in each["events"]} for each in (seeing, blind)]
    assert not ids[0] & ids[1]
    assert newest == blind


def test_what_that_triton_does_not_serve_is_said(clip: Path, blob_triton: TritonServer) -> None:
    done = count(str(clip), "--triton", blob_triton.grpc, "--model", "blob@9", status=1)
    assert "blob@9" in done.stderr
    assert "1, 2, 3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_version_of_the_local_repository_is_counted_with_a_triton_of_its_own(
    clip: Path, blob_triton: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTLINE_DATA", str(tmp_path))
    (tmp_path / "triton-repo").symlink_to(blob_triton.repository)
    seeing, blind = (json.loads(count(str(clip), "--json", "--model", f"blob@{v}").stdout) for v in (2, 3))
    assert (seeing["lines"]["middle"]["in"], blind["lines"]["middle"]["in"]) == (1, 0)
