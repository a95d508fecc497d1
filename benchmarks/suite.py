"""The parts of ``make bench``, each on servers of its own; and how large they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import debezium_server, latency, script_rate, stages, wildcards
from benchmarks.aims import BARE_READ, BARE_SCRIPT, WITH_STREAMS, WITHOUT_STREAMS
from benchmarks.debezium_server import Unavailable
from benchmarks.envelopes import TABLE, changes
from benchmarks.meter import BROKER, CONSUMER, NotDone
from benchmarks.system import (
    CONFLUENT,
    KAFKA_PYTHON,
    PARTITIONS,
    Program,
    System,
    ceiling,
    ours,
    straightforward,
    without,
)

Line = dict[str, Any]
"""One line of a table: its name, and either its numbers or, under ``lacking``, why there are none."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    changes: int
    users: int
    rounds: int
    script_calls: int
    script_rounds: int
    latency_s: float
    rates: Sequence[int]
    keys: Sequence[int]
    by_index: int
    by_scan: int
    workers: Sequence[int]
    debezium: int


FULL = Size(
    changes=300_000,
    users=20_000,
    rounds=3,
    script_calls=50_000,
    script_rounds=3,
    latency_s=20.0,
    rates=(100, 1000, 10_000),
    keys=(1_000, 10_000, 100_000, 1_000_000),
    by_index=20_000,
    by_scan=2_000,
    workers=(1, 2, 3),
    debezium=100_000,
)
QUICK = Size(
    changes=40_000,
    users=4_000,
    rounds=1,
    script_calls=10_000,
    script_rounds=1,
    latency_s=3.0,
    rates=(100, 1000),
    keys=(1_000, 100_000),
    by_index=4_000,
    by_scan=1_000,
    workers=(1, 2),
    debezium=20_000,
)


def throughput(system: System, size: Size) -> Iterator[Line]:
    """A backlog read by each consumer, by clients alone, and the script alone."""
    prefix = system.backlog(changes(size.changes, size.users, PARTITIONS))
    programs = (ours(), ours(CONFLUENT), straightforward(), ceiling(KAFKA_PYTHON), ceiling(CONFLUENT))
    yield from _by_turns(system, programs, prefix, size)
    for client in (KAFKA_PYTHON, CONFLUENT):
        yield _line(BARE_READ[client], partial(_bare_read, system, client, prefix, size.changes), without(client))
    yield _line(BARE_SCRIPT, partial(_script, system, size))


def staged(system: System, _: Size) -> Iterator[Line]:
    """Where a change's processor time goes."""
    for part in (stages.deciding(), stages.carrying_out(system)):
        for name, us in part:
            yield {"name": name, "us": us}


def latencies(system: System, size: Size) -> Iterator[Line]:
    """Each consumer at fixed rates. The ceiling loop shows what this machine allows beside the producer."""
    for program in (ours(), ours(CONFLUENT), straightforward(), ceiling(KAFKA_PYTHON)):
        yield _line(program.name, partial(_at_rates, system, program, size), program.lacking)


def scaling(system: System, size: Size) -> Iterator[Line]:
    """One backlog, and several processes of a group. Joining is over, and no tail has begun, where it counts."""
    prefix = system.backlog(changes(size.changes, size.users, PARTITIONS))
    begin, end = size.changes * 4 // 10, size.changes * 9 // 10
    for program in (ours(), ours(CONFLUENT)):
        for workers in size.workers:
            measure = partial(_drain, system, program, prefix, workers, begin, end)
            yield _line(program.name, measure, program.lacking) | {"workers": workers}


def wildcard_clears(system: System, size: Size) -> Iterator[Line]:
    """By index and by SCAN, as the keys become more."""
    for keys in size.keys:
        yield _line(f"{keys:,} keys", partial(_clears, system, keys, size))


