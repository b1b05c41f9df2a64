"""The cordons of workers and what drains have moved, in memory. Pure: the caller passes the clock."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError
from countline_control.cameras.domain import ObservedState
from countline_control.workers.domain import CameraMove, Cordon, Holder

MOVE_PATIENCE_S: Final = 30.0
"""A drain moves the next camera after this time even if the last one is not counted yet: its source may be off."""
LONGEST_REASON: Final = 200
COUNTING: Final = frozenset({ObservedState.RUNNING, ObservedState.DEGRADED, ObservedState.FINISHED})
"""States in which frames of a camera are counted."""


def check_reason(reason: str) -> None:
    """Check the reason of a cordon. Raises `InvalidInputError`."""
    if len(reason) > LONGEST_REASON:
        problem = FieldProblem("reason", f"has {len(reason)} characters; {LONGEST_REASON} is the limit")
        raise InvalidInputError("the reason is too long", fields=(problem,))


@dataclass(frozen=True, slots=True)
class _Pending:
    """A move whose camera is not counted yet."""

    former_worker_id: str
    epoch: int
    until: float
    """On the monotonic clock: then the drain goes on."""


class CordonBook:
    """Knows which workers are cordoned, and how far drains are.

    Args:
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._cordons: dict[str, Cordon] = {}
        self._moves: dict[str, dict[str, CameraMove]] = {}
        """Drained worker → camera → its move, in the order of the moves."""
        self._pending: dict[str, _Pending] = {}
        """By camera."""
        self._unsaved: set[tuple[str, str]] = set()
        """Drained worker and camera of moves that a report has completed since the last save."""

    def seed(self, cordons: Iterable[Cordon], moves: Iterable[CameraMove]) -> None:
        """Load the state of the database, in place of all that was known."""
        self._cordons = {cordon.worker_id: cordon for cordon in cordons}
        self._moves, self._pending = {}, {}
        self._unsaved.clear()
        for move in sorted(moves, key=lambda move: move.moved_at):
            self._add(move)

    def get(self, worker_id: str) -> Cordon | None:
        """Return the cordon of a worker."""
        return self._cordons.get(worker_id)

    @property
    def worker_ids(self) -> set[str]:
        """The workers that are cordoned."""
        return set(self._cordons)

    def put(self, cordon: Cordon, *, keep_moves: bool) -> None:
        """Add or replace the cordon of a worker."""
        self._cordons[cordon.worker_id] = cordon
        if not keep_moves:
            self._forget_moves(cordon.worker_id)

    def remove(self, worker_id: str) -> None:
        """Remove the cordon of a worker."""
        self._cordons.pop(worker_id, None)
        self._forget_moves(worker_id)

    def _forget_moves(self, worker_id: str) -> None:
        self._moves.pop(worker_id, None)
        self._pending = {
            camera_id: pending for camera_id, pending in self._pending.items() if pending.former_worker_id != worker_id
        }
        self._unsaved = {key for key in self._unsaved if key[0] != worker_id}

    # Moves -----------------------------------------------------------------------------------------------------------

    def moves_now(self, worker_id: str, held: Mapping[str, Holder]) -> int:
        """Return how many cameras the drain of a worker may move now.

        Args:
            worker_id: of the worker that is drained.
            held: camera → its holder.
        """
        cordon = self._cordons.get(worker_id)
        if cordon is None or not cordon.drains:
            return 0
        return len(held) if cordon.at_once else int(not self._waits(worker_id, held))

    def _waits(self, worker_id: str, held: Mapping[str, Holder]) -> bool:
        """Whether a camera that was moved away from a worker is on its way to be counted again."""
        for camera_id, pending in self._pending.items():
            holder = held.get(camera_id)
            is_held = holder is not None and holder.epoch == pending.epoch
            if pending.former_worker_id == worker_id and is_held and self._clock() < pending.until:
                return True
        return False

    def moves_of(self, given: Mapping[str, Holder], former: Mapping[str, Holder]) -> list[CameraMove]:
        """Return which of the cameras that workers get are moved by a drain.

        Args:
            given: camera → its new holder.
            former: camera → its holder before.
        """
        moves = []
        for camera_id, holder in given.items():
            before = former.get(camera_id)
            cordon = self._cordons.get(before.worker_id) if before is not None else None
            if cordon is not None and cordon.drains and holder.worker_id != cordon.worker_id:
                moved_at = holder.assigned_at if holder.assigned_at is not None else self._wall()
                moves.append(CameraMove(camera_id, cordon.worker_id, holder.worker_id, holder.epoch, moved_at))
        return moves

    def moved(self, moves: Iterable[CameraMove]) -> None:
        """Take over moves that the database stored."""
        for move in moves:
            self._add(move)

    def _add(self, move: CameraMove) -> None:
        self._moves.setdefault(move.former_worker_id, {})[move.camera_id] = move
        if move.counting_at is None:
            until = self._clock() + MOVE_PATIENCE_S
            self._pending[move.camera_id] = _Pending(move.former_worker_id, move.epoch, until)

    def observed(self, camera_id: str, epoch: int, state: ObservedState) -> None:
        """Note what the holder of a camera reports under an epoch."""
        pending = self._pending.get(camera_id)
        if pending is None or pending.epoch != epoch or state not in COUNTING:
            return
        del self._pending[camera_id]
        moves = self._moves[pending.former_worker_id]
        moves[camera_id] = replace(moves[camera_id], counting_at=self._wall())
        self._unsaved.add((pending.former_worker_id, camera_id))

    @property
    def has_unsaved(self) -> bool:
        """Whether a report has completed a move since the last save."""
        return bool(self._unsaved)

    def unsaved(self) -> list[CameraMove]:
        """Return the moves that reports have completed since the last save."""
        return [self._moves[worker_id][camera_id] for worker_id, camera_id in sorted(self._unsaved)]

    def saved(self, moves: Iterable[CameraMove]) -> None:
        """Take over that the database stored completed moves."""
        self._unsaved -= {(move.former_worker_id, move.camera_id) for move in moves}

    def moves(self, worker_id: str) -> list[CameraMove]:
        """Return what the drain of a worker has moved, in the order of the moves."""
        return list(self._moves.get(worker_id, {}).values())

    def newly_drained(self, held: Mapping[str, Holder]) -> list[Cordon]:
        """Return the cordons of the workers whose drain has just ended: they hold no camera any more."""
        holders = {holder.worker_id for holder in held.values()}
        now = self._wall()
        return [
            replace(cordon, drained_at=now)
            for worker_id, cordon in sorted(self._cordons.items())
            if cordon.drains and cordon.drained_at is None and worker_id not in holders
        ]
