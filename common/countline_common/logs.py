"""Structured logs on standard error: coloured on a terminal, JSON elsewhere, and never with a password.

Camera addresses contain credentials, and exception texts of libraries contain camera addresses. So every value of
every event passes `redact`, and is cut at a limit.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from itertools import islice
from typing import Any, Final, TextIO, cast

import structlog

from countline_common.redaction import redact

FORMAT_VARIABLE: Final = "COUNTLINE_LOG_FORMAT"
LEVEL_VARIABLE: Final = "COUNTLINE_LOG_LEVEL"
LONGEST_TEXT: Final = 4_000
"""Characters of one value of an event; callers can send long ids."""
LONGEST_TRACE: Final = 30_000
"""Characters of a traceback."""
MOST_ITEMS: Final = 200
"""Items of a list or a mapping in an event."""


def bounded(text: str, limit: int = LONGEST_TEXT) -> str:
    """The text; if it is longer than the limit, its beginning and its end."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}…({len(text)} characters)…{text[-half:]}"


def _safe_value(value: Any, limit: int = LONGEST_TEXT) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _safe_value(item) for key, item in islice(value.items(), MOST_ITEMS)}
    if isinstance(value, list | tuple):
        return [_safe_value(item) for item in value[:MOST_ITEMS]]
    # Redacted before it is cut: a cut address could lose the sign by which its secret is found.
    return bounded(redact(value if isinstance(value, str) else repr(value)), limit)


def _safe_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    limits = {"exception": LONGEST_TRACE, "stack": LONGEST_TRACE}
    return {key: _safe_value(value, limits.get(key, LONGEST_TEXT)) for key, value in event.items()}


def _json_wanted(stream: TextIO) -> bool:
    wanted = os.environ.get(FORMAT_VARIABLE)
    return wanted == "json" if wanted else not stream.isatty()


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(renderer: Any) -> logging.Formatter:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    steps = [remove_meta, structlog.processors.format_exc_info, _safe_event, renderer]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=steps)


def json_formatter() -> logging.Formatter:
    """Return a formatter that makes one line of JSON of each event, without secrets."""
    return _formatter(structlog.processors.JSONRenderer())


def configure(process: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        process: name that each event carries, such as `worker`.
        stream: where events go; standard error where None.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping().get(os.environ.get(LEVEL_VARIABLE, "INFO").upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(json_formatter() if _json_wanted(stream) else _formatter(structlog.dev.ConsoleRenderer()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events go through `configure`'s chain."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))
