"""Reads the state, has the service check a plan, and carries it out with a bounded number of calls at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1 import cameras_pb2
from countline_common.errors import (
    AlreadyExistsError,
    ConflictError,
    CountlineError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    StaleRevisionError,
    UnavailableError,
)
from countline_common.grpc.client import Client
from countline_common.grpc.errors import translated
from countline_common.grpc.paging import every_page
from countline_common.tasks import cancel
from countline_control.cameras import messages, sources
from countline_control.cameras.domain import Camera, Site, for_readers
from countline_control.cli.sites import all_sites
from countline_control.declarative.documents import FileProblem
from countline_control.declarative.fields import CAMERA_FIELDS
from countline_control.declarative.planning import Action, Change, Plan, State, located, with_after

CALLS_AT_ONCE: Final = 4
"""More would wait for each other: a creation locks its site."""
CALL_S: Final = 60.0
"""Longest wait for one call. It is generous, because a service with much to do must not leave a plan half done."""
PAGE: Final = 200
"""Cameras in an answer: gRPC refuses answers of more than 4 MiB."""
_REFUSALS: Final = (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    StaleRevisionError,
)
"""What concerns one change; any other error concerns all."""

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


class Result(StrEnum):
    """What became of a change."""

    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The service did not answer: it may have been made."""
    NOT_TRIED = "not_tried"


@dataclass(slots=True)
class Outcome:
    """A change, and what became of it."""

    change: Change
    result: Result = Result.NOT_TRIED
    error: CountlineError | None = None


@dataclass(slots=True)
class Execution:
    """The outcomes of a plan; complete at any moment, so that an interrupted call can report them."""

    outcomes: list[Outcome] = field(default_factory=list)
    is_stopped: bool = False
    """The service is away, or the login is over: nothing more is tried."""

    @classmethod
    def of(cls, plan: Plan) -> "Execution":
        """Return the execution of a plan of which nothing is done."""
        return cls([Outcome(change) for change in plan.changes])

    def having(self, *results: Result) -> list[Outcome]:
        """Return the outcomes with one of these results."""
        return [outcome for outcome in self.outcomes if outcome.result in results]


async def read_state(client: Client) -> State:
    """Read all sites and cameras that the caller may see."""
    sites = [messages.site_from_message(site) for site in await all_sites(client)]
    cameras = await every_page(
        lambda token: client.cameras.ListCameras(cameras_pb2.ListCamerasRequest(page_size=PAGE, page_token=token)),
        lambda answer: answer.cameras,
    )
    read = [for_readers(messages.camera_of(camera)) for camera in cameras]
    return State({site.site_id: site for site in sites}, {camera.camera_id: camera for camera in read})


# The dry run ---------------------------------------------------------------------------------------------------------


async def checked(client: Client, plan: Plan, state: State) -> Plan:
    """Have the service check every change of a camera, without storing it.

    Cameras of sites that are yet to be created are checked when they are created.

    Returns:
        The plan with what the service says: versions of lines, what changes nothing, and what it refuses.
    """
    checkable = [change for change in plan.changes if _is_checkable(change, state)]
    found = dict(zip(map(id, checkable), await _each(checkable, lambda change: _check(client, change)), strict=True))
    changes: list[Change] = []
    problems = list(plan.problems)
    unchanged = plan.unchanged
    for change in plan.changes:
        answer = found.get(id(change), change)
        if isinstance(answer, Change):
            changes.append(answer)
        elif answer is None:
            unchanged += 1
        else:
            problems += answer
    return Plan(tuple(changes), unchanged, tuple(problems))


def _is_checkable(change: Change, state: State) -> bool:
    camera = change.after
    return isinstance(camera, Camera) and (change.action is Action.UPDATE or camera.site_id in state.sites)


async def _check(client: Client, change: Change) -> Change | list[FileProblem] | None:
    """Return the change with its consequences; None if nothing would change; or what the service refuses."""
    assert isinstance(change.after, Camera)
    try:
        with translated(client.endpoints.cameras):
            if change.action is Action.CREATE:
                return with_after(change, messages.camera_of(await _create(client, change, validate_only=True)))
            return await _checked_update(client, change)
    except _REFUSALS as error:
        return _located_refusal(change, error)


async def _checked_update(client: Client, change: Change) -> Change | None:
    assert change.before is not None
    revision, new_password = change.before.revision, False
    if change.is_open:
        alone = replace(change, paths=(sources.FIELD,))
        new_password = (await _update(client, alone, validate_only=True)).revision != revision
        if not new_password:
            change = replace(change, paths=tuple(path for path in change.paths if path != sources.FIELD))
    if not change.paths:
        return None
    after = await _update(client, change, validate_only=True)
    if after.revision == revision:
        return None
    return with_after(change, messages.camera_of(after), new_password=new_password)


