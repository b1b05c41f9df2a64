"""Access that ended before its token expires. Pure; `data/revocation_feed` fills it from events of auth.

A check of a token needs no lookup. So each service keeps what has ended lately: sessions, and users whose access
changed. An entry is needed only as long as a token that was issued before can live.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

KEPT_S: Final = 400.0
"""The life of an access token (`ACCESS_LIFETIME_S` of auth), the difference of clocks, and a margin."""


AWAY: Final = "no connection to NATS, so logins that ended elsewhere work until their tokens expire, at most 5 minutes"


class Revocations:
    """What has ended lately.

    Args:
        clock: returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.is_followed = False
        """Whether the events that end access arrive now."""
        self._revisions: dict[str, int] = {}
        self._sessions: set[str] = set()
        self._entries: deque[tuple[float, str, str]] = deque()
        """End of each entry with its user and session, in the order of ends."""

    @property
    def problem(self) -> str:
        """What does not work now; empty if everything works."""
        return "" if self.is_followed else AWAY

    def end(self, user_id: str, access_revision: int, session_ids: Iterable[str]) -> None:
        """Refuse tokens of sessions, and tokens of a user that are older than a revision; 0 for none of them."""
        self._forget()
        until = self._clock() + KEPT_S
        if access_revision:
            self._revisions[user_id] = max(access_revision, self._revisions.get(user_id, 0))
            self._entries.append((until, user_id, ""))
        for session_id in session_ids:
            self._sessions.add(session_id)
            self._entries.append((until, "", session_id))

    def refuses(self, user_id: str, access_revision: int, session_id: str) -> bool:
        """Whether the access of a token has ended."""
        return session_id in self._sessions or access_revision < self._revisions.get(user_id, 0)

    def _forget(self) -> None:
        now = self._clock()
        while self._entries and self._entries[0][0] <= now:
            _, user_id, session_id = self._entries.popleft()
            self._sessions.discard(session_id)
            if user_id and all(user_id != later for _, later, _ in self._entries):
                del self._revisions[user_id]
