"""Access that ended before its token expires. Pure; `data/revocation_feed` fills it from events of auth.

A check of a token needs no lookup. So each service keeps what has ended lately: sessions, and users whose access
changed. An entry is needed only as long as a token that was issued before can live.
"""

import time
from collections import OrderedDict
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
        self._revisions: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Lowest revision that is accepted from each user, with the end of the entry, in the order of ends."""
        self._sessions: OrderedDict[str, float] = OrderedDict()
        """End of the entry of each session, in the order of ends."""

    @property
    def problem(self) -> str:
        """What does not work now; empty if everything works."""
        return "" if self.is_followed else AWAY

    def end(self, user_id: str, access_revision: int, session_ids: Iterable[str]) -> None:
        """Refuse tokens of sessions, and tokens of a user that are older than a revision; 0 for none of them."""
        self._forget()
        until = self._clock() + KEPT_S
        if access_revision:
            known, _ = self._revisions.pop(user_id, (0, 0.0))
            self._revisions[user_id] = (max(access_revision, known), until)
        for session_id in session_ids:
            self._sessions[session_id] = until
            self._sessions.move_to_end(session_id)

    def refuses(self, user_id: str, access_revision: int, session_id: str) -> bool:
        """Whether the access of a token has ended."""
        lowest, _ = self._revisions.get(user_id, (0, 0.0))
        return session_id in self._sessions or access_revision < lowest

    def _forget(self) -> None:
        """Delete the entries whose time is over. They are the first of each dict, so each entry costs one step."""
        now = self._clock()
        while self._revisions and next(iter(self._revisions.values()))[1] <= now:
            self._revisions.popitem(last=False)
        while self._sessions and next(iter(self._sessions.values())) <= now:
            self._sessions.popitem(last=False)
