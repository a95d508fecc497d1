"""One look after the other in a thread beside the loop, which it neither delays nor ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)
_LEAVE_S = 2.0


def every(seconds: float, look: Callable[[], None], name: str, close: Callable[[], None]) -> Callable[[], None]:
    """Call ``look`` now and ``seconds`` after each end, until the answered function is called; then ``close``, once.

    Both are called in the thread. The answered function waits a moment for a look under way. An exception of ``look``
    is a mistake of this program: it is told once, and the next look is made.
    """
    stopped = threading.Event()

    def run() -> None:
        is_told = False
        while not stopped.is_set():
            try:
                look()
            except Exception as error:
                if not is_told:
                    _log.exception(
                        "a look beside the loop failed",
                        action="background.failed",
                        look=name,
                        error=type(error).__name__,
                    )
                is_told = True
            stopped.wait(seconds)
        close()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join(_LEAVE_S)

    return stop
