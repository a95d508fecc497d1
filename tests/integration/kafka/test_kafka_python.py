"""kafka-python as a member of a group: it loses nothing and goes on, whatever happens to its connections.

Each test fails without one of the workarounds in ``connections.py`` and ``kafka_python_member.py``.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain, repeat
from typing import Any

import pytest
from kafka.client_async import KafkaClient
from kafka.conn import BrokerConnection
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.base import MemberState
from kafka.structs import BrokerMetadata

from consumer.events.record import Partition
from consumer.source.clients import connections
from consumer.source.clients.kafka import open_consumer
from consumer.source.clients.kafka_python_member import KafkaPythonMember
from tests.e2e.topic import Topic
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.gate import Gate

pytestmark = pytest.mark.stack
COUNT = 60


@pytest.fixture
def topic(stack: Stack, topic_prefix: str) -> Iterator[Topic]:
    topic = Topic(stack, topic_prefix)
    topic.make()
    yield topic
    topic.close()


class Reader:
    """A member, and the offsets that it has read. An error of one attempt does not end it."""

    def __init__(self, topic: Topic) -> None:
        self.member = KafkaPythonMember(topic.settings(max_poll_records=7))
        self.client: Any = self.member._consumer._client
        self.coordinator: Any = self.member._consumer._coordinator
        self.offsets: list[int] = []
        self.errors: list[OSError] = []
        self.member.subscribe([topic.name], "", self._begin, lambda _: None)
        self._topic = topic

    def _begin(self, partitions: Sequence[Partition]) -> None:
        self.member.seek(dict.fromkeys(partitions, 0))

    def read(self) -> None:
        try:
            self.offsets += [record.offset for record in self.member.read(0.1)]
        except OSError as error:
            self.errors.append(error)

    def reads_until(self, holds: Callable[[], object], what: str) -> None:
        def read_and_look() -> object:
            self.read()
            return holds()

        eventually(read_and_look, 20, what)

    def reads_more(self) -> None:
        """A record that is sent now is read."""
        count = len(self.offsets)
        self._topic.send(1)
        self.reads_until(lambda: len(self.offsets) > count, "it reads nothing more")

    def disconnect(self) -> None:
        for each in list(self.client._conns.values()):
            each.close()


@pytest.fixture
def reader(topic: Topic) -> Iterator[Reader]:
    reader = Reader(topic)
    yield reader
    reader.member.close()


def fail_in(thread_name: str, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[str]:
    """The next polls that do not wait raise in the thread whose name ends so. Answers the names of those that did."""
    poll, failed = KafkaClient.poll, list[str]()

    def fail(client: KafkaClient, timeout_ms: float | None = None, future: object = None) -> Any:
        name = threading.current_thread().name
        if timeout_ms == 0 and len(failed) < times and name.endswith(thread_name):
            failed.append(name)
            raise OSError("broken")
        return poll(client, timeout_ms=timeout_ms, future=future)

    monkeypatch.setattr(KafkaClient, "poll", fail)
    return failed


def test_no_record_is_lost_if_the_poll_after_it_fails(
    topic: Topic, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last record of the queue is taken, the client asks for more and polls, before it answers the record."""
    reader.reads_more()
    take, failures = Fetcher.fetched_records, list[list[str]]()
    with monkeypatch.context() as patch:

        def take_and_fail(fetcher: Fetcher, *wanted: Any, **options: Any) -> Any:
            records, partial = take(fetcher, *wanted, **options)
            if records and not partial:
                failures.append(fail_in("MainThread", patch))
            return records, partial

        patch.setattr(Fetcher, "fetched_records", take_and_fail)
        topic.send(COUNT)
        reader.reads_until(lambda: reader.offsets[-1:] == [COUNT], "the last record is not read")
    assert reader.offsets == list(range(COUNT + 1))
    assert ["MainThread"] in failures


