"""A topic read and thrown away, what a client gives at most: ``python -m benchmarks.bare_read CLIENT TOPIC COUNT``.

Prints one JSON object: records a second from the first one on, and microseconds of processor time a record.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator

import psutil

from benchmarks.system import CONFLUENT

_AT_ONCE = 500


def kafka_python(servers: str, topic: str) -> Iterator[int]:
    """How many records each poll brings."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, max_poll_records=_AT_ONCE)
    parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    while True:
        yield sum(map(len, consumer.poll(timeout_ms=1000).values()))


def confluent(servers: str, topic: str) -> Iterator[int]:
    """How many records each call brings."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    # The default lets it stall for a second whenever its queue was full.
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare", "fetch.queue.backoff.ms": 5})
    known = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in known])
    while True:
        yield len(consumer.consume(_AT_ONCE, 0.1))


def main() -> None:
    """Read ``COUNT`` records and print what that took."""
    client, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    reader = confluent if client == CONFLUENT else kafka_python
    read = reader(os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"], topic)
    first = done = next(number for number in read if number)
    began, cpu = time.perf_counter(), time.process_time()
    while done < count:
        done += next(read)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    resident = psutil.Process().memory_info().rss
    said = {"per_s": (done - first) / seconds, "cpu_us": cpu / (done - first) * 1e6, "resident": resident}
    print(json.dumps(said), flush=True)
    # confluent-kafka takes seconds to let go of what it fetched ahead.
    os._exit(0)


if __name__ == "__main__":
    main()
