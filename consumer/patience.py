"""Waiting for a server for as long as it takes, with growing, jittered pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from consumer.errors import ServerUnavailable

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_T = TypeVar("_T")


def patiently(
    attempt: Callable[[], _T],
    *,
    sleep: Callable[[float], None],
    on_wait: Callable[[ServerUnavailable, float], None],
    should_stop: Callable[[], bool],
) -> _T:
    """What ``attempt`` answers, tried until its server is there.

    Between attempts ``sleep`` is called with the pause in seconds; before it ``on_wait`` is told of the error and the
    pause.

    Raises:
        ServerUnavailable: told to stop while the server was away.
    """
    try:
        return attempt()
    except ServerUnavailable as error:
        failures = [error]

    def again() -> _T:
        if failures:
            raise failures.pop()
        return attempt()

    def waits(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServerUnavailable) and state.next_action:
            on_wait(error, state.next_action.sleep)

    # Each of these is a knot of reference cycles, so none is made for an attempt that goes well (decision 22).
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ServerUnavailable),
        wait=tenacity.wait_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S)
        + tenacity.wait_random(0, _FIRST_PAUSE_S),
        stop=lambda _: should_stop(),
        sleep=sleep,
        before_sleep=waits,
        reraise=True,
    )
    return attempts(again)
