"""Resident memory of ``cdc-consumer run`` over a backlog: ``python -m benchmarks.memory --records 2000000``.

Real servers, started here; changes of many users. Memory is flat if it does not grow with what was read: the
last ratio is that of the median of the last quarter of the samples to that of the second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from kafka import KafkaProducer
from kafka.admin import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.envelopes import TABLE, changes
from tests.support.stack import Stack
from tests.support.stack.port import Ports

TOPIC = f"trading.trading.{TABLE}"
PARTITIONS = 4
FLAT = 1.1
"""So much larger at most is the last quarter of a run than its second: the first is the start."""


@dataclass(frozen=True)
class Sample:
    """Bytes in memory and seconds of CPU after so many seconds and records."""

    seconds: float
    records: int
    resident: int
    cpu_s: float


def main() -> int:
    """Print the samples and the ratio; answers 1 if memory grew or the run came to no end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="how many records lie in Kafka at the start")
    parser.add_argument("--users", type=int, default=50_000, help="of how many users they are")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples")
    options = parser.parse_args()
    with Stack.start((), ("standalone",)) as stack:
        produce(stack, options.records, options.users)
        samples = list(follow(stack, options.records, options.every))
    return report(samples, options.records)


def produce(stack: Stack, count: int, users: int) -> None:
    """The backlog, in a topic of its own."""
    admin = stack.kafka.admin()
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    admin.close()
    started, size = time.monotonic(), 0
    producer = KafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap_servers, acks=1, linger_ms=20, batch_size=500_000, buffer_memory=2**27
    )
    for partition, key, value in changes(count, users, PARTITIONS):
        producer.send(TOPIC, key=key, value=value, partition=partition)
        size += len(value)
    producer.flush()
    producer.close()
    seconds = time.monotonic() - started
    print(f"{count} records of {users} users, {size / count:.0f} bytes each, written in {seconds:.0f} s", flush=True)


def follow(stack: Stack, count: int, every_s: float) -> Iterator[Sample]:
    """Samples of the consumer from its first record on, until it has done all, or does no more."""
    port = Ports().take("metrics")
    settings = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_METRICS__PORT": str(port),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
    command = [str(Path(sys.executable).with_name("cdc-consumer")), "run"]
    with tempfile.TemporaryFile() as log:
        consumer = subprocess.Popen(command, env=clean | settings, stderr=log)
        try:
            started, moved_at, records = time.monotonic(), time.monotonic(), 0
            print("  seconds    records   resident MB", flush=True)
            while records < count and consumer.poll() is None and time.monotonic() - moved_at < 60:
                time.sleep(every_s)
                before, records = records, done(port)
                if records > before:
                    moved_at = time.monotonic()
                if records:
                    process = psutil.Process(consumer.pid)
                    resident, cpu = process.memory_info().rss, process.cpu_times()
                    sample = Sample(time.monotonic() - started, records, resident, cpu.user + cpu.system)
                    print(f"{sample.seconds:9.1f} {records:10} {resident / 2**20:13.1f}", flush=True)
                    yield sample
        finally:
            consumer.terminate()
            consumer.wait()
        if records < count:
            log.seek(0)
            print(log.read()[-2000:].decode())


def done(port: int) -> int:
    """How many records the consumer says it has done; 0 while it does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return int(sum(sample.value for sample in samples if sample.name == "cdc_changes_total"))


def report(samples: list[Sample], count: int) -> int:
    """Print what the samples say; answers the exit code."""
    if len(samples) < 8 or samples[-1].records < count:
        print("not all was done" if samples and samples[-1].records < count else "too few samples: more --records")
        return 1
    quarter = len(samples) // 4
    early = statistics.median(each.resident for each in samples[quarter : 2 * quarter])
    last = statistics.median(each.resident for each in samples[-quarter:])
    records = samples[-1].records - samples[0].records
    rate = records / (samples[-1].seconds - samples[0].seconds)
    cpu_us = (samples[-1].cpu_s - samples[0].cpu_s) / records * 1e6
    print(f"{rate:.0f} records/s, {cpu_us:.0f} us of CPU a record, on {os.cpu_count()} cores")
    print(f"early {early / 2**20:.1f} MB, last {last / 2**20:.1f} MB, ratio {last / early:.3f}")
    print("flat" if last <= FLAT * early else f"NOT FLAT: more than {FLAT}")
    return int(last > FLAT * early)


if __name__ == "__main__":
    sys.exit(main())
