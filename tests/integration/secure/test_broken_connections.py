"""kafka-python's connections that break at a bad moment, or on which nobody answers."""

from __future__ import annotations

import ctypes
import socket
import ssl
import struct
import threading
import time
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.conn import BrokerConnection
from kafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from kafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from consumer.net.tls import ReloadingContext
from consumer.settings.sections import Kafka, Security
from consumer.source.clients.kafka import open_consumer
from tests.integration.secure.authority import Authority
from tests.integration.secure.broker import USER, Broker
from tests.support.redis_view import eventually

pytestmark = pytest.mark.stack
_NO_ADDRESS = struct.pack("H14x", socket.AF_UNSPEC)


def _reset(connection: socket.socket) -> None:
    """To connect to "no address" ends a connection, as if the server had reset it and the client had been told."""
    assert ctypes.CDLL(None, use_errno=True).connect(connection.fileno(), _NO_ADDRESS, len(_NO_ADDRESS)) == 0
    connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _settings(broker: Broker, authority: Authority) -> Kafka:
    security = Security(protocol="SSL", ca=authority.file)
    return Kafka(topic_prefix="p", bootstrap_servers=broker.listeners["TLS"], security=security)


def _answers(consumer: KafkaConsumer) -> bool:
    """Whether a broker answers the client; a failed attempt is not the last one."""
    try:
        future = consumer._client.cluster.request_update()
        consumer._client.poll(future=future, timeout_ms=200)
        return bool(future.succeeded())
    except OSError:
        return False


def test_a_connection_is_reset_before_the_handshake(
    broker: Broker, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap = ReloadingContext.wrap_socket
    left = 2

    def break_some(context: ReloadingContext, connection: socket.socket, **options: Any) -> ssl.SSLSocket:
        nonlocal left
        if left:
            left -= 1
            _reset(connection)
        return wrap(context, connection, **options)

    consumer = open_consumer(_settings(broker, authority))
    try:
        eventually(lambda: _answers(consumer), 20, "no broker answers")
        monkeypatch.setattr(ReloadingContext, "wrap_socket", break_some)
        for connection in list(consumer._client._conns.values()):
            connection.close()
        eventually(lambda: _answers(consumer), 20, "it never connects again")
        assert left == 0
    finally:
        consumer.close()


def test_another_thread_reads_while_the_client_logs_in(
    broker: Broker, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the thread that sends heartbeats may do."""
    security = Security(protocol="SASL_SSL", ca=authority.file, user=USER, password=SecretStr(broker.password))
    settings = Kafka(topic_prefix="p", bootstrap_servers=broker.listeners["SASLTLS"], security=security)
    consumer = open_consumer(settings)
    read, begin = BrokerConnection._recv_bytes_blocking, BrokerConnection._try_authenticate
    others: list[threading.Thread] = []

    def begin_at_a_slow_broker(connection: BrokerConnection) -> bool:
        """The broker's answer is not there yet. It is read later, as any other."""
        with monkeypatch.context() as patch:
            patch.setattr(connection, "recv", lambda: ())
            return bool(begin(connection))

    def read_beside_another(connection: BrokerConnection, count: int) -> bytes:
        if not others:
            others.append(threading.Thread(target=consumer._client.poll, kwargs={"timeout_ms": 300}))
            others[0].start()
            others[0].join(1)
        answer: bytes = read(connection, count)
        return answer

    try:
        eventually(lambda: _answers(consumer), 20, "no broker answers")
        monkeypatch.setattr(BrokerConnection, "_recv_bytes_blocking", read_beside_another)
        monkeypatch.setattr(BrokerConnection, "_try_authenticate", begin_at_a_slow_broker)
        for connection in list(consumer._client._conns.values()):
            connection.config["request_timeout_ms"] = 15_000
            connection.close()
        began = time.monotonic()
        eventually(lambda: _answers(consumer), 30, "it never connects again")
        assert time.monotonic() - began < 10
        assert len(others) == 1
        others[0].join(10)
        assert not others[0].is_alive()
    finally:
        consumer.close()


def test_only_a_join_may_take_as_long_as_the_group(broker: Broker, authority: Authority) -> None:
    """A broker whose machine dies closes no connection: the client gives it up when an answer is missing."""
    consumer = open_consumer(
        _settings(broker, authority), group_id="g", session_timeout_ms=10_000, max_poll_interval_ms=300_000
    )
    try:
        eventually(lambda: _answers(consumer), 20, "no broker answers")
        client = consumer._client
        node, connection = next((number, each) for number, each in client._conns.items() if each.connected())

        def seconds_for(request: object) -> float:
            client.send(node, request)
            *_, (_, sent_at, until) = connection.in_flight_requests.values()
            return float(until - sent_at)

        assert 29 < seconds_for(HeartbeatRequest[0]("g", -1, "")) <= 30
        assert 29 < seconds_for(MetadataRequest[1]([])) <= 30
        assert 300 < seconds_for(JoinGroupRequest[0]("g", 10_000, "", "consumer", [])) <= 310
    finally:
        consumer.close()