def _located_refusal(change: Change, error: CountlineError) -> list[FileProblem]:
    assert change.stated is not None
    assert isinstance(change.after, Camera)
    if error.fields:
        return list(located(change.stated, CAMERA_FIELDS, change.after, error.fields))
    return [change.stated.problem(f"{error.message}{f'; {error.hint}' if error.hint else ''}")]


# The changes ---------------------------------------------------------------------------------------------------------


async def carry_out(client: Client, execution: Execution) -> None:
    """Make the changes: sites, then cameras, then deletions. One that fails does not stop the others.

    Cameras of a site that could not be created are not tried, and nothing is deleted unless all else was done.
    """
    sites = [outcome for outcome in execution.outcomes if outcome.change.kind == "site"]
    for outcome in sites:
        await _make(client, execution, outcome)
    missing = {
        outcome.change.key
        for outcome in sites
        if outcome.change.action is Action.CREATE and outcome.result is not Result.APPLIED
    }
    cameras = [outcome for outcome in execution.outcomes if outcome.change.kind == "camera"]
    written = [outcome for outcome in cameras if outcome.change.action is not Action.DELETE]
    await _each(
        [outcome for outcome in written if _site_of(outcome) not in missing],
        lambda outcome: _make(client, execution, outcome),
    )
    if all(outcome.result is Result.APPLIED for outcome in (*sites, *written)):
        deleted = [outcome for outcome in cameras if outcome.change.action is Action.DELETE]
        await _each(deleted, lambda outcome: _make(client, execution, outcome))


def _site_of(outcome: Outcome) -> str:
    camera = outcome.change.after
    return camera.site_id if isinstance(camera, Camera) else ""


async def _make(client: Client, execution: Execution, outcome: Outcome) -> None:
    if execution.is_stopped:
        return
    outcome.result = Result.UNKNOWN  # until the service answers
    try:
        with translated(client.endpoints.cameras):
            await _call(client, outcome.change)
        outcome.result = Result.APPLIED
    except CountlineError as error:
        outcome.error = error
        is_unknown = isinstance(error, UnavailableError | DeadlineExceededError)
        outcome.result = Result.UNKNOWN if is_unknown else Result.FAILED
        execution.is_stopped |= not isinstance(error, _REFUSALS)


async def _call(client: Client, change: Change) -> None:
    if isinstance(change.after, Site):
        await _write_site(client, change, change.after)
    elif change.action is Action.CREATE:
        await _create(client, change, validate_only=False)
    elif change.action is Action.UPDATE:
        await _update(client, change, validate_only=False)
    else:
        assert change.before is not None
        request = cameras_pb2.DeleteCameraRequest(camera_id=change.key, revision=change.before.revision)
        await client.cameras.DeleteCamera(request, timeout=CALL_S)


async def _write_site(client: Client, change: Change, site: Site) -> None:
    message = cameras_pb2.Site(site_id=site.site_id, title=site.title, time_zone=site.time_zone)
    if change.before is None:
        await client.cameras.CreateSite(cameras_pb2.CreateSiteRequest(site=message), timeout=CALL_S)
        return
    message.revision = change.before.revision
    request = cameras_pb2.UpdateSiteRequest(site=message, update_mask=FieldMask(paths=change.paths))
    await client.cameras.UpdateSite(request, timeout=CALL_S)


async def _create(client: Client, change: Change, *, validate_only: bool) -> cameras_pb2.Camera:
    request = cameras_pb2.CreateCameraRequest(camera=_message(change), validate_only=validate_only)
    return (await client.cameras.CreateCamera(request, timeout=CALL_S)).camera


async def _update(client: Client, change: Change, *, validate_only: bool) -> cameras_pb2.Camera:
    camera = _message(change)
    assert change.before is not None
    # All lines are sent back; the revision prevents that another user's change in between is lost.
    camera.revision = change.before.revision
    request = cameras_pb2.UpdateCameraRequest(
        camera=camera, update_mask=FieldMask(paths=change.paths), validate_only=validate_only
    )
    return (await client.cameras.UpdateCamera(request, timeout=CALL_S)).camera


def _message(change: Change) -> cameras_pb2.Camera:
    assert isinstance(change.after, Camera)
    return messages.camera_message(change.after)


async def _each(items: Iterable[_Item], work: Callable[[_Item], Awaitable[_Found]]) -> list[_Found]:
    """Do the work for each item, some at a time; return the results in the order of the items."""
    waiting, found = enumerate(items), dict[int, _Found]()

    async def take() -> None:
        for i, item in waiting:
            found[i] = await work(item)

    tasks = [asyncio.create_task(take(), name=f"apply-{number}") for number in range(CALLS_AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)
    return [found[i] for i in sorted(found)]
