"""Durable events: the reader of a stream is killed again and again, and gets each event."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consumer.events.record import SourceRecord
from tests.docs.markdown import PROJECT
from tests.e2e.feed import Feed, deposit
from tests.support.redis_cluster import TestCluster
from tests.support.redis_view import Client, eventually

pytestmark = pytest.mark.stack

CHANGES, USERS, KILLS = 5000, 500, 10
STREAM = "cdc:stream:user_updates"


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    file = tmp_path / "mapping.toml"
    file.write_text('extends = "reference"\n[streams]\n')
    return str(file)


class Reader:
    """``demo.stream_reader`` as a process."""

    def __init__(self, url: str, file: Path) -> None:
        self._url, self.file = url, file
        self._run: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "demo.stream_reader", self._url, STREAM, str(self.file)]
        self._run = subprocess.Popen(command, cwd=PROJECT, env={**os.environ})

    def kill(self) -> None:
        assert self._run is not None
        assert self._run.poll() is None, "it ended by itself"
        self._run.send_signal(signal.SIGKILL)
        self._run.wait()

    def has_read(self, count: int) -> bool:
        return len(self.written()) >= count

    def written(self) -> list[str]:
        """The ``event_id`` of each whole line."""
        whole = self.file.read_text().rpartition("\n")[0] if self.file.exists() else ""
        return [json.loads(line)["event_id"] for line in whole.splitlines()]


@contextmanager
def reading(url: str, file: Path) -> Iterator[Reader]:
    reader = Reader(url, file)
    reader.start()
    try:
        yield reader
    finally:
        reader.kill()


def killed_while_it_reads(feed: Feed, client: Client, url: str) -> Reader:
    """Send all changes, and kill the reader whenever it has come some way further."""
    step = CHANGES // (KILLS + 1)
    with feed.running() as process, reading(url, feed.folder / "events.jsonl") as reader:
        for begin in range(0, KILLS * step, step):
            feed.send(*map(change, range(begin, begin + step)))
            # Some of these events are read, and others are not.
            eventually(partial(reader.has_read, begin + 1), 60, "the reader does not read")
            reader.kill()
            reader.start()
        feed.send(*map(change, range(KILLS * step, CHANGES)))
        eventually(partial(reader.has_read, CHANGES), 90, "not every event has come")
        eventually(lambda: pending(client) == 0, 30)
        assert process.running
        assert "Traceback" not in process.said()
    return reader


def change(number: int) -> SourceRecord:
    return deposit(number % USERS + 1, number, wallet_balance=f"{number}.25")


def pending(client: Client) -> int:
    (group,) = client.xinfo_groups(STREAM)
    return int(group["pending"])


def ids_in(client: Client) -> list[str]:
    found: Any = client.xrange(STREAM)
    return [fields["event_id"] for _, fields in found]


def judge(feed: Feed, client: Client, reader: Reader, times: Callable[[int], bool]) -> None:
    """Each change is in the stream, ``times`` times, and in the reader's file once."""
    counts = Counter(ids_in(client))
    assert len(counts) == CHANGES
    assert all(map(times, counts.values())), counts.most_common(3)
    assert Counter(reader.written()) == dict.fromkeys(counts, 1)
    assert feed.letters(feed.dead_letters) == []


def test_a_reader_that_is_killed_ten_times_gets_each_event(feed: Feed, mapping: str) -> None:
    feed = replace(feed, environment={**feed.environment, "CDC_MAPPING": mapping})
    reader = killed_while_it_reads(feed, feed.redis, feed.environment["CDC_REDIS__URL"])
    judge(feed, feed.redis, reader, lambda times: times == 1)


def test_on_a_cluster_too(feed: Feed, mapping: str, cluster: TestCluster) -> None:
    feed = replace(feed, environment={**feed.environment, "CDC_MAPPING": mapping, "CDC_REDIS__URL": cluster.url})
    with cluster.connect() as client:
        client.flushall()
        reader = killed_while_it_reads(feed, client, cluster.url)
        judge(feed, client, reader, lambda times: times >= 1)
