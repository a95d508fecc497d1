"""Sends changes at a fixed rate, ``python -m benchmarks.pacer TOPIC PER_S SECONDS USERS FIRST``.

Prints one JSON object: for each change its number, and the time at which the broker appended it (milliseconds since
1970, by the broker's clock, which is this machine's).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.envelopes import update
from benchmarks.system import PARTITIONS


def main() -> None:
    """Each change at its time; one that is late does not put off the next.

    The client in C, because one in Python would take a whole core at 10,000/s, and the consumer has to share it.
    """
    topic, per_s, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    users, first = int(sys.argv[4]), int(sys.argv[5])
    producer = Producer({"bootstrap.servers": os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"], "acks": 1, "linger.ms": 1})
    producer.list_topics(topic, timeout=10)
    appended: dict[int, int] = {}
    gc.disable()  # all that is made here is kept to the end, and looking through it holds up the changes
    began = time.perf_counter()
    total = int(per_s * seconds)
    for turn in range(total):
        if (early := began + turn / per_s - time.perf_counter()) > 0:
            time.sleep(early)
        number = first + turn
        user = number % users + 1
        key = b'{"id":%d}' % user

        def is_appended(error: KafkaError | None, message: Message, number: int = number) -> None:
            if error is None:
                appended[number] = message.timestamp()[1]

        producer.produce(topic, update(number, user), key, user % PARTITIONS, on_delivery=is_appended)
        producer.poll(0)
    producer.flush(10)
    if len(appended) < total:
        sys.exit(f"{total - len(appended)} changes were not appended")
    print(json.dumps(appended), flush=True)


if __name__ == "__main__":
    main()
