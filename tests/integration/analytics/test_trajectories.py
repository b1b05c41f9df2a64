"""Trajectories on their way into the database and out again."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.factory import NOON, crossing, record, trajectory
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, ingesting, publish, until
from tests.fixtures.forked.command import countline
from tests.fixtures.nats import NatsServer

from countline.v1 import events_pb2
from countline_analytics.store.rollups import find_rollups
from countline_common.times import rfc3339, to_timestamp
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import TrackedFrame
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.publishing.events import RecordBuilder, RecordIdentity

Scalar = Callable[..., object]
COUNT = "SELECT count(*) FROM analytics.trajectories"


async def listed(stack: Stack, **params: object) -> list[events_pb2.Trajectory]:
    """Every page of the list."""
    found: list[events_pb2.Trajectory] = []
    token = ""
    while True:
        data = await stack.get("analytics/trajectories", camera_id="cam-1", page_token=token, **params)
        found += [json_format.ParseDict(each, events_pb2.Trajectory()) for each in data["trajectories"]]
        token = data["next_page_token"]
        if not token:
            return found


async def test_a_trajectory_comes_back_as_it_was_sent_however_often_it_came(stack: Stack, scalar: Scalar) -> None:
    sent = [trajectory(number, NOON + 3 * number) for number in range(25)]
    await stack.publish(record(trajectories=sent[:10]), record(trajectories=sent[5:], sequence=1))
    await until(lambda: scalar(COUNT) == 25)
    found = await listed(stack, start=rfc3339(NOON - 60), end=rfc3339(NOON + 600), page_size=7)
    for message in sent:
        message.camera_id, message.epoch, message.run = "cam-1", 1, "run-1"
    assert found == sent


async def test_those_that_were_under_way_are_listed(stack: Stack, scalar: Scalar) -> None:
    """Each lasts two seconds."""
    await stack.publish(record(trajectories=[trajectory(number, NOON + 10 * number) for number in range(4)]))
    await until(lambda: scalar(COUNT) == 4)
    found = await listed(stack, start=rfc3339(NOON + 11), end=rfc3339(NOON + 30))
    assert [message.track for message in found] == [1, 2]


async def test_what_a_stale_worker_saw_after_the_hand_over_is_left_out(stack: Stack, scalar: Scalar) -> None:
    stale = [trajectory(number, NOON + 10 * number) for number in range(3)]
    await stack.publish(record(trajectories=stale, epoch=1))
    fresh = trajectory(9, NOON + 11)
    await stack.publish(record(trajectories=[fresh], epoch=2, run="run-2", hand_over_at=to_timestamp(NOON + 11)))
    await until(lambda: scalar(COUNT) == 4)
    found = await listed(stack, start=rfc3339(NOON - 60), end=rfc3339(NOON + 600))
    assert [(message.epoch, message.track) for message in found] == [(1, 0), (1, 1), (2, 9)]
    whole, halved = found[0], found[1]
    assert list(whole.steps_ms) == [0, 500, 500, 1000]
    assert list(halved.steps_ms) == [0, 500, 500]
    assert (list(halved.x), halved.sights, list(halved.unseen)) == (list(stale[1].x)[:3], 15, [0, 1])


async def test_they_need_the_permission_to_read_counts(stack: Stack) -> None:
    status, _ = await stack.call("GET", "analytics/trajectories", token=stack.token("camera:write"))
    assert status == 403


async def test_old_ones_are_forgotten(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, execute: Callable[..., None]
) -> None:
    days = 86_400
    sent = [record(trajectories=[trajectory(i, NOON + 20 * i * days)], sequence=i) for i in range(3)]
    await publish(nats_server.url, *sent)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar(COUNT) == 3)
    rollups = await find_rollups(engine)
    await rollups.forget("trajectories", datetime.fromtimestamp(NOON, UTC) + timedelta(days=30))
    assert scalar(COUNT) == 1


@pytest.mark.parametrize(
    "fields",
    [{"x": [1]}, {"unseen": [0, 7]}, {"unseen": [1]}, {"picture_width": 0}, {"steps_ms": [], "x": []}],
)
async def test_one_whose_lists_do_not_belong_together_is_refused_with_its_record(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, fields: dict[str, object]
) -> None:
    bad = trajectory(1, NOON)
    for name in fields:
        bad.ClearField(name)
    bad.MergeFrom(events_pb2.Trajectory(**fields))
    await publish(nats_server.url, record(trajectories=[bad]), record(crossing(1, NOON), sequence=1))
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 1)
    assert scalar(COUNT) == 0


def walk() -> tuple[list[events_pb2.CountRecord], list[Crossing]]:
    """What a worker sends of somebody who walks down the picture and up again, and what a line there would count."""
    identity = Identity("cam-1", 3, "run-3")
    identity = RecordIdentity("demo", "cam-1", "worker-1", 3, "run-3", "Europe/Berlin", ("person",))
    lines = (Line("later", ((0.1, 0.5), (0.9, 0.5))),)
    counter = CameraCounter(identity, CountingSpec(lines), tracked=True, trajectories=True)
    builder = RecordBuilder(identity, 0.1, finite=False, hand_over=True)
    records, live = [], list[Crossing]()
    for i in range(100):
        bottom = 240 - 150 * np.cos(i / 50 * np.pi)
        box = np.array([[300.0, bottom - 80, 340.0, bottom]])
        ids, scores, classes = np.array([1]), np.array([0.9]), np.array([0])
        frame = TrackedFrame("cam-1", i, NOON + i / 10, (640, 480), ids, box, scores, classes)
        events = counter.update_tracked(frame).events
        live += [event for event in events if isinstance(event, Crossing)]
        records.append(builder.add_frame(frame.t, [event for event in events if not isinstance(event, Crossing)]))
    records.append(builder.finish(counter.flush()))
    return [each for each in records if each is not None], live


async def recounted(data: Path, *arguments: str) -> dict:
    process = await asyncio.create_subprocess_exec(
        str(countline()), "recount", "cam-1", "--data", str(data), "--json", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err
    return json.loads(out)


async def test_a_line_drawn_today_counts_what_was_seen_before(stack: Stack, scalar: Scalar, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    (data / "credentials").mkdir()
    (data / "credentials" / "admin-password").write_text(ADMIN_PASSWORD)
    endpoints = {name: stack.addresses[name] for name in ("auth", "cameras", "workers")}
    gateway = f"http://{stack.addresses['gateway']}"
    (data / "run" / "endpoints.json").write_text(json.dumps({**endpoints, "gateway": gateway}))
    records, live = walk()
    await stack.publish(*records)
    await until(lambda: scalar(COUNT) == 1)
    window = ("--start", rfc3339(NOON - 5), "--end", rfc3339(NOON + 60))
    result = await recounted(data, "--line", "later:0.1,0.5,0.9,0.5", *window)
    assert len(live) == 2
    assert [event["id"] for event in result["events"]] == [event.id for event in live]
    assert result["lines"]["later"]["by_class"] == {"person": {"in": 1, "out": 1}}
    earlier = await recounted(data, "--line", "later:0.1,0.5,0.9,0.5", window[0], window[1], "--end", rfc3339(NOON + 5))
    assert len(earlier["events"]) == 1
