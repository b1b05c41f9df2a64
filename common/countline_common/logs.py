"""Structured logs on standard error: coloured on a terminal, JSON elsewhere, and never with a password.

Camera addresses contain credentials, and exception texts of libraries contain camera addresses. So every string of
every event passes `redact`.
"""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

FORMAT_VARIABLE: Final = "COUNTLINE_LOG_FORMAT"
LEVEL_VARIABLE: Final = "COUNTLINE_LOG_LEVEL"
MASK: Final = "***"

# Greedy up to the last @ before the path: passwords of cameras often contain an unescaped @ or :.
_USER_INFO: Final = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/:@\"']*):(?P<password>[^\s/\"']*)@"
)
_SECRET_PARAMETER: Final = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|api_?key)=)[^\s&\"']+")


def redact(text: str) -> str:
    """The text with passwords in addresses replaced by `***`.

    >>> redact("cannot open rtsp://joe:p@ss@10.0.0.7/live?token=abc")
    'cannot open rtsp://joe:***@10.0.0.7/live?token=***'
    """
    text = _USER_INFO.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    return _SECRET_PARAMETER.sub(rf"\g<key>{MASK}", text)


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    if isinstance(value, BaseException):
        return redact(repr(value))
    return value


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _redact_value(value) for key, value in event.items()}


def _json_wanted(stream: TextIO) -> bool:
    wanted = os.environ.get(FORMAT_VARIABLE)
    return wanted == "json" if wanted else not stream.isatty()


def _renderers(stream: TextIO) -> list[Any]:
    if _json_wanted(stream):
        return [structlog.processors.format_exc_info, _redact_event, structlog.processors.JSONRenderer()]
    return [structlog.processors.format_exc_info, _redact_event, structlog.dev.ConsoleRenderer()]


def configure(process: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        process: name that each event carries, such as `worker`.
        stream: where events go; standard error where None.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping().get(os.environ.get(LEVEL_VARIABLE, "INFO").upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *_renderers(stream)])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events go through `configure`'s chain."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))
