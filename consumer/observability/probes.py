"""HTTP listener for ``/metrics``, ``/healthz`` and ``/readyz``, in threads beside the loop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from consumer.errors import ConfigError
from consumer.settings.sections import Metrics as Settings

_POLL_S = 0.1
"""How long the listener may need to notice that it is to stop."""


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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Does nothing: a port scan, or a client that went away, is no event of this program."""


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

    with listening("CDC_METRICS", settings.host, settings.port, "a free port, or 0"):
        server = make_server(settings.host, settings.port, app, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


@contextmanager
def listening(settings: str, host: str, port: int, allowed: str = "a free port") -> Iterator[None]:
    """Name the setting at fault if the block can't listen. ``settings``: such as ``CDC_API``.

    Raises:
        ConfigError: there is no such address, or the port is not free.
    """
    try:
        yield
    except (socket.gaierror, UnicodeError):
        raise ConfigError(
            f"{settings}__HOST", f"no such address: {host}", allowed="an address of this machine"
        ) from None
    except OSError as error:
        problem = f"can't listen on {host}:{port}: {error.strerror}"
        raise ConfigError(f"{settings}__PORT", problem, allowed=allowed) from None


def _status(problem: str) -> tuple[str, str]:
    return ("503 Service Unavailable", problem) if problem else ("200 OK", "ok")
