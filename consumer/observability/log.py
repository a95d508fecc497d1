"""Log lines: each has an ``action``; as JSON or for a console, on stderr. They never contain row values."""

from __future__ import annotations

import logging
import sys
from traceback import walk_tb
from types import FrameType

import structlog
from structlog.typing import EventDict

from consumer.settings.sections import Log

_FRAMES = 6


class _Stderr:
    """Writes to what is the standard error now: a logger may live longer than the stream of its first line."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        # In one write: workers share the stream, and print() writes the line's end by itself if it is unbuffered.
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def configure(settings: Log, **always: object) -> None:
    """Set up structlog and the standard library's logging for this process; each line contains ``always``."""

    def with_always(_: object, __: str, event: EventDict) -> EventDict:
        return {**always, **event}

    level = getattr(logging, settings.level.upper())
    is_console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if is_console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            with_always,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Stderr,
        cache_logger_on_first_use=True,
    )
    # The Kafka client logs each failed connection attempt; this program logs lost connections itself.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    # OpenTelemetry logs each batch of spans that can't be sent; this program logs that itself.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


def bug_of(error: BaseException) -> dict[str, str]:
    """For the log: the type of an error, and where in the code it arose, the innermost place first.

    The error's own text may contain anything, so it is not part of it.
    """
    frames = [f"{_module(frame)}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return {"error": type(error).__name__, "where": " < ".join(frames[: -_FRAMES - 1 : -1])}


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))
