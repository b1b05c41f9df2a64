"""Passwords of cameras at rest: sealed, bound to their rows, rotated while the service runs, never lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg
import pytest

from countline.v1.cameras_pb2 import (
    OBSERVED_STATE_FAILED,
    Camera,
    CameraSpec,
    CreateCameraRequest,
    CreateSiteRequest,
    GetCameraRequest,
    ListCamerasRequest,
    Site,
    UpdateCameraRequest,
)
from countline.v1.factor_pb2 import RotateFactorKeysRequest
from countline.v1.secrets_pb2 import ListDataKeysRequest, RotateSecretsRequest
from countline_common.access.vocabulary import Permission
from countline_common.errors import ConflictError
from countline_common.secrets.master_keys import new_master_key

PASSWORD = "Pl4nted-M4rker"
URL = f"rtsp://admin:{PASSWORD}@10.0.0.7/live"
MASKED = "rtsp://admin:***@10.0.0.7/live"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "master-key"
    path.write_text(new_master_key() + "\n")
    return path


@pytest.fixture
def connection(control_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        yield connection


async def started(start_control, dsn: str, key_file: Path, **changes: object):
    sources = {"master_key": "", "master_key_file": key_file, "models_address": ""}
    return await start_control(dsn, ("auth", "cameras", "workers"), **sources, **changes)


async def add_cameras(control, *names: str, url: str = URL) -> None:
    cameras = control.caller().cameras
    await cameras.CreateSite(CreateSiteRequest(site=Site(site_id="here", time_zone="UTC")))
    for name in names:
        camera = Camera(camera_id=name, site_id="here", name="Camera", stream_url=url, spec=CameraSpec(model="m"))
        await cameras.CreateCamera(CreateCameraRequest(camera=camera))


async def url_of(control, camera_id: str = "door") -> str:
    """The address as the scheduler reads it."""
    caller = control.caller_with("camera:read", Permission.CAMERA_SECRETS)
    return (await caller.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))).camera.stream_url


def everything(connection: psycopg.Connection, but: str = "") -> str:
    """All rows of all tables; those of one name may be left out."""
    tables = connection.execute(
        # The lease of the schedule is renewed each second.
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|inf)' AND tablename <> ALL(%s)",
        ([but, "lease"],),
    ).fetchall()
    return repr([connection.execute(f'SELECT t::text FROM "{s}"."{t}" t').fetchall() for s, t in tables])


async def test_the_database_holds_no_password(control_dsn, start_control, key_file, connection) -> None:
    control = await started(start_control, control_dsn, key_file)
    await add_cameras(control, "door")
    stored = everything(connection)
    assert PASSWORD not in stored
    assert PASSWORD.encode().hex() not in stored
    assert MASKED in stored
    assert await url_of(control) == URL


async def test_rows_of_an_older_release_are_sealed_at_the_start(
    control_dsn, start_control, key_file, connection
) -> None:
    """An older release stored the password in the clear."""
    first = await started(start_control, control_dsn, key_file)
    await add_cameras(first, "door")
    connection.execute("UPDATE cameras.cameras SET stream_url = %s", [URL])
    connection.execute("DELETE FROM cameras.secrets")
    connection.execute("DELETE FROM cameras.data_keys")
    second = await started(start_control, control_dsn, key_file)
    assert await url_of(second) == URL
    assert PASSWORD not in everything(connection)
    connection.execute("CHECKPOINT")
    file = connection.execute(
        "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('cameras.cameras')"
    ).fetchone()[0]
    assert PASSWORD.encode() not in await asyncio.to_thread(Path(file).read_bytes), (
        "the row's old version is gone from the table's file"
    )


async def test_a_sealed_address_opens_for_its_own_camera_only(control_dsn, start_control, key_file, connection) -> None:
    control = await started(start_control, control_dsn, key_file)
    await add_cameras(control, "door", "attacker")
    connection.execute(
        "UPDATE cameras.secrets SET sealed = (SELECT sealed FROM cameras.secrets "
        "WHERE camera_id = 'door') WHERE camera_id = 'attacker'"
    )
    assert await url_of(control) == URL
    found = (await control.caller().cameras.GetCamera(GetCameraRequest(camera_id="attacker"))).camera
    assert found.stream_url == MASKED
    assert found.observed.state == OBSERVED_STATE_FAILED
    assert found.observed.error.code == "secret_unreadable"
    assert "countline cameras set" in found.observed.error.hint


async def test_a_wrong_master_key_stops_the_start_and_changes_no_row(
    control_dsn, start_control, key_file, connection
) -> None:
    await add_cameras(await started(start_control, control_dsn, key_file), "door")
    before = everything(connection)
    needed = connection.execute("SELECT master_key_id FROM cameras.data_keys").fetchone()[0]
    other = key_file.with_name("other")
    other.write_text(new_master_key())
    with pytest.raises(ConflictError, match=f"need the master key {needed}, but the file {other} holds") as caught:
        await started(start_control, control_dsn, other)
    assert "COUNTLINE_FORGET_LOST_SECRETS=1" in caught.value.hint
    assert everything(connection) == before


async def test_a_lost_master_key_costs_passwords_only_and_not_for_ever(
    control_dsn, start_control, key_file, connection
) -> None:
    first = await started(start_control, control_dsn, key_file)
    await add_cameras(first, "door", "gate")
    found_again = key_file.read_text()
    key_file.write_text(new_master_key() + "\n")
    control = await started(start_control, control_dsn, key_file, forget_lost_secrets=True)
    cameras = control.caller().cameras
    shown = (await cameras.ListCameras(ListCamerasRequest())).cameras
    assert [(each.camera_id, each.observed.error.code) for each in shown] == [
        ("door", "secret_unreadable"),
        ("gate", "secret_unreadable"),
    ]
    # Another change keeps the sealed address, a half-known one is refused, and a whole one is sealed anew.
    changed = Camera(camera_id="gate", name="Gate", stream_url=MASKED)
    await cameras.UpdateCamera(UpdateCameraRequest(camera=changed))
    moved = Camera(camera_id="gate", stream_url=MASKED + "2")
    with pytest.raises(grpc.aio.AioRpcError, match="write the password itself"):
        await cameras.UpdateCamera(UpdateCameraRequest(camera=moved))
    await cameras.UpdateCamera(UpdateCameraRequest(camera=Camera(camera_id="door", stream_url=URL + "3")))
    assert await url_of(control) == URL + "3"
    rotated = await control.caller().secrets.RotateSecrets(RotateSecretsRequest())
    assert (rotated.unreadable, rotated.older_keys) == (1, 1)
    key_file.write_text(key_file.read_text() + found_again)
    assert await url_of(await started(start_control, control_dsn, key_file), "gate") == URL


async def test_keys_are_rotated_while_cameras_are_changed(control_dsn, start_control, key_file, connection) -> None:
    control = await started(start_control, control_dsn, key_file)
    names = [f"c{number}" for number in range(12)]
    await add_cameras(control, *names)
    replica = await started(start_control, control_dsn, key_file)
    caller = control.caller()
    (old,) = (await caller.secrets.ListDataKeys(ListDataKeysRequest())).data_keys
    new_master = new_master_key()
    key_file.write_text(f"{new_master}\n{key_file.read_text()}")

    async def change(name: str) -> None:
        for version in range(5):
            camera = Camera(camera_id=name, stream_url=f"{URL}?v={version}")
            await replica.caller().cameras.UpdateCamera(UpdateCameraRequest(camera=camera))

    rotated, *_ = await asyncio.gather(
        caller.secrets.RotateSecrets(RotateSecretsRequest()), *(change(name) for name in names)
    )
    assert (rotated.unreadable, rotated.older_keys) == (0, 0)
    assert rotated.master_key_id != old.master_key_id
    (key,) = (await caller.secrets.ListDataKeys(ListDataKeysRequest())).data_keys
    assert (key.key_id, key.secrets, key.lost) == (rotated.key_id, len(names), False)
    assert key.key_id != old.key_id
    await caller.factor.RotateFactorKeys(RotateFactorKeysRequest())  # auth has data keys of its own
    key_file.write_text(new_master)  # the old master key is needed no more
    restarted = await started(start_control, control_dsn, key_file)
    assert {await url_of(restarted, name) for name in names} == {f"{URL}?v=4"}
    assert PASSWORD not in everything(connection)


async def test_a_rotation_without_the_needed_master_key_changes_nothing(
    control_dsn, start_control, key_file, connection
) -> None:
    control = await started(start_control, control_dsn, key_file)
    await add_cameras(control, "door")
    before = everything(connection, but="outbox")  # where the audit row of the refusal lies
    key_file.write_text(new_master_key())
    with pytest.raises(grpc.aio.AioRpcError, match="need the master key") as caught:
        await control.caller().secrets.RotateSecrets(RotateSecretsRequest())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert everything(connection, but="outbox") == before
    assert await url_of(control) == URL


async def test_only_administrators_rotate(control_dsn, start_control, key_file) -> None:
    control = await started(start_control, control_dsn, key_file)
    for caller in (control.caller("viewer"), control.caller_with("camera:write", Permission.CAMERA_SECRETS)):
        for call in (
            caller.secrets.RotateSecrets(RotateSecretsRequest()),
            caller.secrets.ListDataKeys(ListDataKeysRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=r"system:admin"):
                await call
