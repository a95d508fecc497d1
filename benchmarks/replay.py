"""How fast a log is folded, and what that takes: ``python -m benchmarks.replay [--users N] [--memory 512M]``.

Without a broker: envelopes as Debezium writes them (about 1.5 KB) are handed to the fold as the client would hand them
out, so that what is measured is this program. ``--kafka`` reads them from a broker (``CDC_KAFKA__BOOTSTRAP_SERVERS``).
``--write`` writes the users to a Redis (``CDC_REDIS__URL``) instead of only planning them; it should be empty.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.envelopes import TABLE, update
from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.commands.replay.store import MemoryLimit
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.work import Wanted
from consumer.commands.replay.writer import Writer
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.settings.sections import Kafka
from consumer.settings.sources import load
from consumer.source.bounds import Beginning, End, parse_size
from consumer.source.range_reader import read, resolve

TOPIC = f"bench.trading.{TABLE}"


def records(events: int, users: int, partition: int) -> Iterator[list[SourceRecord]]:
    """In the poll's portions, made ahead of time so that their making does not count."""
    for first in range(0, events, 2000):
        yield [
            SourceRecord(TOPIC, partition, at, 0, b'{"id":%d}' % (at % users), update(at, at % users))
            for at in range(first, min(first + 2000, events))
        ]


def fold(
    number: int, events: int, users: int, memory: int, is_kafka: bool, is_written: bool
) -> tuple[float, float, float, int]:
    """Seconds of the fold and of the plans of all users, the most memory in MB, and how many plans."""
    rules = reference()
    budget = MemoryLimit(memory)
    folded = PartitionFold(number, {TOPIC: ("live_users",)}, Folding(rules), budget.store)
    spent = 0.0
    if is_kafka:
        settings: Kafka = load().kafka
        spans = [span for span in resolve(settings, [TOPIC], Beginning(), End()) if span.partition == number]
        began = time.perf_counter()
        for _, portion, _ in read(settings, spans):
            folded.add(TOPIC, portion)
        spent = time.perf_counter() - began
    else:
        for portion in records(events, users, number):
            began = time.perf_counter()
            folded.add(TOPIC, portion)
            spent += time.perf_counter() - began
    began = time.perf_counter()
    count = written(folded) if is_written else sum(1 for _ in folded.plans())
    planned = time.perf_counter() - began
    budget.close()
    return spent, planned, most_resident() / 2**20, count


def written(folded: PartitionFold) -> int:
    """How many users were written to Redis."""
    summary = Summary()
    with closing(Writer(load(), reference(), Wanted((), is_rebuild=True, is_dry=False), lambda: False)) as writer:
        writer.reach()
        writer.write_users(folded.plans(), summary)
    return sum(summary.counts.values())


def most_resident() -> int:
    """Bytes. What ``getrusage`` answers is at least what the parent had when this process was started."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def fill(events: int, users: int, workers: int) -> None:
    """Write the topic of the benchmark, a partition for each worker."""
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic

    servers = load().kafka.bootstrap_servers
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(TOPIC, workers, 1)])
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=20, batch_size=2**18)
    for number in range(workers):
        for portion in records(events, users, number):
            for record in portion:
                producer.send(TOPIC, key=record.key, value=record.value, partition=number)
    producer.flush()
    producer.close()
    admin.close()


def main() -> None:
    """Print one line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="of each worker")
    parser.add_argument("--users", type=int, default=20_000, help="of each worker")
    parser.add_argument("--memory", default="256M", help="for the fold of each worker")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--kafka", action="store_true", help="from a broker, where the topic must not be there yet")
    parser.add_argument("--write", action="store_true", help="write the users to a Redis, which should be empty")
    asked = parser.parse_args()
    size = parse_size(asked.memory, "--memory")
    print(f"an envelope of {len(update(7, 8)):,} bytes, {asked.events:,} of each worker for {asked.users:,} users")
    if asked.kafka:
        fill(asked.events, asked.users, max(asked.workers))
    for workers in asked.workers:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            jobs = [(number, asked.events, asked.users, size, asked.kafka, asked.write) for number in range(workers)]
            found = pool.starmap(fold, jobs)
        rate = sum(asked.events / spent for spent, _, _, _ in found)
        plans = sum(count / planned for _, planned, _, count in found)
        how = "written" if asked.write else "planned"
        print(
            f"{workers} workers: {rate:,.0f} events/s folded, {plans:,.0f} users/s {how},"
            f" at most {max(most for _, _, most, _ in found):,.0f} MB each"
        )


if __name__ == "__main__":
    main()