def test_an_error_without_records_is_raised(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.reads_more()
    with monkeypatch.context() as patch:
        fail_in("MainThread", patch, times=1000)
        reader.disconnect()
        reader.reads_until(lambda: reader.errors, "it raises nothing")
    reader.reads_more()


def test_records_are_read_while_a_request_for_metadata_is_not_answered(reader: Reader) -> None:
    """It may be a broker that does not answer, and the others have records."""
    reader.reads_more()
    reader.client._metadata_refresh_in_progress = True
    reader.reads_more()
    assert reader.client._metadata_refresh_in_progress


def test_the_thread_of_heartbeats_lives_on(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.reads_more()
    failed = fail_in("-heartbeat", monkeypatch)
    reader.reads_until(lambda: failed, "no heartbeat")
    assert reader.coordinator._heartbeat_thread.is_alive()
    reader.reads_more()


def test_a_thread_of_heartbeats_that_ended_is_started_again(reader: Reader) -> None:
    reader.reads_more()
    reader.coordinator._heartbeat_thread.failed = OSError("broken")
    reader.reads_until(lambda: reader.errors, "it raises nothing")
    reader.read()
    assert reader.coordinator._heartbeat_thread.is_alive()
    assert reader.coordinator._heartbeat_thread.enabled


def test_a_lost_membership_is_never_taken_for_a_join(reader: Reader) -> None:
    reader.reads_more()
    reader.coordinator.state = MemberState.UNJOINED
    assert not reader.coordinator.rejoin_needed
    reader.reads_until(lambda: reader.coordinator.state is MemberState.STABLE, "it joins no more")


def test_an_old_answer_about_committed_offsets_is_not_used(topic: Topic, reader: Reader) -> None:
    reader.coordinator._offset_fetch_futures[frozenset()] = object()
    reader.reads_more()
    assert frozenset() not in reader.coordinator._offset_fetch_futures


def test_brokers_that_never_come_back_are_forgotten(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer named other brokers; the bootstrap servers know the present ones."""
    monkeypatch.setattr(connections, "_UNREACHABLE_S", 0.5)
    reader.reads_more()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for number in list(reader.client.cluster._brokers):
        reader.client.cluster._brokers[number] = BrokerMetadata(number, "127.0.0.1", port, None)
    for number in list(reader.client.cluster._coordinator_brokers):
        reader.client.cluster._coordinator_brokers[number] = BrokerMetadata(number, "127.0.0.1", port, None)
    reader.disconnect()
    reader.reads_more()


def test_an_address_that_does_not_answer_is_given_up(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the broker's machine had gone: a server whose queue is full does not answer either."""
    monkeypatch.setattr(connections, "_CONNECT_S", 0.5)
    monkeypatch.setattr(connections, "_UNREACHABLE_S", 0.5)
    reader.reads_more()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        host, port = full.getsockname()
        brokers = reader.client.cluster
        for known in (brokers._brokers, brokers._coordinator_brokers):
            known.update({number: BrokerMetadata(number, host, port, None) for number in known})
        reader.disconnect()
        reader.reads_more()
        for each in waiting:
            each.close()


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_wall_clock_is_set(reader: Reader, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    reader.reads_more()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
    reader.client.cluster.request_update()
    reader.reads_until(lambda: not reader.client.cluster.need_update, "it loads no metadata")
    reader.reads_more()


def test_a_connection_keeps_its_settings_when_it_is_opened_again(reader: Reader) -> None:
    reader.reads_more()
    reader.disconnect()
    reader.reads_more()
    (connected, *_) = (each for each in reader.client._conns.values() if each.connected())
    assert connected._protocol._max_frame_size == 2**31 - 1
    assert connected._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connected._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_connection_that_breaks_at_the_first_request_is_opened_again(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = BrokerConnection._send_bytes_blocking, list[str]()

    def fail_once(connection: BrokerConnection, data: bytes) -> Any:
        if not broken:
            broken.append(connection.host)
            raise ConnectionResetError
        return send(connection, data)

    monkeypatch.setattr(BrokerConnection, "_send_bytes_blocking", fail_once)
    with closing(open_consumer(topic.settings())) as consumer:
        assert consumer.bootstrap_connected()
    assert broken


def test_the_version_of_a_broker_is_not_guessed_from_connections_that_break(topic: Topic, stack: Stack) -> None:
    """The first connection is that of the first request; the next two break while the broker says what it can."""
    gate = Gate(stack.kafka.host, stack.kafka.port)
    lasting, broken = 10**9, 100
    counts = chain([lasting, broken, broken], repeat(lasting))
    gate.break_after(lambda: next(counts))
    settings = topic.settings().model_copy(update={"bootstrap_servers": gate.address})
    with closing(gate), closing(open_consumer(settings)) as consumer:
        assert gate.broken == 2
        assert consumer.config["api_version"] >= (2, 1)
