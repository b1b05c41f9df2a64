"""The commands that create, change and delete cameras.

Events, the tables that follow from them, outbox and audit are written in the caller's transaction: all say the same.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.outbox import Outbox
from countline_common.display import PictureShape
from countline_common.errors import AlreadyExistsError, FieldProblem, NotFoundError
from countline_common.logs import get_logger
from countline_control.cameras import checks, domain, messages, sealed_addresses, store
from countline_control.cameras.commands import deciding
from countline_control.cameras.commands.deciding import CameraDecision
from countline_control.cameras.domain import Camera
from countline_control.cameras.events import differences, projection
from countline_control.cameras.events import store as streams
from countline_control.cameras.events.domain import RecordedCamera, folded
from countline_control.cameras.events.store import StreamEnd
from countline_control.cameras.tables import cameras
from countline_control.data_keys import DataKeys
from countline_control.revisions import check_revision

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    """A stream that nobody else writes before the transaction ends."""

    camera_id: str
    state: RecordedCamera
    end: StreamEnd
    now: float
    """The moment of the change: never before the last event."""


class CameraCommands:
    """Creates, changes and deletes cameras.

    Args:
        keys: seal and open addresses.
        outbox: of the service of cameras.
    """

    def __init__(self, keys: DataKeys, outbox: Outbox) -> None:
        self._keys = keys
        self._outbox = outbox

    async def create(self, connection: AsyncConnection, wanted: Camera, actor: str) -> Camera:
        """Create a camera and return it. `record` announces it.

        Raises:
            InvalidInputError: a field cannot be stored.
            AlreadyExistsError: the id is taken.
        """
        deciding.check_new(wanted, time.time())
        # The lock keeps the site until the camera is stored.
        if await store.get_site(connection, wanted.site_id, lock=True) is None:
            problem = f"there is no site {wanted.site_id!r}; create it first: countline sites add"
            checks.refuse("the camera cannot be created", [FieldProblem("site_id", problem)])
        await streams.lock_id(connection, wanted.camera_id)
        state = await projection.read(connection, wanted.camera_id)
        if state.camera is not None:
            raise AlreadyExistsError(
                f"camera {wanted.camera_id!r} already exists", hint="choose another id, or change the existing camera"
            )
        held = await _held(connection, wanted.camera_id, state)
        decision = deciding.creation(state, wanted, held.now, sealed_addresses.new_secret_id)
        await self._commit(connection, held, decision, actor)
        return decision.camera

    async def change(
        self, connection: AsyncConnection, given: Camera, paths: Sequence[str], actor: str, *, validate_only: bool
    ) -> tuple[Camera, Camera]:
        """Change the fields of a camera that `paths` name; return it as it was and as it is.

        Raises:
            NotFoundError: there is no such camera.
            StaleRevisionError: it is not at the given revision.
            InvalidInputError: a field cannot be stored.
            ConflictError: the status cannot become the given one.
        """
        stored, held = await self._locked(connection, given.camera_id)
        check_revision(f"camera {stored.camera_id!r}", stored.revision, given.revision)
        decision = deciding.change(held.state, stored, given, paths, held.now, sealed_addresses.new_secret_id)
        if decision is None:
            return stored, stored
        if not validate_only:
            await self._commit(connection, held, decision, actor)
            await self.record(connection, "updated", decision.camera, actor)
        return stored, decision.camera

    async def delete(self, connection: AsyncConnection, camera_id: str, revision: int, actor: str) -> Camera:
        """Delete a camera and return it as it was. Its events and the versions of its lines stay.

        Raises:
            NotFoundError: there is no such camera.
            StaleRevisionError: it is not at the given revision; 0 stands for any.
        """
        stored, held = await self._locked(connection, camera_id)
        check_revision(f"camera {camera_id!r}", stored.revision, revision)
        await self._commit(connection, held, deciding.deletion(stored), actor)
        await self.record(connection, "deleted", stored, actor)
        return stored

    async def see_picture(self, connection: AsyncConnection, camera_id: str, picture: PictureShape, actor: str) -> bool:
        """Note the displayed picture that a worker has seen; return whether there was anything to note.

        Raises:
            NotFoundError: there is no such camera.
        """
        stored, held = await self._locked(connection, camera_id)
        decision = deciding.picture_seen(held.state, stored, picture, held.now)
        if decision is None:
            return False
        await self._commit(connection, held, decision, actor)
        if decision.revision != stored.revision:
            await self.record(connection, "updated", decision.camera, actor)
        if stored.picture is not None:
            _log.warning("camera.picture_changed", camera_id=camera_id, before=str(stored.picture), now=str(picture))
        return True

    async def record(self, connection: AsyncConnection, what: str, camera: Camera, actor: str) -> None:
        """Log a change and add its announcement to the outbox."""
        _log.info(f"camera.{what}", camera_id=camera.camera_id, actor=actor, revision=camera.revision)
        message = messages.camera_message(domain.for_readers(camera))
        await self._outbox.add(connection, "camera", what, actor, message)

    async def _locked(self, connection: AsyncConnection, camera_id: str) -> tuple[Camera, _Held]:
        """Return a camera with its credentials, and its stream. Raises `NotFoundError`."""
        await store.lock_cameras(connection, [camera_id])
        query = store.camera_rows().where(cameras.c.camera_id == camera_id)
        found = (await connection.execute(query)).mappings().one_or_none()
        if found is None:
            raise not_found(camera_id)
        row = dict(found)
        camera = await store.camera_of_row(connection, row, self._keys)
        versions = await store.geometry_versions_of(connection, camera_id)
        return camera, await _held(connection, camera_id, projection.state_of_row(row, versions))

    async def _commit(self, connection: AsyncConnection, held: _Held, decision: CameraDecision, actor: str) -> None:
        """Append the events of a decision, and write the state that follows from them."""
        events = differences.recorded(
            held.end.version, decision.events, revision=decision.revision, at=held.now, actor=actor
        )
        before, after = held.state, folded(events, held.state)
        await projection.write(connection, held.camera_id, before, after)
        await streams.append(connection, held.camera_id, events, after)
        if before.secret_id == after.secret_id:
            return
        if before.secret_id:
            await sealed_addresses.drop(connection, before.secret_id)
        if after.secret_id:
            url = decision.camera.stream_url
            await sealed_addresses.put(connection, self._keys, after.secret_id, held.camera_id, url)


async def _held(connection: AsyncConnection, camera_id: str, state: RecordedCamera) -> _Held:
    end = await streams.end_of(connection, camera_id)
    return _Held(camera_id, state, end, max(time.time(), end.at))


def not_found(camera_id: str) -> NotFoundError:
    """Return the error for a camera that does not exist."""
    return NotFoundError(f"there is no camera {camera_id!r}", hint="list the cameras: countline cameras list")
