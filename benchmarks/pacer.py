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

from kafka import KafkaProducer

from benchmarks.envelopes import update
from benchmarks.system import PARTITIONS


def main() -> None:
    """Each change at its time; one that is late does not put off the next."""
    topic, per_s, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    users, first = int(sys.argv[4]), int(sys.argv[5])
    producer = KafkaProducer(bootstrap_servers=os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"], acks=1, linger_ms=0)
    producer.partitions_for(topic)
    gc.disable()  # all that is made here is kept to the end, and looking through it holds up the changes
    began, sent = time.perf_counter(), []
    for turn in range(int(per_s * seconds)):
        if (early := began + turn / per_s - time.perf_counter()) > 0:
            time.sleep(early)
        number = first + turn
        user = number % users + 1
        key = b'{"id":%d}' % user
        sent.append((number, producer.send(topic, key=key, value=update(number, user), partition=user % PARTITIONS)))
    producer.flush()
    print(json.dumps({number: future.get(10).timestamp for number, future in sent}), flush=True)
    producer.close()


if __name__ == "__main__":
    main()
