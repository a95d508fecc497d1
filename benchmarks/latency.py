"""From the append in Kafka to the message from Redis, at fixed rates.

The broker stamps each record as it appends it (LogAppendTime, whole milliseconds: up to one too much is measured); a
subscriber in this process takes the time at which the change's message arrives. All clocks are this machine's. Who
hears the message finds the keys written: both consumers publish last.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import hiredis
import redis

from benchmarks.distribution import curve, quantile
from benchmarks.envelopes import TABLE, changes
from benchmarks.meter import NotDone, emptied
from benchmarks.system import PARTITIONS, Program, System

_USERS = 1000
_WARM_UP_S = 1.0
_LATE_S = 60.0
_CHANNEL = "balance_updates"


@dataclass(frozen=True)
class Latency:
    """Milliseconds at one rate, and their distribution."""

    per_s: int
    changes: int
    median: float
    p99: float
    most: float
    curve: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, per_s: int, times: Sequence[float]) -> Latency:
        """What the single times come to."""
        return cls(per_s, len(times), quantile(times, 0.5), quantile(times, 0.99), max(times), curve(times))


class _Subscriber:
    """When each balance was heard, in seconds since 1970. It reads its socket itself, to take little of the machine."""

    def __init__(self, client: redis.Redis) -> None:
        self.heard: list[tuple[float, bytes]] = []
        settings = client.connection_pool.connection_kwargs
        self._socket = socket.create_connection((settings["host"], settings["port"]))
        self._socket.sendall(b"SUBSCRIBE %s\r\n" % _CHANNEL.encode())
        self._reader = hiredis.Reader()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(262_144):
            at = time.time()
            self._reader.feed(data)
            while (found := self._reader.gets()) is not False:
                if found[0] == b"message":
                    self.heard.append((at, found[2]))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def by_number(self) -> dict[int, float]:
        """By the number of the change, which is its balance."""
        balances = ((at, json.loads(text)["updated_fields"]["wallet_balance"]) for at, text in self.heard)
        return {int(balance.partition(".")[0]): at for at, balance in balances}


@contextmanager
def _listening(client: redis.Redis) -> Iterator[_Subscriber]:
    subscriber = _Subscriber(client)
    gc.disable()  # what is heard is kept; looking through it would be measured as the consumer's
    try:
        yield subscriber
    finally:
        gc.enable()
        subscriber.close()


def measure(system: System, program: Program, rates: Sequence[int], seconds: float) -> list[Latency]:
    """One process of ``program``, at each rate for so long.

    Raises:
        NotDone: messages are missing.

    """
    config = {"message.timestamp.type": "LogAppendTime"}
    prefix = system.backlog(changes(_USERS, _USERS, PARTITIONS), config=config)
    emptied(system.redis)
    found, first = [], _USERS
    with system.running(program, prefix) as running:
        system.meter(running).wait(_USERS)
        for per_s in rates:
            with _listening(system.redis) as subscriber:
                appended = _pace(system, prefix, per_s, _WARM_UP_S + seconds, first)
                _wait(subscriber, len(appended))
            times = _times(appended, subscriber.by_number(), int(per_s * _WARM_UP_S))
            found.append(Latency.of(per_s, times))
            first += len(appended)
    return found


def _pace(system: System, prefix: str, per_s: int, seconds: float, first: int) -> Mapping[int, float]:
    arguments = [f"{prefix}.trading.{TABLE}", str(per_s), str(seconds), str(_USERS), str(first)]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.pacer", *arguments],
        env={**os.environ, "CDC_KAFKA__BOOTSTRAP_SERVERS": system.stack.kafka.bootstrap_servers},
        stdout=subprocess.PIPE,
        check=True,
    )
    return {int(number): at / 1000 for number, at in json.loads(ran.stdout).items()}


def _wait(subscriber: _Subscriber, count: int) -> None:
    deadline = time.monotonic() + _LATE_S
    while len(subscriber.heard) < count:
        if time.monotonic() > deadline:
            raise NotDone(f"{len(subscriber.heard)} of {count} messages were heard")
        time.sleep(0.05)


def _times(appended: Mapping[int, float], heard: Mapping[int, float], skipped: int) -> list[float]:
    """Milliseconds, without the first ``skipped`` changes."""
    return [(heard[number] - at) * 1000 for number, at in sorted(appended.items())[skipped:]]