def streams(system: System, size: Size) -> Iterator[Line]:
    """The same backlog without and with streams."""
    prefix = system.backlog(changes(size.changes, size.users, PARTITIONS))
    with tempfile.TemporaryDirectory() as folder:
        mapping = Path(folder) / "streams.toml"
        mapping.write_text('extends = "reference"\n[streams]\n')
        programs = (
            replace(ours(), name=WITHOUT_STREAMS),
            replace(ours(CDC_MAPPING=str(mapping)), name=WITH_STREAMS),
        )
        yield from _by_turns(system, programs, prefix, size)


def debezium(system: System, size: Size) -> Iterator[Line]:
    """The peer for the plain transport."""
    yield _line("Debezium Server", partial(_debezium_server, system, size))


Part = Callable[[System, Size], Iterator[Line]]
PARTS: Mapping[str, Part] = {
    "throughput": throughput,
    "stages": staged,
    "latency": latencies,
    "scaling": scaling,
    "wildcards": wildcard_clears,
    "streams": streams,
    "debezium": debezium,
}
DATABASES: Mapping[str, Sequence[str]] = {"debezium": ("mysql",)}
"""Which databases a part needs."""


def _line(name: str, measure: Callable[[], Mapping[str, Any]], lacking: str = "") -> Line:
    if lacking:
        return {"name": name, "lacking": lacking}
    try:
        return {"name": name, **measure()}
    except Unavailable as error:
        return {"name": name, "lacking": str(error).splitlines()[0]}
    except NotDone as error:
        print(error, file=sys.stderr, flush=True)
        # Only the first line: what a process said is of this machine.
        return {"name": name, "lacking": str(error).splitlines()[0], "failed": True}


def _by_turns(system: System, programs: Sequence[Program], prefix: str, size: Size) -> Iterator[Line]:
    """The rate of each program over one backlog.

    They take turns, because the servers are faster after a while and a shared machine is not always as fast. The run
    with the median rate of each is its line.
    """
    # The inserts, the start of the process, its joining of the group: none of it is what is asked.
    begin = max(size.users, size.changes // 5)
    turns = [
        [
            _line(each.name, partial(_drain, system, each, prefix, 1, begin, size.changes), each.lacking)
            for each in programs
        ]
        for _ in range(size.rounds)
    ]
    yield from map(_median, zip(*turns, strict=True))


def _median(turns: Sequence[Line]) -> Line:
    """The line with the median rate; one without a rate, if there is any."""
    without_rate = [line for line in turns if "per_s" not in line]
    return without_rate[0] if without_rate else sorted(turns, key=lambda line: line["per_s"])[len(turns) // 2]


def _drain(system: System, program: Program, prefix: str, workers: int, begin: int, end: int) -> Mapping[str, Any]:
    return asdict(system.drained(program, prefix, begin, end, workers))


def _at_rates(system: System, program: Program, size: Size) -> Mapping[str, Any]:
    return {"rates": [asdict(each) for each in latency.measure(system, program, size.rates, size.latency_s)]}


def _clears(system: System, keys: int, size: Size) -> Mapping[str, Any]:
    return asdict(wildcards.measure(system, keys, size.by_index, size.by_scan))


def _debezium_server(system: System, size: Size) -> Mapping[str, Any]:
    return asdict(debezium_server.measure(system, size.debezium))


def _script(system: System, size: Size) -> Mapping[str, Any]:
    packed = script_rate.recorded(system, size.script_calls, size.users // 4)
    return asdict(script_rate.rate(system, packed, size.script_rounds))


def _bare_read(system: System, client: str, prefix: str, count: int) -> Mapping[str, Any]:
    """In a process of its own, which says what it took; the broker's share is taken over its whole life."""
    before = system.cpu_s(BROKER)
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.bare_read", client, f"{prefix}.trading.{TABLE}", str(count)],
        env={**os.environ, "CDC_KAFKA__BOOTSTRAP_SERVERS": system.stack.kafka.bootstrap_servers},
        stdout=subprocess.PIPE,
        check=True,
    )
    said = json.loads(ran.stdout)
    broker = (system.cpu_s(BROKER) - before) / count * 1e6
    cpu = {CONSUMER: said["cpu_us"], BROKER: broker}
    return {"per_s": said["per_s"], "cpu_us": cpu, "resident": {CONSUMER: said["resident"]}}
