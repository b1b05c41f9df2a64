"""Changes of analytics leave audit rows, which REST shows together with those of the control-plane."""

import pytest
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.control.methods import audited
from tests.fixtures.nats import NatsServer


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """Auth receives the rows over NATS."""
    return {"nats_url": nats_server.url_of("control")}


async def test_truth_sets_leave_one_row_for_each_call_also_when_it_is_refused(stack: Stack) -> None:
    await stack.post("sites", {"site_id": "lab", "time_zone": "UTC"})
    camera = {"camera_id": "door", "site_id": "lab", "name": "Camera", "stream_url": "rtsp://camera.invalid/live"}
    await stack.post("cameras", camera)
    path = "cameras/door/truth"
    made = await stack.post(path, _body())
    place = f"{path}/{made['truth_set_id']}"
    for method, where, token, body, status in (
        ("POST", path, None, _body(), 409),
        ("POST", path, None, {}, 400),
        ("POST", path, stack.token("truth:read"), _body(), 403),
        ("POST", path, "nonsense", _body(), 401),
        ("DELETE", place, None, None, 200),
        ("DELETE", place, None, None, 404),
    ):
        assert (await stack.call(method, where, token=token, json=body))[0] == status, (method, where)
    await until(lambda: _has_rows(stack, 6))
    records = (await stack.get("audit", resource=f"{path}/"))["records"]
    found = [(each["row"]["method"].rpartition("/")[2], each["row"]["outcome"]) for each in reversed(records)]
    assert found == [("CreateTruthSet", "OK"), ("DeleteTruthSet", "OK"), ("DeleteTruthSet", "NOT_FOUND")]
    refused = (await stack.get("audit", resource="cameras/door"))["records"]
    assert sorted(each["row"]["outcome"] for each in refused if "Truth" in each["row"]["method"]) == [
        "ALREADY_EXISTS",
        "INVALID_ARGUMENT",
        "PERMISSION_DENIED",
    ]
    assert {each["row"]["actor"]["name"] for each in records} == {"tester"}
    one = await stack.get(f"audit/rows/{records[0]['sequence']}")
    assert one["row"]["problem"]
    for sequence in (-(2**63), 0, 2**63 - 1):
        assert (await stack.call("GET", f"audit/rows/{sequence}"))[0] == 404
    checked = await stack.get("audit/verify")
    assert (checked["intact"], checked["jetstream_read"]) == (True, True)
    exported = await stack.get("audit/export")
    assert len(exported["records"]) == checked["rows"]
    assert (await stack.call("GET", "audit", token=stack.token("truth:read")))[0] == 403


async def test_a_row_of_analytics_names_the_real_caller_and_the_user(stack: Stack) -> None:
    await stack.post("sites", {"site_id": "lab", "time_zone": "UTC"})
    camera = {"camera_id": "door", "site_id": "lab", "name": "Camera", "stream_url": "rtsp://camera.invalid/live"}
    await stack.post("cameras", camera)
    acting = stack.acting_token("truth:write", "camera:read", "camera:write")
    assert (await stack.call("POST", "cameras/door/truth", token=acting, json=_body()))[0] == 201
    assert (await stack.call("DELETE", "cameras/door/truth/none", token=acting))[0] == 404
    assert (await stack.call("DELETE", "users/v1", token=acting))[0] == 403

    async def stored() -> bool:
        return len(await _acted(stack)) == 3

    await until(stored)
    assert {(row["method"].rpartition("/")[2], row["outcome"]) for row in await _acted(stack)} == {
        ("CreateTruthSet", "OK"), ("DeleteTruthSet", "NOT_FOUND"), ("DeleteUser", "PERMISSION_DENIED"),
    }  # fmt: skip
    for who in ("vera", "v1"):
        assert len((await stack.get("audit", on_behalf_of=who))["records"]) == 3
    assert (await stack.get("audit", on_behalf_of="ann"))["records"] == []


async def _acted(stack: Stack) -> list[dict]:
    rows = [each["row"] for each in (await stack.get("audit", actor="ann"))["records"]]
    assert all(row["on_behalf_of"] == {"subject": "v1", "name": "vera"} for row in rows)
    return rows


async def test_every_method_that_changes_something_is_called_above() -> None:
    assert audited("CountService") == {"CreateTruthSet", "DeleteTruthSet"}


def _body() -> dict[str, object]:
    crossing = {"t": 1.0, "direction": "in", "class_name": "person"}
    return {"line_id": "gate", "duration_s": 10, "repeats": True, "crossings": [crossing]}


async def _has_rows(stack: Stack, number: int) -> bool:
    records = (await stack.get("audit", resource="cameras/door/truth/"))["records"]
    more = (await stack.get("audit", resource="cameras/door"))["records"]
    return len(records) + sum("Truth" in each["row"]["method"] for each in more) >= number
