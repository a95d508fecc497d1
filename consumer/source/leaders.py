"""Asks the leaders of partitions for the ends of their logs, in a thread with a client of its own.

A member can't ask with its own client: it would wait for a leader that does not answer, and read nothing meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from consumer.events.record import Partition
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import open_consumer
from consumer.source.standstill import Ends

_log = structlog.get_logger(__name__)
_ANSWER_MS = 3000
_CLOSE_S = 5.0


class Leaders:
    """The thread starts with the first question."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._questions: SimpleQueue[Collection[Partition] | None] = SimpleQueue()
        self._answers: SimpleQueue[Ends] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, partitions: Collection[Partition]) -> None:
        """Begin to ask; :meth:`answer` has the answer later. Call it again only after that."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="leaders", daemon=True)
            self._thread.start()
        self._questions.put(partitions)

    def answer(self) -> Ends | None:
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
            answer: Ends = {}
            try:
                consumer = consumer or open_consumer(self._settings)
                answer = _ends(consumer, partitions)
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


def _ends(consumer: KafkaConsumer, partitions: Collection[Partition]) -> Ends:
    cluster, fetcher = consumer._client.cluster, consumer._fetcher  # noqa: SLF001  # the public method waits for 30 s
    by_leader: dict[int | None, list[TopicPartition]] = {}
    for part in partitions:
        by_leader.setdefault(cluster.leader_for_partition(TopicPartition(*part)), []).append(TopicPartition(*part))
    ends: dict[Partition, int | None] = {}
    # Leader by leader: one that does not answer must not hide the answers of the others.
    for parts in by_leader.values():
        try:
            found = fetcher.end_offsets(parts, _ANSWER_MS)
        except KafkaTimeoutError:
            found = dict.fromkeys(parts)
            cluster.request_update()  # there may be another leader now
        ends |= {Partition(*part): end for part, end in found.items()}
    return ends
