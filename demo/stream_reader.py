"""``python -m demo.stream_reader URL STREAM FILE``: reads a stream, and writes each event once to FILE.

An example for a service that must not miss an event. It may be killed at any time, and goes on where it was: Redis
remembers, in the consumer group, which entries it has acknowledged, and FILE says which events it has handled.
``docs/events.md`` has the same in ten lines.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import msgspec
import redis

_COUNT = 100
_BLOCK_MS = 1000
_ABANDONED_MS = 60_000

Entries: TypeAlias = Sequence[tuple[str, dict[str, str] | None]]
"""Ids and fields. Without fields: the stream has removed the entry, because it was too long."""


class Handled:
    """The events that were handled: a line of FILE each, with ``event_id`` and the message.

    A service would write its own result and the ``event_id`` to its database in one transaction.
    """

    def __init__(self, file: Path) -> None:
        file.touch()
        with file.open("rb+") as written:
            whole = written.read().rpartition(b"\n")
            written.truncate(len(whole[0]) + len(whole[1]))  # what was being written when the reader was killed
        self._ids = {str(msgspec.json.decode(line)["event_id"]) for line in whole[0].splitlines()}
        self._file: IO[bytes] = file.open("ab")

    def handle(self, entry: dict[str, str]) -> None:
        """Handle an entry, unless its event was handled before."""
        if entry["event_id"] in self._ids:
            return
        line = {"event_id": entry["event_id"], "message": msgspec.Raw(entry["message"].encode())}
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._ids.add(entry["event_id"])

    def flush(self) -> None:
        """Return when what was handled can't be lost any more."""
        self._file.flush()
        os.fsync(self._file.fileno())


def follow(client: Any, stream: str, group: str, name: str, handled: Handled) -> None:
    """Read without an end, as the member ``name`` of ``group``."""
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    for entries in _batches(client, stream, group, name):
        for _, entry in entries:
            if entry:
                handled.handle(entry)
        handled.flush()
        client.xack(stream, group, *(each for each, _ in entries))


def _batches(client: Any, stream: str, group: str, name: str) -> Iterator[Entries]:
    """First what this member was given and did not acknowledge, then what dead members left, then what is new."""
    while mine := _read(client, stream, group, name, "0"):
        yield mine
    while True:
        _, left, *_ = client.xautoclaim(stream, group, name, min_idle_time=_ABANDONED_MS, count=_COUNT)
        abandoned = [each for each in left if each[0]]  # Redis 6.2 does not name what the stream has removed
        if entries := abandoned or _read(client, stream, group, name, ">"):
            yield entries


def _read(client: Any, stream: str, group: str, name: str, after: str) -> Entries:
    found = client.xreadgroup(group, name, {stream: after}, count=_COUNT, block=_BLOCK_MS)
    return [entry for _, entries in found or () for entry in entries]


def connect(url: str) -> Any:
    """A client of one server, or of a cluster (``redis+cluster://host:port/``)."""
    if url.startswith("redis+cluster:"):
        first = url.replace("redis+cluster:", "redis:", 1).partition(",")[0]
        return redis.RedisCluster.from_url(first, decode_responses=True)
    return redis.Redis.from_url(url, decode_responses=True)


def main() -> None:
    """The command."""
    about = "Reads a stream, and goes on where it was."
    parser = argparse.ArgumentParser(prog="python -m demo.stream_reader", description=about)
    parser.add_argument("url", help="such as redis://localhost:6379/0")
    parser.add_argument("stream", help="such as cdc:stream:user_updates")
    parser.add_argument("file", type=Path, help="gets one JSON line for each event")
    parser.add_argument("--group", default="demo", help="readers of one group share the events")
    parser.add_argument("--name", default="reader-1", help="the name of this reader in its group")
    given = parser.parse_args()
    with connect(given.url) as client:
        follow(client, given.stream, given.group, given.name, Handled(given.file))


if __name__ == "__main__":
    main()
