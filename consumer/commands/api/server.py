"""The HTTP server of the health API."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn
from fastapi import FastAPI

_log = structlog.get_logger(__name__)
_LONGEST_STOP_S = 5


class _Server(uvicorn.Server):
    """Ends when ``stop`` is set. uvicorn's own signal handlers are not used."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], bool]) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; called ten times a second."""
        return await super().on_tick(counter) or self._stop()


def serve(app: FastAPI, listener: socket.socket, stop: Callable[[], bool]) -> None:
    """Serve ``app`` on ``listener`` until ``stop``."""
    host, port = listener.getsockname()[:2]
    _log.info("serving", action="api.serving", host=host, port=port)
    # The application logs a line for each answer.
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_LONGEST_STOP_S,
    )
    _Server(settings, stop).run(sockets=[listener])
    _log.info("stopped", action="api.stopped")
