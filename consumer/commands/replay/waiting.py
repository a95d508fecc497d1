"""How a replay waits for a server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from consumer.commands.replay.work import Interrupted
from consumer.errors import ServerUnavailable
from consumer.pipeline.retry import retry

_log = structlog.get_logger(__name__)
_DRY_WAIT_S = 10.0
_T = TypeVar("_T")


def retried(attempt: Callable[[], _T], should_stop: Callable[[], bool], *, is_dry: bool = False) -> _T:
    """Call ``attempt`` until its server is available, and answer its result.

    Raises:
        Interrupted: told to stop while the server is away.
        ServerUnavailable: the server stays away, and this is a dry run.
    """
    try:
        return retry(attempt, sleep=short_sleep, on_wait=_log_wait, should_stop=_limited(should_stop, is_dry=is_dry))
    except ServerUnavailable as error:
        if should_stop():
            raise Interrupted from None
        problem = f"{error.problem}; a dry run waits only {_DRY_WAIT_S:g} s"
        raise ServerUnavailable(error.server, problem, error.advice, error.cause) from None


def _limited(should_stop: Callable[[], bool], *, is_dry: bool) -> Callable[[], bool]:
    """When to stop waiting for a server: a dry run gives up after some seconds, as it leaves nothing unfinished."""
    until = time.monotonic() + _DRY_WAIT_S
    return lambda: should_stop() or (is_dry and time.monotonic() > until)


def _log_wait(error: ServerUnavailable, seconds: float) -> None:
    """Log that a server is waited for."""
    _log.warning("waiting for a server", action="replay.waiting", error=str(error), again_in_s=round(seconds, 1))


def log_silence(seconds: float) -> None:
    """Log that Kafka is waited for; its client retries by itself."""
    _log.warning("waiting for a server", action="replay.waiting", error=f"Kafka: no record came for {seconds:.0f} s")


def short_sleep(seconds: float) -> None:
    """Sleep for at most one second, so that a stop is noticed soon."""
    time.sleep(min(seconds, 1.0))
