"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP, from threads beside the loop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from consumer.errors import ConfigError
from consumer.settings.sections import Metrics as Settings


class Watched(Protocol):
    """What is served."""

    registry: CollectorRegistry

    def is_alive(self) -> bool:
        """Whether the program should go on, rather than be started anew."""
        ...

    def unready(self) -> str:
        """Why it is not ready, in a few words, or ""."""
        ...


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: one that hangs must not keep the others from their answer."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """A scrape every few seconds is no news."""


def serve(settings: Settings, watched: Watched, is_reachable: Callable[[], bool]) -> Callable[[], None]:
    """Serve until the answered function is called; a port of 0 serves nothing.

    ``is_reachable`` asks Redis, so that an idle program knows too.

    Raises:
        ConfigError: the address can't be listened on.

    """
    if settings.port == 0:
        return lambda: None
    exposition = make_wsgi_app(watched.registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = exposition(environ, start_response)
            return answer
        status, said = "404 Not Found", "not found"
        if path == "/healthz":
            status, said = _status("" if watched.is_alive() else "the loop hangs")
        elif path == "/readyz":
            status, said = _status(watched.unready() or ("" if is_reachable() else "Redis does not answer"))
        start_response(status, [("Content-Type", "text/plain")])
        return [f"{said}\n".encode()]

    try:
        server = make_server(settings.host, settings.port, app, _Server, _Quiet)
    except socket.gaierror:
        raise ConfigError(
            "CDC_METRICS__HOST", f"no such address: {settings.host}", allowed="an address of this machine"
        ) from None
    except OSError as error:
        raise ConfigError(
            "CDC_METRICS__PORT",
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}",
            allowed="a free port, or 0",
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


def _status(problem: str) -> tuple[str, str]:
    return ("503 Service Unavailable", problem) if problem else ("200 OK", "ok")
