"""The script alone: what Redis gives at most for this program's own calls.

The calls are those of a real ``cdc-consumer run``, taken down on their way to Redis. Packed already, they are sent
again to an empty server, two batches in flight, so that nothing is left to do but Redis' work.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import hiredis

from benchmarks.envelopes import changes
from benchmarks.meter import REDIS, Meter, Rate, calls, emptied
from benchmarks.system import System, ours

_BATCH = 500
_CALLS = (b"FCALL", b"EVALSHA")
_OFFSETS = frozenset((b"advance", b"remember"))
"""Calls that store offsets have one of these words."""


class Tee:
    """Stands between a client and a server, and keeps what clients say, by connection."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._said: list[list[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def commands(self) -> list[list[bytes]]:
        """The commands heard so far, of one connection after the other."""
        found = []
        for said in self._said:
            reader = hiredis.Reader()
            for piece in said:
                reader.feed(piece)
            while (command := reader.gets()) is not False:
                found.append(command)
        return found

    def close(self) -> None:
        """Take no more connections; those there are end with their clients."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            said: list[bytes] = []
            self._said.append(said)
            for source, target, kept in ((client, server, said), (server, client, None)):
                threading.Thread(target=_carry, args=(source, target, kept), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, kept: list[bytes] | None) -> None:
    try:
        while piece := source.recv(65536):
            if kept is not None:
                kept.append(piece)
            target.sendall(piece)
    except OSError:
        pass  # one of the two is gone
    finally:
        for each in (source, target):
            each.close()


def recorded(system: System, count: int, users: int) -> list[bytes]:
    """The packed script calls of ``count`` changes."""
    prefix = system.backlog(changes(count, users, 1), partitions=1)
    emptied(system.redis)
    redis = system.stack.redis
    tee = Tee((redis.host, redis.port))
    try:
        with system.running(ours(), prefix, CDC_REDIS__URL=tee.url) as running:
            system.meter(running).rate(1, count)
    finally:
        tee.close()
    pack = hiredis.pack_command
    return [pack(tuple(each)) for each in tee.commands() if each[0] in _CALLS and _OFFSETS.isdisjoint(each)]  # type: ignore[arg-type]


def rate(system: System, packed: Sequence[bytes], rounds: int) -> Rate:
    """The best of several rounds, each on an empty server."""
    return max((_round(system, packed) for _ in range(rounds)), key=lambda each: each.per_s)


def _round(system: System, packed: Sequence[bytes]) -> Rate:
    emptied(system.redis)
    redis = system.stack.redis
    sending = threading.Thread(target=_send, args=((redis.host, redis.port), packed))
    meter = Meter({REDIS: system.servers[REDIS]}, lambda: calls(system.redis, "set"))
    sending.start()
    try:
        return meter.rate(len(packed) // 10, len(packed))
    finally:
        sending.join()


def _send(address: tuple[str, int], packed: Sequence[bytes]) -> None:
    batches = [packed[at : at + _BATCH] for at in range(0, len(packed), _BATCH)]
    with socket.create_connection(address) as connection:
        reader, owed = hiredis.Reader(), 0
        for batch in batches:
            connection.sendall(b"".join(batch))
            owed += len(batch)
            while owed > _BATCH:
                owed -= _read(connection, reader)
        while owed:
            owed -= _read(connection, reader)


def _read(connection: socket.socket, reader: hiredis.Reader) -> int:
    reader.feed(connection.recv(65536))
    count = 0
    while (reply := reader.gets()) is not False:
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        count += 1
    return count
