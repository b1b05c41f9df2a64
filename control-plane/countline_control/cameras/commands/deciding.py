"""What a command means for a camera: state × command → events. Pure: the caller brings the clock and stores events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from countline_common.display import PictureShape
from countline_control.cameras import checks, domain
from countline_control.cameras.domain import Camera
from countline_control.cameras.events import differences
from countline_control.cameras.events.domain import CameraDeleted, CameraEvent, RecordedCamera
from countline_control.cameras.lifecycle import check_transition

FIRST_REVISION: Final = 1

NewSecretId = Callable[[str], str]
"""Returns an id for the secret of an address; empty if the address holds none."""


@dataclass(frozen=True, slots=True)
class CameraDecision:
    """What a command does."""

    camera: Camera
    """After the command, with its credentials; before it, if the command deletes the camera."""
    revision: int
    events: Sequence[CameraEvent]


def creation(state: RecordedCamera, wanted: Camera, now: float, new_secret_id: NewSecretId) -> CameraDecision:
    """Create a camera.

    Args:
        state: what earlier cameras of its id have left.
        wanted: checked by `check_new`.
        now: Unix seconds.
        new_secret_id: see `NewSecretId`.
    """
    wanted = domain.with_defaults(wanted, now)
    spec, _ = domain.versioned(wanted.spec, state.versions)
    camera = replace(wanted, spec=spec, revision=FIRST_REVISION, created_at=now, updated_at=now, picture=None)
    events = differences.creation(camera, new_secret_id(camera.stream_url))
    return CameraDecision(camera, FIRST_REVISION, events)


def check_new(camera: Camera, now: float) -> None:
    """Check a camera that is to be created.

    Raises:
        InvalidInputError: a field cannot be stored.
    """
    checks.refuse("the camera cannot be created", checks.camera_problems(camera, now))
    checks.url_with_secrets(camera.stream_url, stored="")


def change(
    state: RecordedCamera,
    stored: Camera,
    given: Camera,
    paths: Sequence[str],
    now: float,
    new_secret_id: NewSecretId,
) -> CameraDecision | None:
    """Change the fields that `paths` name. None if nothing changes.

    Args:
        state: of the camera.
        stored: the camera of that state, with its credentials.
        given: holds the new values.
        paths: of an update mask that `checks.mask_problems` accepts.
        now: Unix seconds.
        new_secret_id: see `NewSecretId`.

    Raises:
        InvalidInputError: a field cannot be stored.
        ConflictError: the status cannot become the given one.
    """
    wanted = domain.changed(stored, given, paths)
    wanted = replace(wanted, stream_url=checks.url_with_secrets(wanted.stream_url, stored.stream_url))
    checks.refuse("the camera cannot be changed", checks.camera_problems(wanted, now))
    check_transition(stored.camera_id, stored.status, wanted.status)
    wanted = domain.with_defaults(wanted, stored.created_at)
    spec, _ = domain.versioned(wanted.spec, state.versions, stored.picture)
    wanted = replace(wanted, spec=spec)
    if wanted == stored:
        return None
    camera = replace(wanted, revision=stored.revision + 1, updated_at=now)
    same_address = camera.stream_url == stored.stream_url
    secret_id = state.secret_id if same_address else new_secret_id(camera.stream_url)
    return CameraDecision(camera, camera.revision, differences.change(state, camera, secret_id))


def picture_seen(state: RecordedCamera, stored: Camera, picture: PictureShape, now: float) -> CameraDecision | None:
    """Note the displayed picture that a worker has seen. None if it matches the known one.

    If it turned, lines and zones get new versions, and the camera another revision.
    """
    if stored.picture is not None and stored.picture.matches(picture):
        return None
    spec, _ = domain.versioned(stored.spec, state.versions, picture)
    camera = replace(domain.with_picture(stored, picture), spec=spec)
    if spec != stored.spec:
        camera = replace(camera, revision=stored.revision + 1, updated_at=now)
    return CameraDecision(camera, camera.revision, differences.change(state, camera, state.secret_id))


def deletion(stored: Camera) -> CameraDecision:
    """Delete a camera. The versions of its lines and zones stay."""
    return CameraDecision(stored, stored.revision, [CameraDeleted()])
