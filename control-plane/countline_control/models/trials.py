"""Trials: two versions on the same frames, what workers tell of them, and what follows from it.

A trial that is accepted or rejected ends by itself. Cameras of a canary go back to the live version with its end, since
only trials that run decide what counts a camera; where it was accepted and shall be promoted, the challenger becomes
live in the same transaction, and they stay with it.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import models_pb2
from countline.v1.events_pb2 import TrialRecord
from countline.v1.models_pb2 import Trial, TrialBucket, TrialComparison
from countline_common.errors import ConflictError, CountlineError, InvalidInputError, NotFoundError
from countline_common.grpc.calls import current_principal
from countline_common.logs import get_logger
from countline_common.times import to_datetime, to_timestamp
from countline_common.triton import ModelRef
from countline_common.waiting import happens
from countline_control.database import Database, is_away
from countline_control.models import domain, store
from countline_control.models.domain import Mode, Outcome, Serving, StoredModel, StoredTrial
from countline_control.outbox import Outbox
from countline_models.trials.verdict import ERROR, PairedCounts, TrialFinding, TrialVerdict, judge, ratio_interval

CHECK_PERIOD_S: Final = 2.0
NOBODY: Final = "countline"
"""Who did what no person did."""
BUCKETS: Final = 100
BUCKET_WIDTHS_S: Final = (10, 60, 300, 900, 3600, 21_600, 86_400)

Tallies = dict[tuple[str, str], PairedCounts]
"""By camera and line."""
Spans = dict[str, store.CameraSpan]
"""By camera."""
Promote = Callable[[AsyncConnection, StoredModel, int, str], Awaitable[None]]
"""Makes a version of a model live, inside a transaction, in somebody's name."""

_log = get_logger(__name__)


