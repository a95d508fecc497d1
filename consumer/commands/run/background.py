"""Calls a check repeatedly in a thread beside the loop. It neither delays nor ends the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from consumer.observability import log

_log = structlog.get_logger(__name__)
_JOIN_S = 2.0


def every(seconds: float, look: Callable[[], None], name: str, close: Callable[[], None]) -> Callable[[], None]:
    """Call ``look`` now, and again ``seconds`` after each call, until the returned function is called.

    Then ``close`` is called once. Both are called in the thread. The returned function waits a moment for a running
    call. An exception of ``look`` is a bug of this program: it is logged once, and ``look`` is called again.
    """
    stopped = threading.Event()

    def run() -> None:
        is_logged = False
        while not stopped.is_set():
            try:
                look()
            except Exception as error:
                if not is_logged:
                    _log.error(
                        "a check beside the loop failed", action="background.failed", look=name, **log.bug_of(error)
                    )
                is_logged = True
            stopped.wait(seconds)
        close()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join(_JOIN_S)

    return stop
