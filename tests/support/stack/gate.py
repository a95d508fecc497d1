"""One address in front of a server: a relay that can be shut, led to another server, and can break connections.

A connector that reads a database through it keeps its address over a failover.

Consumers that reach Redis through it alone let a test count messages. Pub/Sub keeps nothing for a subscriber that is
away, so when Redis goes down and comes back, whatever the consumers publish before the test's listener has subscribed
again could not be counted. The gate is shut before Redis ends and opened when the listener is back. The program still
sees connections that break at any byte, refused connections, and answers that never come. Not tested is only what
nobody could see: Redis dying between keeping a message's change and handing the message out.

The servers of one service reach each other through the gates too, because they know the addresses that consumers are
given. They come from another address (``bind-source-addr``), so a gate can be shut for them alone.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

_CHUNK = 65536
_FULL_PAUSE_S = 0.01
_RESET = struct.pack("ii", 1, 0)
SERVERS_HOST = "127.0.0.2"


class Gate:
    """Listens at ``address`` and passes connections on to a server, while it is open."""

    def __init__(self, host: str, port: int, *, at: int = 0) -> None:
        """``host`` and ``port`` are the server's; the gate listens at port ``at`` of the same host, or a free one."""
        self.host = host
        self._behind = (host, port)
        # By whether the client is a server, from SERVERS_HOST.
        self._is_open = {False: True, True: True}
        self._replies_to_cut = 0
        self._count: Callable[[], int] | None = None
        self._left: dict[tuple[socket.socket, socket.socket], int] = {}
        self.broken = 0
        """How many connections :meth:`break_after` has broken."""
        self._pairs: dict[tuple[socket.socket, socket.socket], bool] = {}
        self._lock = threading.Lock()
        self._server = socket.create_server((host, at))
        self.port = self._server.getsockname()[1]
        self.address = f"{host}:{self.port}"
        threading.Thread(target=self._accept, name="gate", daemon=True).start()

    def shut(self, *, for_servers: bool = False) -> set[str]:
        """Break all connections and refuse new ones; from then on not one byte more is sent to the server.

        ``for_servers``: those from :data:`SERVERS_HOST`, else those from elsewhere. What had been sent may still wait
        there to be read: the answer are the addresses of the broken connections, as the server knows them.
        """
        with self._lock:
            self._is_open[for_servers] = False
            pairs = [pair for pair, is_server in self._pairs.items() if is_server == for_servers]
            addresses = {"{}:{}".format(*inner.getsockname()) for _, inner in pairs}
        for pair in pairs:
            self._break(*pair)
        return addresses

    def open(self, *, for_servers: bool = False) -> None:
        with self._lock:
            self._is_open[for_servers] = True

    def lead_to(self, host: str, port: int, *, are_cut: bool = True) -> None:
        """Break all connections; new ones go to another server, if the gate is open.

        ``are_cut``: if false, no connection breaks, and the old ones stay at the old server, as behind a virtual IP.
        """
        with self._lock:
            self._behind = (host, port)
            pairs = list(self._pairs) if are_cut else []
        for pair in pairs:
            self._break(*pair)

    def cut_replies(self, count: int) -> None:
        """Of the next replies so many end in the middle, and their connections with them: applied, but who knows."""
        with self._lock:
            self._replies_to_cut = count

    def break_after(self, count: Callable[[], int] | None) -> None:
        """Reset each connection when so many bytes as ``count`` says have passed, in both directions together.

        It is called for each connection, those that are there and new ones, but not for those from
        :data:`SERVERS_HOST`. None: connections last again.
        """
        with self._lock:
            self._count = count
            self._left.clear()
            for pair in self._pairs:
                self._limit(*pair)

    def close(self) -> None:
        for for_servers in (False, True):
            self.shut(for_servers=for_servers)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, (host, _) = self._server.accept()
            except OSError:
                return
            try:
                self._connect(client, host == SERVERS_HOST)
            except OSError:
                _end(client)

    def _connect(self, client: socket.socket, is_server: bool) -> None:
        with self._lock:  # the server is on this machine: it is connected to at once, or not at all
            if not self._is_open[is_server]:
                raise ConnectionRefusedError
            pair = (client, socket.create_connection(self._behind))
            self._pairs[pair] = is_server
            self._limit(*pair)
        for copy in (self._ask, self._answer):
            threading.Thread(target=copy, args=(*pair, is_server), daemon=True).start()

    def _ask(self, client: socket.socket, inner: socket.socket, is_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_CHUNK):
                data, is_last = self._until_the_break(client, inner, data)
                if not self._pass_on(inner, data, is_server) or is_last:
                    break
        self._break(client, inner)

    def _answer(self, client: socket.socket, inner: socket.socket, is_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := inner.recv(_CHUNK):
                if not is_server and self._is_cut():
                    self._pass_on(client, data[: len(data) // 2], is_server)
                    break
                data, is_last = self._until_the_break(client, inner, data)
                if not self._pass_on(client, data, is_server) or is_last:
                    break
        self._break(client, inner)

    def _pass_on(self, end: socket.socket, data: bytes, is_server: bool) -> bool:
        """Under the lock, so that a shut gate has nothing under way. An end that hangs must not hold the lock.

        Nor may a thread wait in a call for that end: :func:`_end` would not wake it.
        """
        view = memoryview(data)
        while view:
            with self._lock:
                if not self._is_open[is_server]:
                    return False
                try:
                    view = view[end.send(view, socket.MSG_DONTWAIT) :]
                    continue
                except BlockingIOError:
                    pass
            time.sleep(_FULL_PAUSE_S)
        return True

    def _is_cut(self) -> bool:
        with self._lock:
            if not self._replies_to_cut:
                return False
            self._replies_to_cut -= 1
            return True

    def _limit(self, client: socket.socket, inner: socket.socket) -> None:
        """Under the lock."""
        if self._count is not None and not self._pairs[client, inner]:
            self._left[client, inner] = self._count()

    def _until_the_break(self, client: socket.socket, inner: socket.socket, data: bytes) -> tuple[bytes, bool]:
        """What of ``data`` may still pass, and whether the connection breaks then."""
        with self._lock:
            left = self._left.get((client, inner))
            if left is None:
                return data, False
            self._left[client, inner] = max(left - len(data), 0)
            return data[:left], left <= len(data)

    def _break(self, client: socket.socket, inner: socket.socket) -> None:
        with self._lock:
            if self._pairs.pop((client, inner), None) is None:
                return
            is_reset = self._left.pop((client, inner), None) == 0
            self.broken += is_reset
        for each in (client, inner):
            _end(each, is_reset=is_reset)


def _end(end: socket.socket, *, is_reset: bool = False) -> None:
    """Close at once: what waits in the buffers is lost. Wakes who reads from it.

    The other side reads the end of the connection, or with ``is_reset`` an error.
    """
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Both directions: before the reset, the other side is told that the connection has ended.
        end.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)
    end.close()
