"""How fast a log is folded, and what that takes: ``python -m benchmarks.replay [--users N] [--memory 512M]``.

Without a broker: envelopes as Debezium writes them (about 1.5 KB) are handed to the fold as the client would hand them
out, so that what is measured is this program. ``--kafka`` reads them from a broker (``CDC_KAFKA__BOOTSTRAP_SERVERS``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from consumer.config import load
from consumer.reference import reference
from consumer.replay.bounds import Beginning, End, parse_size
from consumer.replay.partition import Folding, PartitionFold
from consumer.replay.reader import read, resolve
from consumer.replay.store import Budget
from consumer.sections import Kafka

TOPIC = "bench.trading.live_users"
_ROW = {
    **dict.fromkeys(("phone_number", "city", "state", "bank_ifsc_code", "bank_account_number", "id_proof"), None),
    "name": "f288cc9194638234bc812bbc5bb003c8",
    "email": "b1ae768187fb7f26437a357653e6c0e0",
    "wallet_balance": "1500.000000",
    "margin": "250.000000",
    "net_profit": "12.345678",
    "leverage": 100,
    "group": "Standard",
    "status": 1,
    "is_active": 1,
    "account_number": "ACC-0007",
    "country_id": 91,
    "mam_id": None,
    "mam_status": 0,
    "pam_id": None,
    "pam_status": 0,
    "copytrader_id": None,
    "copytrading_status": 0,
    "copy_trading_wallet": "0.000000",
    "copytrading_alloted_time": None,
    "sending_orders": None,
    "created_at": "2026-11-23T14:49:11Z",
    "updated_at": "2026-11-23T14:49:11Z",
}
_SOURCE = {
    "version": "3.5.0.Final",
    "connector": "mysql",
    "name": "bench",
    "ts_ms": 1_795_445_352_965,
    "snapshot": None,
    "db": "trading",
    "sequence": None,
    "ts_us": 1_795_445_352_965_853,
    "table": "live_users",
    "server_id": 101,
    "gtid": "08841003-e74d-11f1-9a24-02fc00000001:23",
    "file": "binlog.000001",
    "row": 0,
    "thread": 9,
}


class Record(NamedTuple):
    """As the client hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes


def envelope(user: int, at: int) -> bytes:
    """An update of a balance."""
    before, after = {"id": user, **_ROW}, {"id": user, **_ROW, "wallet_balance": f"{at}.000000"}
    source = {**_SOURCE, "pos": 1000 + 100 * at}
    transaction = {"id": f"{_SOURCE['gtid']}", "total_order": 1, "data_collection_order": 1}
    whole = {"before": before, "after": after, "source": source, "transaction": transaction, "op": "u", "ts_ms": 1}
    return json.dumps(whole, separators=(",", ":")).encode()


def records(events: int, users: int, partition: int) -> Iterator[list[Record]]:
    """In the poll's portions, made ahead of time so that their making does not count."""
    template = envelope(77_777_777, 88_888_888)
    old_pos = str(1000 + 100 * 88_888_888).encode()
    for first in range(0, events, 2000):
        yield [
            Record(
                TOPIC,
                partition,
                at,
                b"",
                template.replace(b"77777777", str(at % users).encode())
                .replace(old_pos, str(1000 + 100 * at).encode())
                .replace(b"88888888", str(at).encode()),
            )
            for at in range(first, min(first + 2000, events))
        ]


def fold(number: int, events: int, users: int, memory: int, is_kafka: bool) -> tuple[float, float, float, int]:
    """Seconds of the fold and of the plans of all users, the most memory in MB, and how many plans."""
    rules = reference()
    budget = Budget(memory)
    folded = PartitionFold(number, {TOPIC: "live_users"}, Folding(rules), budget.store)
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
    count = sum(1 for _ in folded.plans())
    planned = time.perf_counter() - began
    budget.close()
    return spent, planned, most_resident() / 2**20, count


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
                producer.send(TOPIC, value=record.value, partition=number)
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
    asked = parser.parse_args()
    size = parse_size(asked.memory, "--memory")
    print(f"an envelope of {len(envelope(7, 8))} bytes, {asked.events:,} of each worker for {asked.users:,} users")
    if asked.kafka:
        fill(asked.events, asked.users, max(asked.workers))
    for workers in asked.workers:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            jobs = [(number, asked.events, asked.users, size, asked.kafka) for number in range(workers)]
            found = pool.starmap(fold, jobs)
        rate = sum(asked.events / spent for spent, _, _, _ in found)
        plans = sum(count / planned for _, planned, _, count in found)
        print(
            f"{workers} workers: {rate:,.0f} events/s folded, {plans:,.0f} users/s planned,"
            f" at most {max(most for _, _, most, _ in found):,.0f} MB each"
        )


if __name__ == "__main__":
    main()
