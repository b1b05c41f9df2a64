"""What a run shows, as an interface; the command line implements it."""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from countline_local.supervision.part import PartEvent, PartStatus


class Display(Protocol):
    """Shows progress and events of a run."""

    def note(self, text: str) -> None:
        """Show a remark, such as a replaced port."""

    def event(self, event: PartEvent) -> None:
        """Show an event of a part."""

    def progress(self, statuses: Callable[[], list[PartStatus]]) -> contextlib.AbstractAsyncContextManager[None]:
        """Show the progress of the parts as long as the context lasts."""

    def ready(self, status: dict[str, Any], *, first_password: str | None) -> None:
        """Show that all parts are ready. `first_password` is given at the first start only."""
