"""The screen of `countline top`, for any width and height. Pure."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Styled
from countline_control.cli.monitoring.top.snapshot import TopCamera, TopSnapshot, TopSort, TopWorker, in_order

STATE_COLOURS: Final = {
    "running": "green",
    "finished": "green",
    "degraded": "yellow",
    "probing": "yellow",
    "starting": "yellow",
    "waiting": "yellow",
    "offline": "red",
    "failed": "red",
    "not observed": "red",
}
NUMBERS: Final = ("FPS", "LATENCY", "COUNTS/MIN", "CAMERAS", "LOAD", "SPOOL")
LEAST_ROWS: Final = 3
"""Rows of cameras that are shown even on the lowest terminal, where the workers have to make room."""
_FROM_WIDTH: Final = {"SITE": 96, "WORKER": 72, "LATENCY": 56, "COUNTS/MIN": 44}
"""Columns of cameras that narrower terminals leave out."""
_WORKERS_FROM_WIDTH: Final = {"BACKEND": 84, "SPOOL": 66, "FPS": 48}
_LONG_HELP_FROM: Final = 70
NAME_SHARE: Final = 4
"""A name gets at most this part of the width, but at least `LEAST_NAME`."""
LEAST_NAME: Final = 8
GAP: Final = 2
"""Columns between two columns."""


@dataclass(frozen=True, slots=True)
class TopView:
    """What the user has chosen."""

    sort: TopSort = TopSort.STATE
    backwards: bool = False
    first: int = 0
    """Index of the first camera on the screen."""
    server: str = ""

    def sorted_further(self) -> "TopView":
        """Sort by the next column."""
        return replace(self, sort=self.sort.following, first=0)

    def moved(self, rows: int, cameras: int) -> "TopView":
        """Scroll by some rows, within the list."""
        return replace(self, first=max(0, min(self.first + rows, cameras - 1)))


def screen(snapshot: TopSnapshot | None, view: TopView, width: int, height: int, problem: str = "") -> RenderableType:
    """The whole screen.

    Args:
        snapshot: the last one; None before the first.
        view: what the user has chosen.
        width: columns of the terminal.
        height: its lines; 0 for as many as are needed.
        problem: why there is no newer snapshot; empty if there is none.
    """
    lines = [*_heading(snapshot, view, width), *([_problem(problem, width)] if problem else [])]
    if snapshot is None:
        return Group(*lines, Styled("Waiting for the first answer…" if not problem else ""))
    if snapshot.counts_problem:
        lines.append(_cut(Styled(f"Counts are unknown: {snapshot.counts_problem}", "yellow"), width))
    room = height - len(lines) - 1 if height else 0  # the help is the last line
    workers = _shown_workers(snapshot, room)
    cameras_room = room - (len(workers) + 2 if workers else 0) - 2 if height else len(snapshot.cameras)
    parts: list[RenderableType] = [*lines, *_cameras(snapshot, view, width, max(cameras_room, LEAST_ROWS))]
    if workers:
        parts += [Styled(""), _worker_table(workers, width)]
    if height:
        parts.append(_help(view, width))
    return Group(*parts)


def _heading(snapshot: TopSnapshot | None, view: TopView, width: int) -> list[Styled]:
    title = Styled().append("countline top ", "bold").append(view.server)
    if snapshot is None:
        return [_cut(title, width)]
    at = time.strftime("%H:%M:%S", time.localtime(snapshot.taken_at))
    states = Counter(camera.state for camera in snapshot.cameras)
    number = len(snapshot.cameras)
    totals = Styled(f"{number} camera{'' if number == 1 else 's'}")
    for index, (state, of_state) in enumerate(states.most_common()):
        totals.append(": " if index == 0 else ", ").append(f"{of_state} {state}", STATE_COLOURS.get(state, "dim"))
    rates = f"{sum(each.fps for each in snapshot.cameras if each.is_counting):.0f} frames/s"
    known = [each.counts_per_minute for each in snapshot.cameras if each.counts_per_minute is not None]
    rates += f"  {sum(known)} counts/min" if known else ""
    online = sum(worker.online for worker in snapshot.workers)
    rates += f"  {online} of {len(snapshot.workers)} workers online"
    return [_cut(title.append(f"  {at}", "dim"), width), _cut(totals, width), _cut(Styled(rates), width)]


def _problem(text: str, width: int) -> Styled:
    return _cut(Styled(" ".join(text.split()), "bold red"), width)


def _cameras(snapshot: TopSnapshot, view: TopView, width: int, rows: int) -> list[RenderableType]:
    """The table of cameras, and how many it leaves out."""
    if not snapshot.cameras:
        return [Styled("No cameras. Add one: countline cameras add ID URL", "dim")]
    ordered = in_order(snapshot.cameras, view.sort, backwards=view.backwards)
    first = min(view.first, max(0, len(ordered) - rows))
    shown = ordered[first : first + rows]
    columns = [name for name in _COLUMNS if width >= _FROM_WIDTH.get(name, 0)]
    table = _fitted_table(columns, [[_COLUMNS[name](camera) for name in columns] for camera in shown], width)
    left_out = len(ordered) - len(shown)
    note = f"… {left_out} more: {first} above, {left_out - first} below" if left_out else ""
    return [table, _cut(Styled(note, "dim"), width)] if note else [table]


def _fitted_table(columns: list[str], rows: list[list[Styled]], width: int) -> Table:
    """A table of one line a row. Numbers are never shortened; names get a share, and the last column the rest."""
    table = new_table(*columns, numbers=NUMBERS)
    left = width
    for index, (name, column) in enumerate(zip(columns, table.columns, strict=True)):
        needed = max(len(name), *(row[index].cell_len for row in rows))
        if name not in NUMBERS:
            needed = min(needed, max(LEAST_NAME, width // NAME_SHARE))
        takes_rest = index == len(columns) - 1 and name not in NUMBERS
        column.width = max(1, left if takes_rest else needed)
        column.no_wrap, column.overflow = True, "ellipsis"
        left -= needed + GAP
    for row in rows:
        table.add_row(*row)
    return table


def _name(text: str) -> Styled:
    return Styled(" ".join(text.split()))


def _state(camera: TopCamera) -> Styled:
    text = Styled(camera.state, STATE_COLOURS.get(camera.state, "dim"))
    return text.append(f": {' '.join(camera.trouble.split())}", "default") if camera.trouble else text


def _fps(camera: TopCamera) -> Styled:
    if not camera.is_counting:
        return Styled("-", "dim")
    if camera.keeps_up:
        return Styled(f"{camera.fps:.1f}")
    return Styled(f"{camera.fps:.1f}/{camera.wanted_fps:.0f}", "yellow")


def _latency(camera: TopCamera) -> Styled:
    return Styled(f"{camera.latency_s * 1e3:.0f} ms") if camera.is_counting else Styled("-", "dim")


def _counts(camera: TopCamera) -> Styled:
    return Styled("-", "dim") if camera.counts_per_minute is None else Styled(str(camera.counts_per_minute))


_COLUMNS: Final[dict[str, Callable[[TopCamera], Styled]]] = {
    "CAMERA": lambda camera: _name(camera.camera_id),
    "SITE": lambda camera: _name(camera.site_id),
    "FPS": _fps,
    "LATENCY": _latency,
    "COUNTS/MIN": _counts,
    "WORKER": lambda camera: _name(camera.worker_id or "-"),
    "STATE": _state,
}


def _shown_workers(snapshot: TopSnapshot, room: int) -> list[TopWorker]:
    """The workers for which there is room beside the cameras, in a third of the screen; offline ones come first."""
    ordered = sorted(snapshot.workers, key=lambda each: (each.online, -each.load, each.worker_id))
    if not room:
        return ordered
    most = min(room // 3, room - LEAST_ROWS - 5)
    return ordered[: max(most, 0)]


_WORKER_COLUMNS: Final[dict[str, Callable[[TopWorker], Styled]]] = {
    "WORKER": lambda worker: _name(worker.worker_id),
    "STATE": lambda worker: Styled("online", "green") if worker.online else Styled("offline", "red"),
    "CAMERAS": lambda worker: Styled(f"{worker.cameras}/{worker.capacity}"),
    "LOAD": lambda worker: Styled(f"{worker.load:.0%}", "yellow" if worker.load >= 1 else ""),
    "FPS": lambda worker: Styled(f"{worker.fps:.0f}"),
    "SPOOL": lambda worker: Styled(f"{worker.spool_bytes / 1024:.0f} KiB"),
    "BACKEND": lambda worker: _name(worker.backend),
}


def _worker_table(workers: list[TopWorker], width: int) -> Table:
    columns = [name for name in _WORKER_COLUMNS if width >= _WORKERS_FROM_WIDTH.get(name, 0)]
    return _fitted_table(columns, [[_WORKER_COLUMNS[name](worker) for name in columns] for worker in workers], width)


def _help(view: TopView, width: int) -> Styled:
    order = f"sorted by {view.sort.value}{', reversed' if view.backwards else ''}"
    keys = "q quit  s sort  r reverse  ↑↓ scroll" if width >= _LONG_HELP_FROM else "q quit  s sort"
    return _cut(Styled(f"{keys}  ({order})", "dim"), width)


def _cut(text: Styled, width: int) -> Styled:
    """One line: what is too long ends with an ellipsis."""
    text.no_wrap, text.overflow = True, "ellipsis"
    text.truncate(width, overflow="ellipsis")
    return text
