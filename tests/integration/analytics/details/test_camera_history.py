"""The history of a camera and its past states over REST."""

import pytest
from tests.fixtures.analytics.cameras import add_camera
from tests.fixtures.analytics.stack import Stack

CAMERA = "cam-1"


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


async def test_a_history_is_read_and_a_past_state_and_a_rebuild(stack: Stack) -> None:
    await add_camera(stack, CAMERA)
    await stack.call("PATCH", f"cameras/{CAMERA}", json={"location": "Lobby"})
    newest, *_, oldest = (await stack.get(f"cameras/{CAMERA}/history"))["changes"]
    assert [each["kind"] for each in newest["events"]] == ["CameraMoved"]
    assert oldest["events"][0] == {"version": 1, "kind": "CameraCreated", "subject": "", "subject_version": 0}
    assert oldest["consequences"][0]["effect"] == "start"
    assert (await stack.get(f"cameras/{CAMERA}", at=oldest["occurred_at"]))["location"] == ""
    assert (await stack.get(f"cameras/{CAMERA}", at=newest["occurred_at"]))["location"] == "Lobby"
    status, answer = await stack.call("GET", f"cameras/{CAMERA}", params={"at": oldest["occurred_at"], "view": "full"})
    assert (status, answer["errors"][0]["field"]) == (400, "view")
    status, answer = await stack.call("GET", f"cameras/{CAMERA}", params={"at": "2020-01-01T00:00:00Z"})
    assert (status, answer["errors"][0]["code"]) == (404, "NOT_FOUND")
    status, answer = await stack.call("POST", "cameras/rebuild", json={})
    assert (status, answer["data"]["differences"]) == (200, []), answer
