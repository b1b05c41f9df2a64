"""Makes a plan of what is stated and what there is: the changes in the order in which they are made.

Sites come first, then cameras, and deletions last. A change holds the state that it was planned for, so that the
service refuses it where somebody else has changed the same thing meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from countline_common.errors import CountlineError, FieldProblem
from countline_control.cameras import checks, domain, sources
from countline_control.cameras.domain import Camera, Site
from countline_control.cameras.events.consequences import Consequence, camera_consequences, site_consequences
from countline_control.cameras.lifecycle import WantedStatus, check_transition
from countline_control.declarative.documents import FileProblem
from countline_control.declarative.fields import CAMERA_FIELDS, SITE_FIELDS, Field, item_id
from countline_control.declarative.forms import Plain
from countline_control.declarative.stating import SITE, Stated, Statement

_URL = sources.FIELD


class Action(StrEnum):
    """What a change does."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field before and after."""

    field: str
    before: Plain
    after: Plain


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a site or camera."""

    kind: str
    """`site` or `camera`."""
    key: str
    action: Action
    before: Site | Camera | None
    after: Site | Camera | None
    """What is sent; a camera's address may hold its password."""
    paths: tuple[str, ...] = ()
    """Of an update: the fields that are sent."""
    is_open: bool = False
    """Only the service knows whether something changes: readers do not see the stored password."""
    differences: tuple[Difference, ...] = ()
    consequences: tuple[Consequence, ...] = ()
    stated: Stated | None = None
    """None for a deletion."""

    @property
    def is_final(self) -> bool:
        """Whether the change cannot be taken back: a deletion, or a retirement."""
        if self.action is Action.DELETE:
            return True
        retires = isinstance(self.after, Camera) and self.after.status is WantedStatus.RETIRED
        return retires and isinstance(self.before, Camera) and self.before.status is not WantedStatus.RETIRED


