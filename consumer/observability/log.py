"""Log lines: each has an ``action``; as JSON or for a console, on stderr. They never contain row values."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict

from consumer.settings.sections import Log


class _Stderr:
    """Writes to what is the standard error now: a logger may live longer than the stream of its first line."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints log lines

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
