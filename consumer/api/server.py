"""The HTTP server under the health API."""

from __future__ import annotations

import socket

import structlog
import uvicorn

from consumer.api.access import Access
from consumer.api.app import application
from consumer.api.health import Health

_log = structlog.get_logger(__name__)
_LONGEST_STOP_S = 5


def serve(health: Health, access: Access, refreshes_per_minute: int, listener: socket.socket) -> None:
    """Serve on ``listener`` until SIGTERM or SIGINT, whose own handlers are called after that."""
    host, port = listener.getsockname()[:2]
    _log.info("serving", action="api.serving", host=host, port=port)
    # A line in the log for each answer is written by the application.
    settings = uvicorn.Config(
        application(health, access, refreshes_per_minute),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_LONGEST_STOP_S,
    )
    uvicorn.Server(settings).run(sockets=[listener])
    _log.info("stopped", action="api.stopped")