@dataclass(frozen=True, slots=True)
class State:
    """What there is; addresses as readers see them."""

    sites: Mapping[str, Site]
    cameras: Mapping[str, Camera]


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes, and what keeps them from being made."""

    changes: tuple[Change, ...]
    unchanged: int
    """Sites and cameras that are as stated."""
    problems: tuple[FileProblem, ...] = ()


def plan_of(statement: Statement, state: State, now: float, *, prune: bool = False) -> Plan:
    """Return the plan.

    Args:
        statement: what the files state, passwords included.
        state: what there is.
        now: Unix seconds.
        prune: delete the cameras of the files' sites that the files do not state.
    """
    planner = _Planner(statement, state, now)
    changes = [*planner.sites(), *planner.cameras()]
    unchanged = len(statement.sites) + len(statement.cameras) - len(changes)
    if prune:
        changes += _pruned(statement, state)
    return Plan(tuple(changes), unchanged, tuple(planner.problems))


def _pruned(statement: Statement, state: State) -> Iterator[Change]:
    for camera_id, camera in sorted(state.cameras.items()):
        if camera.site_id in statement.owned_sites and camera_id not in statement.cameras:
            yield Change(
                "camera", camera_id, Action.DELETE, camera, None, consequences=camera_consequences(camera, None)
            )


class _Planner:
    def __init__(self, statement: Statement, state: State, now: float) -> None:
        self._statement = statement
        self._state = state
        self._now = now
        self.problems: list[FileProblem] = []

    def sites(self) -> Iterator[Change]:
        for site_id, stated in self._statement.sites.items():
            before = self._state.sites.get(site_id)
            after, paths = _put(SITE_FIELDS, before or Site(site_id, "", "UTC"), stated)
            if before is None or paths:
                self._note(stated, SITE_FIELDS, after, checks.site_problems(after))
                action = Action.UPDATE if before else Action.CREATE
                yield with_after(Change("site", site_id, action, before, after, paths, stated=stated), after)

    def cameras(self) -> Iterator[Change]:
        for camera_id, stated in self._statement.cameras.items():
            before = self._state.cameras.get(camera_id)
            change = self._new(stated) if before is None else self._changed(before, stated)
            if change is not None:
                yield change

    def _new(self, stated: Stated) -> Change:
        site_id = stated.more.get(SITE, "")
        if site_id and site_id not in self._state.sites and site_id not in self._statement.sites:
            message = f"there is no site {site_id[:63]!r}; state it under `sites`"
            self.problems.append(stated.problem(message, SITE))
        blank = Camera(stated.key, site_id=site_id, name=stated.key)
        wanted, _ = _put(CAMERA_FIELDS, blank, stated)
        self._note(stated, CAMERA_FIELDS, wanted, checks.camera_problems(wanted, self._now))
        if sources.has_mask(wanted.stream_url):
            message = f"is new, and `{_URL}` has *** for a password; write password_env or password_file"
            self.problems.append(stated.problem(message, _URL))
        change = Change("camera", stated.key, Action.CREATE, None, wanted, stated=stated)
        return with_after(change, domain.with_defaults(wanted, self._now))

    def _changed(self, before: Camera, stated: Stated) -> Change | None:
        if stated.more.get(SITE, before.site_id) != before.site_id:
            message = f"belongs to site {before.site_id!r}, and a camera cannot change its site; correct the file"
            self.problems.append(stated.problem(message, SITE))
            return None
        wanted, paths = _put(CAMERA_FIELDS, before, stated)
        is_open = _URL not in paths and _hides_password(stated)
        if is_open:
            wanted, paths = replace(wanted, stream_url=stated.values[_URL]), (*paths, _URL)
        if not paths:
            return None
        after = domain.changed(before, wanted, paths)
        self._note(stated, CAMERA_FIELDS, after, checks.camera_problems(after, self._now))
        try:
            check_transition(before.camera_id, before.status, after.status)
        except CountlineError as error:
            self.problems.append(stated.problem(f"{error.message}; {error.hint}", "status"))
        after = domain.with_defaults(after, before.created_at)
        if not is_open and not _differences(CAMERA_FIELDS, before, after):
            return None
        change = Change("camera", stated.key, Action.UPDATE, before, wanted, paths, is_open, stated=stated)
        return with_after(change, after)

    def _note(
        self, stated: Stated, fields: Sequence[Field[Any]], thing: Site | Camera, found: Sequence[FieldProblem]
    ) -> None:
        self.problems += located(stated, fields, thing, found)


def with_after(change: Change, after: Site | Camera, *, new_password: bool = False) -> Change:
    """Return a change with what it leads to, as planned here or as the service says."""
    if isinstance(after, Site):
        before = change.before if isinstance(change.before, Site) else None
        found = site_consequences(before, after)
        return replace(change, differences=_differences(SITE_FIELDS, before, after), consequences=found)
    camera = change.before if isinstance(change.before, Camera) else None
    after = domain.for_readers(after)
    differences = _differences(CAMERA_FIELDS, camera, after)
    if new_password:
        differences = (*differences, Difference("password", "***", "another one"))
    consequences = camera_consequences(camera, after, new_password=new_password)
    return replace(change, differences=differences, consequences=consequences)


def located(
    stated: Stated, fields: Sequence[Field[Any]], thing: Site | Camera, found: Sequence[FieldProblem]
) -> Iterator[FileProblem]:
    """Yield the problems of fields of the contract with the line of the file."""
    for problem in found:
        name = _name_of(stated, fields, thing, problem.field)
        yield stated.problem(f"{name.partition('/')[0] or problem.field} {problem.message}", name)


def _name_of(stated: Stated, fields: Sequence[Field[Any]], thing: Site | Camera, path: str) -> str:
    """Return the name of a field in a file, with the id of a line, zone or mask: `lines/gate`."""
    names = [each.name for each in fields if path == each.path or path.startswith((f"{each.path}.", f"{each.path}["))]
    for name in names:
        index = path.partition("[")[2].partition("]")[0]
        group = path.partition("[")[0].removeprefix("spec.")
        if index.isdigit() and group in ("lines", "zones", "masks") and isinstance(thing, Camera):
            items = getattr(thing.spec, group)
            if int(index) < len(items) and f"{name}/{item_id(items[int(index)])}" in stated.lines:
                return f"{name}/{item_id(items[int(index)])}"
    return next((name for name in names if name in stated.lines), names[0] if names else "")


def _put(fields: Sequence[Field[Any]], thing: Any, stated: Stated) -> tuple[Any, tuple[str, ...]]:
    """Return a thing with the stated values, and the paths of those that differ."""
    paths = []
    for each in fields:
        if each.name not in stated.values:
            continue
        value = stated.values[each.name]
        if _as_shown(each, each.get(thing)) != _as_shown(each, value):
            thing = each.put(thing, value)
            paths.append(each.path)
    return thing, tuple(dict.fromkeys(paths))


def _as_shown(field: Field[Any], value: Any) -> Any:
    return sources.masked(value) if field.name == _URL else value


def _hides_password(stated: Stated) -> bool:
    """Whether the stated address has a password, which cannot be compared with the stored one here."""
    url = stated.values.get(_URL, "")
    return bool(url) and sources.masked(url) != url


def _differences(
    fields: Sequence[Field[Any]], before: Site | Camera | None, after: Site | Camera
) -> tuple[Difference, ...]:
    found = []
    for each in fields:
        old, new = None if before is None else each.plain(before), each.plain(after)
        if each.name == _URL:
            new = sources.masked(str(new or ""))
        if old != new and (before is not None or new not in (None, [], 0)):
            found.append(Difference(each.name, old, new))
    return tuple(found)
