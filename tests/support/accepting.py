"""A server of a test that speaks for itself, where a real one can't be made to say what the test needs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


def accepting(serve: Callable[[socket.socket], None]) -> socket.socket:
    """A listening socket on loopback. Until it is closed, ``serve`` gets each connection in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening


def port_of(listening: socket.socket) -> int:
    """The port of a listening socket."""
    port: int = listening.getsockname()[1]
    return port
