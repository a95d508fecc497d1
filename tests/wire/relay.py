"""A port that passes connections on to a server, while it is open; else it refuses them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Listens at ``port`` only inside :meth:`open`."""

    def __init__(self, port: int, host: str, behind: int) -> None:
        self._port = port
        self._behind = (host, behind)
        self._passed: list[socket.socket] = []
        self.address = f"127.0.0.1:{port}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Connections are passed on until the end of the block, and cut then."""
        with socket.create_server(("127.0.0.1", self._port)) as server:
            server.settimeout(0.05)
            is_over = threading.Event()
            thread = threading.Thread(target=self._serve, args=(server, is_over), daemon=True)
            thread.start()
            try:
                yield
            finally:
                is_over.set()
                thread.join()
                while self._passed:
                    with suppress(OSError):
                        self._passed.pop().shutdown(socket.SHUT_RDWR)

    def _serve(self, server: socket.socket, is_over: threading.Event) -> None:
        while not is_over.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            inner = socket.create_connection(self._behind)
            self._passed += client, inner
            threading.Thread(target=_copy, args=(client, inner), daemon=True).start()
            threading.Thread(target=_copy, args=(inner, client), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Until ``one`` says no more; then ``other`` is told so."""
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    finally:
        one.close()