class Trials:
    """Starts, judges and ends trials.

    Args:
        database: with the schema `models`.
        outbox: of the service.
        promote: makes a version live.
        on_change: called after what counts cameras has changed.
        clock: Unix seconds now.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        promote: Promote,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._promote = promote
        self._on_change = on_change
        self._clock = clock
        self._stopping = asyncio.Event()

    async def start(
        self, request: models_pb2.StartTrialRequest, cameras: dict[str, str], default_model: str
    ) -> StoredTrial:
        """Begin a trial.

        Args:
            request: what is wanted.
            cameras: what each camera names, by id.
            default_model: of those that name none.

        Raises:
            CountlineError: it cannot be begun, and why.
        """
        modes = {message: mode for mode, message in domain.MODES.items()}
        if request.mode not in modes:
            raise InvalidInputError("a trial is a shadow or a canary", hint="give the mode")
        if not 0.0 <= request.time_limit_s < 1e9:
            raise InvalidInputError(f"a time limit of {request.time_limit_s:g} s cannot be", hint="give seconds, or 0")
        margin, now = domain.checked_margin(request.margin), self._clock()
        camera_ids = tuple(dict.fromkeys(request.camera_ids))
        async with self._database.begin() as connection:
            model = await store.get_model(connection, request.name, lock=True)
            if model is None:
                raise not_found(request.name)
            live, running = await store.live_versions(connection), await store.running_trials(connection)
            challenger = model.version(request.challenger)
            domain.check_trial(model, challenger, camera_ids, cameras, Serving(live, running, default_model))
            trial = StoredTrial(
                trial_id=f"{int(now * 1e3):011x}{secrets.token_hex(2)}",
                name=model.name,
                challenger=challenger.version,
                incumbent=model.live_version,
                mode=modes[request.mode],
                state=Outcome.RUNNING,
                camera_ids=camera_ids,
                margin=margin,
                promote_if_better=request.promote_if_better,
                created_by=current_principal().name,
                started_at=now,
                ends_by=now + request.time_limit_s if request.time_limit_s else None,
            )
            await store.insert_trial(connection, trial)
            await self._tell(connection, "started", trial, trial.created_by)
        self._on_change()
        return trial

    async def stop_by_hand(self, name: str, trial_id: str) -> StoredTrial:
        """End a trial without a verdict.

        Raises:
            NotFoundError: there is none.
            ConflictError: it has ended already.
        """
        actor = current_principal().name
        trial = await self.get(name, trial_id)
        async with self._database.begin() as connection:
            await store.get_model(connection, name, lock=True)
            ended = await self._end(connection, trial.trial_id, Outcome.STOPPED, f"stopped by {actor}", actor)
        if ended is None:
            raise ConflictError(f"the trial {trial_id} has ended already: {trial.state.value}")
        self._on_change()
        return ended

    async def get(self, name: str, trial_id: str) -> StoredTrial:
        """One trial.

        Raises:
            NotFoundError: the model has none of that id.
        """
        trial = await self._database.read(lambda connection: store.get_trial(connection, trial_id))
        if trial is None or trial.name != name:
            raise NotFoundError(
                f"there is no trial {trial_id!r} of {name}", hint=f"list them: countline models trials {name}"
            )
        return trial

    async def end_those_of(self, connection: AsyncConnection, name: str, why: str, actor: str) -> None:
        """End what runs of a model without a verdict, since what it compared is no more."""
        for trial in await store.running_trials(connection):
            if trial.name == name:
                await self._end(connection, trial.trial_id, Outcome.STOPPED, why, actor)

    async def take(self, record_id: str, record: TrialRecord) -> None:
        """Add what a worker told, and decide where that is enough; a record that comes twice changes nothing."""
        known = await self._database.read(lambda connection: store.get_trial(connection, record.trial_id))
        if known is None:
            return
        async with self._database.begin() as connection:
            # The model first, as everybody who changes it or its trials does: else two could wait for each other.
            model = await store.get_model(connection, known.name, lock=True)
            added = model is not None and await store.add_record(connection, record_id, record)
            changed = added and model is not None and await self._judge(connection, model, record.trial_id)
        if changed:
            self._on_change()

    async def _judge(self, connection: AsyncConnection, model: StoredModel, trial_id: str) -> bool:
        """Look at a trial of a model that is locked; whether it has ended."""
        trial = await store.get_trial(connection, trial_id)
        if trial is None or trial.state is not Outcome.RUNNING:
            return False
        lines = await store.tallies(connection, trial_id)
        verdict = judge(_sum(lines.values()), lines, trial.margin, trial.looks)
        if verdict.finding is not TrialFinding.UNDECIDED:
            return await self._conclude(connection, model, trial, verdict)
        if verdict.looks != trial.looks or verdict.sentence != trial.verdict:
            await store.note_look(connection, trial_id, verdict.looks, verdict.sentence)
        return False

    async def _conclude(
        self, connection: AsyncConnection, model: StoredModel, trial: StoredTrial, verdict: TrialVerdict
    ) -> bool:
        """End a trial with what was found; false where somebody has ended it meanwhile."""
        accepted = verdict.finding is TrialFinding.EQUAL
        outcome = Outcome.ACCEPTED if accepted else Outcome.REJECTED
        sentence = verdict.sentence
        if not accepted and trial.mode is Mode.CANARY:
            sentence += f"; its cameras went back to {ModelRef(trial.name, trial.incumbent)}"
        if await self._end(connection, trial.trial_id, outcome, sentence, NOBODY) is None:
            return False
        ready = model.live_version == trial.incumbent and trial.challenger in model.served
        if accepted and trial.promote_if_better and ready:
            await self._promote(connection, model, trial.challenger, NOBODY)
        return True

    async def _end(
        self, connection: AsyncConnection, trial_id: str, outcome: Outcome, verdict: str, actor: str
    ) -> StoredTrial | None:
        ended = await store.end_trial(connection, trial_id, outcome, verdict, to_datetime(self._clock()))
        if ended is not None:
            await self._tell(connection, "ended", ended, actor)
        return ended

    async def _tell(self, connection: AsyncConnection, event: str, trial: StoredTrial, actor: str) -> None:
        _log.info(f"trial.{event}", trial=trial.trial_id, model=trial.name, state=trial.state.value, actor=actor)
        await self._outbox.add(connection, "trial", event, actor, domain.trial_message(trial))

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """End trials whose time is over, until stopped."""
        while not self._stopping.is_set():
            try:
                await self._end_overdue()
            except Exception as error:  # noqa: BLE001  (the task outlives a database that is away; the rest is told)
                if not is_away(error):
                    _log.error("trials.fault", exc_info=error)
            await happens(self._stopping, CHECK_PERIOD_S)

    async def _end_overdue(self) -> None:
        running, now = await self._database.read(store.running_trials), self._clock()
        overdue = [trial for trial in running if trial.ends_by is not None and trial.ends_by <= now]
        for trial in overdue:
            why = f"its time was over before enough was seen: {trial.verdict or 'no crossing'}"
            async with self._database.begin() as connection:
                await store.get_model(connection, trial.name, lock=True)
                await self._end(connection, trial.trial_id, Outcome.STOPPED, why, NOBODY)
        if overdue:
            self._on_change()

    # As messages -----------------------------------------------------------------------------------------------------

    async def message(self, trial: StoredTrial) -> Trial:
        """A trial with what was found: in all, by camera and line, and over time."""

        async def read(connection: AsyncConnection) -> Trial:
            tallies, spans = await _found(connection, trial)
            shown = _summary(trial, tallies, spans)
            for (camera_id, line_id), tally in tallies.items():
                seen = [spans[camera_id]] if camera_id in spans else []
                shown.lines.append(_comparison(camera_id, line_id, tally, seen))
            end = trial.ended_at if trial.ended_at is not None else self._clock()
            buckets = await store.buckets(connection, trial.trial_id, bucket_width_s(end - trial.started_at))
            shown.buckets.extend(
                TrialBucket(start=to_timestamp(start), incumbent=one, challenger=other) for start, one, other in buckets
            )
            return shown

        return await self._database.read(read)

    async def summaries(self, trials: Sequence[StoredTrial]) -> list[Trial]:
        """Trials with what was found in all."""
        return await self._database.read(lambda connection: _summaries(connection, trials))


async def _summaries(connection: AsyncConnection, trials: Sequence[StoredTrial]) -> list[Trial]:
    return [_summary(trial, *await _found(connection, trial)) for trial in trials]


async def _found(connection: AsyncConnection, trial: StoredTrial) -> tuple[Tallies, Spans]:
    return await store.tallies(connection, trial.trial_id), await store.spans(connection, trial.trial_id)


def _summary(trial: StoredTrial, tallies: Tallies, spans: Spans) -> Trial:
    shown = domain.trial_message(trial)
    shown.total.CopyFrom(_comparison("", "", _sum(tallies.values()), list(spans.values())))
    return shown


def bucket_width_s(duration_s: float) -> int:
    """The width of buckets that makes at most about a hundred of a duration."""
    return next((width for width in BUCKET_WIDTHS_S if duration_s / width <= BUCKETS), BUCKET_WIDTHS_S[-1])


def _comparison(
    camera_id: str, line_id: str, tally: PairedCounts, spans: Sequence[store.CameraSpan]
) -> TrialComparison:
    shown = TrialComparison(
        camera_id=camera_id,
        line_id=line_id,
        both=tally.both,
        only_incumbent=tally.only_incumbent,
        only_challenger=tally.only_challenger,
        seconds=sum(span.seconds for span in spans),
        frames_missed=sum(span.frames_missed for span in spans),
    )
    if (ratio := ratio_interval(tally, ERROR)) is not None:
        shown.ratio, shown.ratio_low, shown.ratio_high = ratio.value, ratio.low, ratio.high
    return shown


def _sum(tallies: Iterable[PairedCounts]) -> PairedCounts:
    found = list(tallies)
    return PairedCounts(
        sum(tally.both for tally in found),
        sum(tally.only_incumbent for tally in found),
        sum(tally.only_challenger for tally in found),
    )


def not_found(name: str) -> CountlineError:
    """The error for a model that is not there."""
    return NotFoundError(f"there is no model {name!r}", hint="list those that there are: countline models list")
