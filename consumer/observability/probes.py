"""HTTP listener for ``/metrics``, ``/healthz`` and ``/readyz``, in threads beside the loop."""

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
    """The metrics and probe states to serve."""

    registry: CollectorRegistry

    def is_alive(self) -> bool:
        """Whether the program works; if not, it should be restarted."""
        ...

    def unready(self) -> str:
        """Why the program is not ready, in a few words, or ""."""
        ...


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each request, so that a hanging request does not block others."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """Does nothing: regular scrapes need no log lines."""


def serve(settings: Settings, watched: Watched, is_reachable: Callable[[], bool]) -> Callable[[], None]:
    """Serve until the returned function is called; with port 0 nothing is served.

    ``is_reachable`` asks Redis, so that an idle program notices an outage too.

    Raises:
        ConfigError: the program can't listen on the address.

    """
    if settings.port == 0:
        return lambda: None
    exposition = make_wsgi_app(watched.registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = exposition(environ, start_response)
            return answer
        status, text = "404 Not Found", "not found"
        if path == "/healthz":
            status, text = _status("" if watched.is_alive() else "the loop hangs")
        elif path == "/readyz":
            status, text = _status(watched.unready() or ("" if is_reachable() else "Redis does not answer"))
        start_response(status, [("Content-Type", "text/plain")])
        return [f"{text}\n".encode()]

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
