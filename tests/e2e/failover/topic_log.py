"""The live users' topic as it lies in Kafka, read again and again from where the last look ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.e2e.failover.ledger import GONE, State, state_of
from tests.support.stack.kafka import PATIENT, Kafka

POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """One record that Debezium sent. ``envelope`` is None for a tombstone."""

    offset: int
    user_id: int
    envelope: Any

    @property
    def state(self) -> State:
        """The user's state that it tells."""
        after = self.envelope and self.envelope["after"]
        return state_of(after["net_profit"]) if after else GONE

    @property
    def source(self) -> dict[str, Any]:
        """Debezium's block of that name; empty for a tombstone."""
        return dict(self.envelope["source"]) if self.envelope else {}

    @property
    def is_streamed(self) -> bool:
        return self.envelope is not None and self.source.get("snapshot") in (None, "false")

    @property
    def transaction(self) -> str:
        """The database's name for the transaction, on whichever server it is read."""
        return str(self.source.get("gtid") or self.source["txId"])

    @property
    def log_number(self) -> int:
        """The number of the binlog file that it was read from."""
        return int(str(self.source["file"]).rpartition(".")[2])


def sent_twice(before: Sequence[Sent], after: Sequence[Sent]) -> set[tuple[int, str]]:
    """User and transaction of the streamed changes that lie in both parts of a topic."""
    return _identities(before) & _identities(after)


def _identities(sent: Sequence[Sent]) -> set[tuple[int, str]]:
    return {(each.user_id, each.transaction) for each in sent if each.is_streamed}


class TopicLog:
    """All records of ``topic``, which has one partition."""

    def __init__(self, kafka: Kafka, topic: str, group_id: str) -> None:
        self.topic = topic
        self._kafka = kafka
        self._group_id = group_id
        self._part = TopicPartition(topic, 0)
        self._sent: list[Sent] = []
        self._consumer = KafkaConsumer(**PATIENT, bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False)
        self._consumer.assign([self._part])
        self._consumer.seek(self._part, 0)

    def close(self) -> None:
        self._consumer.close()

    def sent(self) -> list[Sent]:
        """Everything that lies there now."""
        end = self._end()
        while self._consumer.position(self._part) < end:
            for record in self._consumer.poll(timeout_ms=POLL_MS).get(self._part, ()):
                envelope = json.loads(record.value) if record.value else None
                self._sent.append(Sent(record.offset, json.loads(record.key)["id"], envelope))
        return list(self._sent)

    def anew(self) -> list[Sent]:
        """Everything that is left there now, after the broker compacted the topic."""
        self._sent.clear()
        self._consumer.seek(self._part, 0)
        return self.sent()

    def is_committed(self) -> bool:
        """Whether the group has finished everything that lies there."""
        admin = self._kafka.admin()
        try:
            found = admin.list_consumer_group_offsets(self._group_id)
            return self._part in found and bool(found[self._part].offset >= self._end())
        except KafkaError:
            return False
        finally:
            admin.close()

    def _end(self) -> int:
        return int(self._consumer.end_offsets([self._part])[self._part])
