"""How fast pure Python can be here, to compare with: ``python -m benchmarks.ceiling CLIENT``.

One short, guarded and atomic call of a function in Redis for each change, and a batch is decided while Redis works on
the one before. It is no product: it knows one table and changes of ``wallet_balance``, and no fault. Nothing is
checked, joined, looked up or counted, and a hash that is missing is not made whole. So it takes the least that a
consumer can take here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

import hiredis
import msgspec
import redis

from benchmarks.envelopes import TABLE

_BATCH = 500
_FUNCTION = "bench_ceiling"
LIBRARY = f"""#!lua name={_FUNCTION}
local function offset_of(version) return tonumber(string.match(version, '(%d+)$')) end

redis.register_function('{_FUNCTION}', function(keys, args)
  local version, value, now, message = args[1], args[2], args[3], args[4]
  local before = redis.call('HGET', keys[1], 'live_users')
  if before and offset_of(before) >= offset_of(version) then return 0 end
  redis.call('HSET', keys[1], 'live_users', version)
  redis.call('HSET', keys[2], 'wallet_balance', value, 'last_balance_update', now, 'last_admin_update', now,
    'last_updated', now)
  redis.call('SET', keys[3], value, 'EX', '3600')
  if redis.call('EXISTS', keys[4]) == 1 then
    redis.call('HSET', keys[4], 'wallet_balance', value, 'balance_updated_at', now)
  end
  redis.call('UNLINK', keys[5], keys[6], keys[7])
  redis.call('PUBLISH', 'user_updates', message)
  redis.call('PUBLISH', 'balance_updates', message)
  return 1
end)
"""


class _Source(msgspec.Struct, gc=False):
    ts_ms: int
    gtid: str | None = None


class _Envelope(msgspec.Struct, gc=False):
    source: _Source
    after: dict[str, Any]
    before: dict[str, Any] | None = None


class Record(NamedTuple):
    """A record in Kafka."""

    value: bytes
    partition: int
    offset: int


_decode = msgspec.json.Decoder(_Envelope).decode


def call(record: Record) -> bytes:
    """The packed call for a change."""
    envelope = _decode(record.value)
    source, after = envelope.source, envelope.after
    user, amount, now = after["id"], _amount(after["wallet_balance"]), _time(source.ts_ms)
    message = (
        f'{{"event_id":"live_users:{user}:{source.gtid}","event_type":"balance_change","user_id":{user},'
        f'"user_type":"live","updated_fields":{{"wallet_balance":"{amount}"}},"timestamp":"{now}"}}'
    )
    words = (
        *("FCALL", _FUNCTION, 7, f"cdc:{{live:{user}}}", f"user:{{live:{user}}}:config", f"user_balance:live:{user}"),
        *(f"user:{{live:{user}}}:portfolio", f"user_margin_calc:live:{user}", f"user_stats:live:{user}"),
        *(f"user_summary:live:{user}", f"0|s|{source.ts_ms}|{record.partition}|{record.offset}", amount, now, message),
    )
    return cast(bytes, hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub allows only one word


@lru_cache(maxsize=16_384)
def _amount(text: str) -> str:
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


@lru_cache(maxsize=16_384)
def _time(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kafka_python(topic: str, group: str) -> Callable[[float], list[Record]]:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"],
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=_BATCH,
    )

    def read(wait_s: float) -> list[Record]:
        polled = consumer.poll(timeout_ms=int(wait_s * 1000))
        return [Record(each.value, each.partition, each.offset) for some in polled.values() for each in some]

    return read


def _confluent(topic: str, group: str) -> Callable[[float], list[Record]]:
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["CDC_KAFKA__BOOTSTRAP_SERVERS"],
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])

    def read(wait_s: float) -> list[Record]:
        found = consumer.consume(_BATCH, wait_s)
        return [_record(each) for each in found if each.error() is None]

    return read


def _record(message: Any) -> Record:
    return Record(message.value(), message.partition(), message.offset())


def answers(connection: socket.socket, count: int) -> Iterator[object]:
    """The answers to so many calls."""
    reader = hiredis.Reader()
    while count:
        if (answer := reader.gets()) is False:
            reader.feed(connection.recv(262_144))
            continue
        count -= 1
        yield answer


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client = redis.Redis.from_url(os.environ["CDC_REDIS__URL"])
    client.function_load(LIBRARY, replace=True)
    settings = client.connection_pool.connection_kwargs
    connection = socket.create_connection((settings["host"], settings["port"]))
    topic = f"{os.environ['CDC_KAFKA__TOPIC_PREFIX']}.trading.{TABLE}"
    opened = {"kafka-python": _kafka_python, "confluent": _confluent}[sys.argv[1]]
    read = opened(topic, os.environ["CDC_KAFKA__GROUP_ID"])
    under_way = 0
    while True:
        calls = [call(record) for record in read(0.0 if under_way else 0.2)]
        for answer in answers(connection, under_way):
            if isinstance(answer, hiredis.ReplyError):
                raise answer
        under_way = len(calls)
        if calls:
            connection.sendall(b"".join(calls))


if __name__ == "__main__":
    main()
