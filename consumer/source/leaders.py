"""Asks the leaders of partitions for the ends of their logs, in a thread with a client of its own.

A member can't ask with its own client: it would wait for a leader that does not answer, and read nothing meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError, RequestTimedOutError

from consumer.events.record import Partition
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import open_consumer
from consumer.source.standstill import Answers

_log = structlog.get_logger(__name__)
_ANSWER_S = 3.0
_CLOSE_S = 5.0
_CONNECT_MS = 100
_NOTHING = Answers({}, ())
_LATEST, _ANY_EPOCH = -1, -1


class Leaders:
    """The brokers that lead the partitions of a member. The thread starts with the first question."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._questions: SimpleQueue[Collection[Partition] | None] = SimpleQueue()
        self._answers: SimpleQueue[Answers] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, partitions: Collection[Partition]) -> None:
        """Begin to ask; :meth:`answer` has the answer later. Call it again only after that."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="leaders", daemon=True)
            self._thread.start()
        self._questions.put(partitions)

    def answer(self) -> Answers | None:
        """The answer to :meth:`ask`, once; None: it is not there yet."""
        try:
            return self._answers.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """End the thread. It may be waiting for a leader; then it ends with the process."""
        if self._thread is not None:
            self._questions.put(None)
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        consumer: KafkaConsumer | None = None
        while (partitions := self._questions.get()) is not None:
            answer = _NOTHING
            try:
                # The topic may have been deleted: a question about it must not create it again.
                consumer = consumer or open_consumer(self._settings, allow_auto_create_topics=False)
                answer = _ask_all(consumer, [TopicPartition(*part) for part in partitions])
            except Exception as error:  # nothing depends on it: the member reports brokers that are away
                _log.debug("the leaders could not be asked", action="leaders.failed", error=type(error).__name__)
                _close(consumer)
                consumer = None
            self._answers.put(answer)
        _close(consumer)


def _close(consumer: KafkaConsumer | None) -> None:
    if consumer is not None:
        with suppress(Exception):  # it may be broken
            consumer.close(autocommit=False)


def _ask_all(consumer: KafkaConsumer, parts: Sequence[TopicPartition]) -> Answers:
    client = consumer._client  # noqa: SLF001  # the public methods wait for all leaders, and for 30 s
    client.set_topics({part.topic for part in parts})
    client.poll(future=client.cluster.request_update(), timeout_ms=_ANSWER_S * 1000)
    by_leader: dict[int | None, list[TopicPartition]] = {}
    for part in parts:
        by_leader.setdefault(client.cluster.leader_for_partition(part), []).append(part)
    by_leader.pop(None, None)  # a topic that does not exist any more
    unanswered = by_leader.pop(-1, [])  # there is no leader
    ends: dict[Partition, int] = {}
    for leader, asked in by_leader.items():
        found = _ask(consumer, leader, asked)
        if found is None:
            unanswered += asked
            client.close(leader)  # metadata may be awaited from it too
        else:
            ends |= {Partition(*part): end for part, end in found.items()}
    return Answers(ends, frozenset(Partition(*part) for part in unanswered))


def _ask(
    consumer: KafkaConsumer, leader: int | None, parts: Collection[TopicPartition]
) -> Mapping[TopicPartition, int] | None:
    """The ends that one leader knows; None: it does not answer."""
    client, fetcher = consumer._client, consumer._fetcher  # noqa: SLF001
    until = time.monotonic() + _ANSWER_S
    while not client.ready(leader):
        if time.monotonic() > until:
            return None
        client.poll(timeout_ms=_CONNECT_MS)
    future = fetcher._send_list_offsets_request(leader, dict.fromkeys(parts, (_LATEST, _ANY_EPOCH)))  # noqa: SLF001
    client.poll(future=future, timeout_ms=_ANSWER_S * 1000)
    if future.succeeded():
        offsets, _ = future.value
        return {part: found.offset for part, found in offsets.items()}
    is_answer = isinstance(future.exception, KafkaError) and not isinstance(
        future.exception, (KafkaConnectionError, RequestTimedOutError)
    )
    return {} if is_answer else None
