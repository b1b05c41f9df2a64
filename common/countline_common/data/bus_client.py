"""The client of NATS: it notices what NATS refuses, which nats-py reports apart from the call that was refused.

NATS answers a refused publish with an error of the connection, and the call itself waits until its time is over. Here
such a call ends at once with `NotPermittedError`. Each refusal is logged once a connection, and the health of the
process shows it.
"""

import asyncio
import contextlib
import json
import re
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.vitality import forget_problem, record_fault, record_problem

ABANDONED_WITHIN_S: Final = 0.5
CHECK_PERIOD_S: Final = 1.0
USER_INFO: Final = "$SYS.REQ.USER.INFO"
"""Subject on which NATS describes the user of a connection."""
USER_INFO_TIMEOUT_S: Final = 2.0
_REFUSAL: Final = re.compile(r'permissions violation for (publish|subscription)[^"]*"([^"]*)"')
_log = get_logger(__name__)


class NotPermittedError(nats.errors.Error):
    """NATS does not permit the user of this connection to publish on a subject."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"NATS does not permit this user to publish on {subject}; see docs/nats.md")
        self.subject = subject


class BusJetStream(JetStreamContext):
    """JetStream over a `BusClient`."""

    def __init__(self, client: "BusClient", **options: Any) -> None:
        super().__init__(client, **options)
        self.client = client


class BusClient(Client):
    """A client that notices refusals, and that NATS closed it for good, as NATS does after a violation of its protocol.

    It looks every second: nats-py does not call `closed_cb` if the socket breaks while the client closes.
    """

    is_new = True
    """Whether it was never connected."""
    part = "bus"
    """Name in the health of the process."""
    _watching: asyncio.Task[None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._refused: dict[str, str] = {}
        self._asking: dict[str, set[asyncio.Timeout]] = {}

    def jetstream(self, **options: Any) -> BusJetStream:
        """Return JetStream over this connection."""
        return BusJetStream(self, **options)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109  (nats-py's own)
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Publish, and wait for the answer.

        Raises:
            NotPermittedError: NATS refuses it.
            nats.errors.Error: no answer.
        """
        key = subject.lower()
        try:
            async with asyncio.timeout(None) as limit:
                self._asking.setdefault(key, set()).add(limit)
                try:
                    answer = await super().request(subject, payload, timeout, old_style, headers)
                finally:
                    self._forget_asking(key, limit)
        except TimeoutError as error:
            if key in self._refused:
                raise NotPermittedError(subject) from error
            raise
        if key in self._refused:  # the permissions were extended meanwhile
            del self._refused[key]
            self._report()
        return answer

    def _forget_asking(self, key: str, limit: asyncio.Timeout) -> None:
        waiting = self._asking.get(key, set())
        waiting.discard(limit)
        if not waiting:
            self._asking.pop(key, None)

    def refused(self, error: Exception) -> bool:
        """Take an error of the connection; return whether it is a refusal."""
        found = _REFUSAL.search(str(error))
        if found is None:
            return False
        action, subject = found.groups()
        if subject not in self._refused:
            self._refused[subject] = action
            _log.error("bus.not_permitted", action=action, subject=redact(subject), hint="see docs/nats.md")
            self._report()
        if action == "publish":
            now = asyncio.get_running_loop().time()
            for limit in self._asking.pop(subject, ()):
                limit.reschedule(now)
        return True

    def forget_refusals(self) -> None:
        """Begin a new connection, whose user may have other permissions."""
        self._refused.clear()
        self._report()

    def _report(self) -> None:
        if not self._refused:
            forget_problem(self.part)
            return
        subject, action = next(iter(self._refused.items()))
        more = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        problem = f"NATS does not permit this user: {action} {redact(subject)}{more}; see docs/nats.md"
        record_problem(self.part, problem)

    async def may_publish(self, subject: str) -> bool:
        """Ask NATS whether this user may publish on a subject. True if NATS cannot say: it is then tried.

        Raises:
            TimeoutError: NATS does not answer.
        """
        try:
            answer = json.loads((await self.request(USER_INFO, timeout=USER_INFO_TIMEOUT_S)).data)
            rights = (answer["data"].get("permissions") or {}).get("publish") or {}
            allowed, denied = rights.get("allow"), rights.get("deny") or ()
            return (allowed is None or _matches(subject, allowed)) and not _matches(subject, denied)
        except TimeoutError:
            raise
        except (nats.errors.Error, OSError, ValueError, LookupError, AttributeError):
            return True

    async def close(self) -> None:
        """Close the connection."""
        if self._watching is not None:
            self._watching.cancel()
        forget_problem(self.part)
        await super().close()

    async def abandon(self) -> None:
        """Close a connection that was never made. asyncio waits for ever for a socket whose TLS handshake failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABANDONED_WITHIN_S):
                await self.close()

    def watch(self) -> None:
        """Record a fault of `part` once NATS has closed the connection for good."""
        self._watching = asyncio.create_task(self._record_loss(), name=f"{self.part} watch")

    async def lost(self) -> None:
        """Wait until the connection is closed for good and, if NATS closed it, the fault is recorded."""
        if self._watching is not None:
            await asyncio.wait({self._watching})

    async def _record_loss(self) -> None:
        while not self.is_closed:  # noqa: ASYNC110  # nats-py has no event that comes for certain
            await asyncio.sleep(CHECK_PERIOD_S)
        reason = redact(str(self.last_error or "NATS closed the connection"))
        _log.error("bus.closed", error=reason)
        record_fault(self.part, reason)


def _matches(subject: str, patterns: list[str] | tuple[str, ...]) -> bool:
    """Whether one of the patterns of NATS, with `*` for a token and `>` for the rest, matches a subject."""
    return any(_matches_one(subject.split("."), pattern.split(".")) for pattern in patterns)


def _matches_one(tokens: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == ">":
        if len(tokens) < len(pattern):
            return False
        pattern = pattern[:-1]
        tokens = tokens[: len(pattern)]
    pairs = zip(tokens, pattern, strict=False)
    return len(tokens) == len(pattern) and all(wanted in ("*", token) for token, wanted in pairs)
