"""Starts, judges and ends trials: two versions on the same frames, reported by workers.

A trial ends by itself when it is accepted or rejected. Only running trials decide which version counts a camera, so the
cameras of a canary return to the live version at its end. If the trial is accepted and should promote its challenger,
the challenger becomes live in the same transaction, and the cameras stay with it.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.data.database import is_away
from countline_common.data.outbox import Outbox
from countline_common.errors import ConflictError, InvalidInputError, NotFoundError
from countline_common.logs import get_logger
from countline_common.times import to_datetime
from countline_common.triton import ModelRef
from countline_common.waiting import happens
from countline_control.database import Database
from countline_control.models import checks, messages
from countline_control.models import store as model_store
from countline_control.models.domain import (
    ModelRouting,
    StoredModel,
    StoredTrial,
    TrialMode,
    TrialOutcome,
    TrialReport,
    TrialRequest,
    sum_of,
)
from countline_control.models.trials import store
from countline_models.trials.verdict import TrialFinding, TrialVerdict, judge

CHECK_PERIOD_S: Final = 2.0
SYSTEM: Final = "countline"
"""The actor of changes that no person made."""

Promote = Callable[[AsyncConnection, StoredModel, int, str], Awaitable[None]]
"""Makes a version of a model live inside a transaction: (connection, model, version, actor)."""

_log = get_logger(__name__)


class Trials:
    """The trials of all models.

    Args:
        database: holds the schema `models`.
        outbox: the outbox of the service.
        promote: makes a version live.
        on_change: called after a change of what counts cameras.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        promote: Promote,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._promote = promote
        self._on_change = on_change
        self._stopping = asyncio.Event()

    async def start(
        self, request: TrialRequest, cameras: dict[str, str], default_model: str, actor: str
    ) -> StoredTrial:
        """Start a trial.

        Args:
            request: what the caller asks.
            cameras: camera → the model that it names.
            default_model: the model of cameras that name none.
            actor: who starts it.

        Raises:
            CountlineError: the trial cannot start; the message says why.
        """
        if request.mode is None:
            raise InvalidInputError("the mode of the trial is missing", hint="give SHADOW or CANARY")
        checks.check_time_limit(request.time_limit_s)
        margin, now = checks.checked_margin(request.margin), time.time()
        async with self._database.begin() as connection:
            model = await model_store.existing_model(connection, request.name, lock=True)
            live, running = await model_store.live_versions(connection), await store.running_trials(connection)
            challenger = model.version(request.challenger)
            routing = ModelRouting(live, running, default_model)
            checks.check_trial(model, challenger, request.camera_ids, cameras, routing)
            trial = StoredTrial(
                trial_id=f"{int(now * 1e3):011x}{secrets.token_hex(2)}",
                name=model.name,
                challenger=challenger.version,
                incumbent=model.live_version,
                mode=request.mode,
                state=TrialOutcome.RUNNING,
                camera_ids=request.camera_ids,
                margin=margin,
                promote_if_better=request.promote_if_better,
                created_by=actor,
                started_at=now,
                ends_by=now + request.time_limit_s if request.time_limit_s else None,
            )
            await store.insert_trial(connection, trial)
            await self._record(connection, "started", trial, actor)
            await self._outbox.record(connection, _place(trial), after=messages.trial_message(trial))
        self._on_change()
        return trial

    async def stop_by_hand(self, name: str, trial_id: str, actor: str) -> StoredTrial:
        """End a trial without a verdict.

        Raises:
            NotFoundError: the model has no such trial.
            ConflictError: it has ended already.
        """
        trial = await self.get(name, trial_id)
        async with self._database.begin() as connection:
            await model_store.get_model(connection, name, lock=True)
            ended = await self._end(connection, trial.trial_id, TrialOutcome.STOPPED, f"stopped by {actor}", actor)
            if ended is not None:
                old, new = messages.trial_message(trial), messages.trial_message(ended)
                await self._outbox.record(connection, _place(trial), before=old, after=new)
        if ended is None:
            raise ConflictError(
                f"trial {trial_id} has already ended: {trial.state.value}",
                hint=f"see its result: countline models trials {name}",
            )
        self._on_change()
        return ended

    async def get(self, name: str, trial_id: str) -> StoredTrial:
        """Return one trial.

        Raises:
            NotFoundError: the model has no such trial.
        """
        trial = await self._database.read(lambda connection: store.get_trial(connection, trial_id))
        if trial is None or trial.name != name:
            raise NotFoundError(
                f"there is no trial {trial_id!r} of {name}", hint=f"list its trials: countline models trials {name}"
            )
        return trial

    async def end_those_of(self, connection: AsyncConnection, name: str, why: str, actor: str) -> None:
        """End the running trials of a model without a verdict: another version is live now."""
        for trial in await store.running_trials(connection):
            if trial.name == name:
                await self._end(connection, trial.trial_id, TrialOutcome.STOPPED, why, actor)

    # Reports and verdicts --------------------------------------------------------------------------------------------

    async def take(self, record_id: str, report: TrialReport) -> None:
        """Store a worker's report, and end the trial if its sums suffice. A duplicate changes nothing."""
        known = await self._database.read(lambda connection: store.get_trial(connection, report.trial_id))
        if known is None:
            return
        async with self._database.begin() as connection:
            # Lock the model first, as every change of a model or its trials does: otherwise two could deadlock.
            model = await model_store.get_model(connection, known.name, lock=True)
            added = model is not None and await store.add_report(connection, record_id, report)
            changed = added and model is not None and await self._judge(connection, model, report.trial_id)
        if changed:
            self._on_change()

    async def _judge(self, connection: AsyncConnection, model: StoredModel, trial_id: str) -> bool:
        """Judge a trial of a locked model; return whether it has ended."""
        trial = await store.get_trial(connection, trial_id)
        if trial is None or trial.state is not TrialOutcome.RUNNING:
            return False
        lines = await store.tallies(connection, trial_id)
        verdict = judge(sum_of(lines.values()), lines, trial.margin, trial.looks)
        if verdict.finding is not TrialFinding.UNDECIDED:
            return await self._conclude(connection, model, trial, verdict)
        if verdict.looks != trial.looks or verdict.sentence != trial.verdict:
            await store.record_look(connection, trial_id, verdict.looks, verdict.sentence)
        return False

    async def _conclude(
        self, connection: AsyncConnection, model: StoredModel, trial: StoredTrial, verdict: TrialVerdict
    ) -> bool:
        """End a trial with a verdict; return False if it was ended meanwhile."""
        accepted = verdict.finding is TrialFinding.EQUAL
        outcome = TrialOutcome.ACCEPTED if accepted else TrialOutcome.REJECTED
        sentence = verdict.sentence
        if not accepted and trial.mode is TrialMode.CANARY:
            sentence += f"; its cameras went back to {ModelRef(trial.name, trial.incumbent)}"
        if await self._end(connection, trial.trial_id, outcome, sentence, SYSTEM) is None:
            return False
        ready = model.live_version == trial.incumbent and trial.challenger in model.served
        if accepted and trial.promote_if_better and ready:
            await self._promote(connection, model, trial.challenger, SYSTEM)
        return True

    async def _end(
        self, connection: AsyncConnection, trial_id: str, outcome: TrialOutcome, verdict: str, actor: str
    ) -> StoredTrial | None:
        ended = await store.end_trial(connection, trial_id, outcome, verdict, to_datetime(time.time()))
        if ended is not None:
            await self._record(connection, "ended", ended, actor)
        return ended

    async def _record(self, connection: AsyncConnection, event: str, trial: StoredTrial, actor: str) -> None:
        """Log a change and add its event to the outbox."""
        _log.info(f"trial.{event}", trial=trial.trial_id, model=trial.name, state=trial.state.value, actor=actor)
        await self._outbox.add(connection, "trial", event, actor, messages.trial_message(trial))

    # Time limits -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """End trials whose time limit has passed, until `stop` is called."""
        while not self._stopping.is_set():
            try:
                await self._end_overdue()
            except Exception as error:  # noqa: BLE001  (the task survives every error; an absent database is not logged)
                if not is_away(error):
                    _log.error("trials.fault", exc_info=error)
            await happens(self._stopping, CHECK_PERIOD_S)

    async def _end_overdue(self) -> None:
        running, now = await self._database.read(store.running_trials), time.time()
        overdue = [trial for trial in running if trial.ends_by is not None and trial.ends_by <= now]
        for trial in overdue:
            why = f"its time was over before enough crossings were counted: {trial.verdict or 'no crossing'}"
            async with self._database.begin() as connection:
                await model_store.get_model(connection, trial.name, lock=True)
                await self._end(connection, trial.trial_id, TrialOutcome.STOPPED, why, SYSTEM)
        if overdue:
            self._on_change()


def _place(trial: StoredTrial) -> str:
    """Return the resource of a trial in the audit."""
    return f"ai-models/{trial.name}/trials/{trial.trial_id}"
