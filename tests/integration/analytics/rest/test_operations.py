"""Log lines, running parts and migrations over REST, from the processes that report them over NATS."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.control.log import product_log
from tests.fixtures.nats import NatsServer

from countline_common.access.vocabulary import PEOPLE
from countline_common.logs import get_logger
from countline_control.operations import log_search

SECRET = "s3cret-marker-of-tests"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """Parts report over NATS."""
    return {"nats_url": nats_server.url_of("control")}


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    with product_log():
        yield


async def lines(stack: Stack, **filters: object) -> list[dict]:
    return (await stack.get("logs", **filters))["lines"]


async def test_lines_of_a_part_are_found_by_each_filter_and_hold_no_secret(stack: Stack) -> None:
    log = get_logger("countline.tests")
    log.info("first.thing", camera="door", request_id="req-1", count=3)
    log.warning("second.thing", camera_id="yard", source=f"rtsp://joe:{SECRET}@camera.invalid/live")
    error = OSError(f"cannot open rtsp://joe:{SECRET}@camera.invalid/live")
    log.error("third.thing \x1b[31m \udc80", text="näher", exc_info=error)

    async def has_arrived() -> bool:
        return len(await lines(stack, part="api", text="third.THING")) == 1

    await until(has_arrived)
    found = await lines(stack, part="api", text="thing")
    assert [each["event"].split(" ")[0] for each in found] == ["first.thing", "second.thing", "third.thing"]
    first, second, third = found
    assert (first["level"], first["camera_id"], first["request_id"]) == ("info", "door", "req-1")
    assert (first["fields"]["count"], first["logger"], first["part"]) == ("3", "countline.tests", "api")
    assert second["fields"]["source"] == "rtsp://joe:***@camera.invalid/live"
    assert third["exception"].endswith("OSError: cannot open rtsp://joe:***@camera.invalid/live")
    assert third["fields"]["text"] == "näher"
    assert first["at"] <= second["at"] <= third["at"]
    for filters, events in (
        ({"level": "warning"}, ["second.thing", "third.thing"]),
        ({"level": "error"}, ["third.thing"]),
        ({"camera_id": "door"}, ["first.thing"]),
        ({"camera_id": "yard"}, ["second.thing"]),
        ({"request_id": "req-1"}, ["first.thing"]),
        ({"page_size": 1}, ["third.thing"]),
        ({"start": second["at"], "end": third["at"]}, ["second.thing"]),
        ({"part": "worker"}, []),
    ):
        got = await lines(stack, **{"part": "api", "text": "thing", **filters})
        assert [each["event"].split(" ")[0] for each in got] == events, filters
    assert {each["part"] for each in await lines(stack, text="thing")} == {"api", "control"}, "one process is both here"
    assert SECRET not in str(await stack.get("logs", page_size=1000))


async def test_new_lines_follow_an_answer_each_once_and_in_order(stack: Stack) -> None:
    log = get_logger("countline.tests")
    after = (await stack.get("logs", part="api"))["next_after"]
    for number in range(25):
        log.info("counted", number=number)
    got: list[str] = []

    async def has_all() -> bool:
        nonlocal after
        answer = await stack.get("logs", part="api", text="counted", after=after, page_size=4)
        assert len(answer["lines"]) <= 4
        got.extend(each["fields"]["number"] for each in answer["lines"])
        after = answer["next_after"]
        return len(got) >= 25

    await until(has_all)
    assert got == [str(number) for number in range(25)]


async def test_the_newest_lines_are_found_behind_other_messages_within_a_limit(stack: Stack, monkeypatch) -> None:
    log = get_logger("countline.tests")
    log.info("needle")

    async def has_needle() -> bool:
        return len(await lines(stack, part="api", text="needle")) == 1

    await until(has_needle)
    monkeypatch.setattr(log_search, "FIRST_SPAN", 1)
    for number in range(3):
        log.info("hay", number=number)

        async def has_hay(number: int = number) -> bool:
            found = await lines(stack, part="api", text="hay", page_size=1)
            return [each["fields"]["number"] for each in found] == [str(number)]

        await until(has_hay)
    assert await has_needle()
    monkeypatch.setattr(log_search, "MOST_MESSAGES", 1)
    answer = await stack.get("logs", part="api", text="needle")
    assert (answer["lines"], answer["incomplete"]) == ([], True)


async def test_wrong_questions_are_refused(stack: Stack) -> None:
    async def answers() -> bool:
        return (await stack.call("GET", "logs"))[0] == 200

    await until(answers)
    for wrong, status in (
        ({"level": "loud"}, 400),
        ({"after": "yesterday"}, 400),
        ({"page_size": "-1"}, 400),
        ({"part": "no such.part"}, 400),
        ({"text": "x" * 201}, 400),
        ({"after": "99999999.0"}, 200),
        ({"start": "2099-01-01T00:00:00Z"}, 200),
    ):
        got, body = await stack.call("GET", "logs", params=wrong)
        assert got == status, (wrong, body)


async def test_only_a_system_admin_may_and_without_nats_the_answer_says_so(
    stack: Stack, nats_server: NatsServer
) -> None:
    token = stack.token(*(PEOPLE - {"system:admin"}))
    for path in ("logs", "admin/parts", "admin/migrations"):
        assert (await stack.call("GET", path, token=token))[0] == 403
    await nats_server.kill()

    async def are_refused() -> bool:
        return [(await stack.call("GET", path))[0] for path in ("logs", "admin/parts")] == [503, 503]

    await until(are_refused)
    get_logger("countline.tests").info("said during the outage")
    await nats_server.start()

    async def arrives() -> bool:
        status, body = await stack.call("GET", "logs", params={"part": "api", "text": "during the outage"})
        return status == 200 and len(body["data"]["lines"]) == 1

    await until(arrives)


async def test_parts_and_migrations_are_reported(stack: Stack, analytics_dsn: str) -> None:
    async def both() -> bool:
        return {each["name"] for each in (await stack.get("admin/parts"))["parts"]} == {"api", "control"}

    await until(both)
    api, control = (await stack.get("admin/parts"))["parts"]
    for each in (api, control):
        assert each["version"]
        assert each["machine"]
        assert each["started_at"] < each["seen_at"]

    async def healthy() -> bool:
        return {each["state"] for each in (await stack.get("admin/parts"))["parts"]} == {"healthy"}

    await until(healthy)
    listed = (await stack.get("admin/migrations"))["migrations"]
    assert [each["schema"] for each in listed] == ["analytics", "auth", "cameras", "models", "workers"]
    for each in listed:
        assert each["applied"] == each["expected"]
        assert not each["pending"]
        assert not each["problem"]
    expected = listed[0]["expected"]
    with psycopg.connect(analytics_dsn, autocommit=True) as connection:
        connection.execute("UPDATE analytics.alembic_version SET version_num = '0001'")

    async def analytics() -> dict:
        return (await stack.get("admin/migrations"))["migrations"][0]

    async def pending() -> bool:
        found = await analytics()
        return found["applied"] == "0001" and found["pending"][-1:] == [expected]

    await until(pending)
    with psycopg.connect(analytics_dsn, autocommit=True) as connection:
        connection.execute("UPDATE analytics.alembic_version SET version_num = '9999'")

    async def unknown() -> bool:
        return "another release" in (await analytics())["problem"]

    await until(unknown)
