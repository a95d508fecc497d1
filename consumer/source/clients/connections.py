"""kafka-python's connections to the brokers, with workarounds for faults of kafka-python 2.3.3 (decision 2).

Each of them lets a long-lived process stand still after an outage, or lose records. The tests fail without the
workarounds (``tests/integration/kafka/test_kafka_python.py``, ``tests/integration/secure/test_broken_connections.py``).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from kafka import KafkaConsumer, TopicPartition, client_async, cluster, conn, util
from kafka.client_async import KafkaClient
from kafka.conn import BrokerConnection, ConnectionStates
from kafka.consumer import fetcher, group, subscription_state
from kafka.coordinator import base, consumer, heartbeat
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.future import Future
from kafka.protocol.group import JoinGroupRequest

from consumer.events.record import SourceRecord

_CONNECT_S = 10.0
"""The longest time for a connection, with TLS and login. As in Kafka's own client."""
_UNREACHABLE_S = 30.0
"""After this time without a connection to a known broker, the bootstrap servers are asked again."""
_JOIN_MARGIN_MS = 5000
"""As in Kafka's own client: how much longer than the group a member waits for the answer to its join."""
_JOINS = tuple(JoinGroupRequest)
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}

_STEADY_TIME = SimpleNamespace(time=time.monotonic, sleep=time.sleep)
"""In place of the module ``time`` in kafka-python's modules.

They measure with the wall clock. If it is set back by an hour, they would send no heartbeat and load no metadata for an
hour. The modules that make records keep the wall clock, because records have timestamps.
"""
for _module in (client_async, cluster, conn, util, fetcher, group, subscription_state, base, consumer, heartbeat):
    _module.time = _STEADY_TIME


def _socket_options() -> Iterator[tuple[int, int, int]]:
    """Keepalive notices after half a minute that a broker's machine is gone, also during a join."""
    yield socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    for name, value in _KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:  # other systems have other names
            yield socket.IPPROTO_TCP, option, value


SOCKET_OPTIONS = tuple(_socket_options())


class Connections(KafkaClient):  # type: ignore[misc]  # the client has no types
    """The connections of one client, for its setting ``kafka_client``."""

    def __init__(self, **configs: Any) -> None:
        self._join_timeout_ms = configs.get("max_poll_interval_ms", 0) + _JOIN_MARGIN_MS
        self._reachable_at = _STEADY_TIME.time()
        super().__init__(**configs)

    def poll(self, timeout_ms: float | None = None, future: Future | None = None) -> list[object]:
        """Read and write.

        Raises:
            OSError: from the network or from TLS. The broken connection is closed; kafka-python would keep it, and
                raise the same error for ever.
        """
        try:
            self._check_connections()
            answers: list[object] = super().poll(timeout_ms=timeout_ms, future=future)
        except OSError as error:
            self._close_broken(error)
            raise
        return answers

    def send(self, node_id: Any, request: Any, wakeup: bool = True, request_timeout_ms: float | None = None) -> Future:
        """Begin a request; its answer comes with a later :meth:`poll`.

        kafka-python has one timeout for all requests. A group answers a join when all members have joined, so joins
        alone may take as long as the group waits.
        """
        if isinstance(request, _JOINS):
            request_timeout_ms = max(self._join_timeout_ms, self.config["request_timeout_ms"])
        return super().send(node_id, request, wakeup=wakeup, request_timeout_ms=request_timeout_ms)

    def is_ready(self, node_id: Any, metadata_priority: bool = True) -> bool:
        """Whether a request can be sent to this broker now.

        kafka-python sends nothing to any broker while it waits for metadata. If the broker that it asked does not
        answer, no partition would be read until the timeout.
        """
        return bool(super().is_ready(node_id, metadata_priority=False))

    def _fire_pending_completed_requests(self) -> list[object]:
        # It calls the callbacks of answers. The callback of a SASL handshake does the rest of the login with blocking
        # reads. Without the lock, the thread that sends heartbeats may read the broker's answer instead.
        with self._lock:
            answers: list[object] = super()._fire_pending_completed_requests()
        return answers

    def _conn_state_change(self, node_id: Any, sock: socket.socket | None, connection: BrokerConnection) -> None:
        if connection.state is ConnectionStates.CONNECTING:
            # After the first close, a connection has the limit of 100 MB instead of the client's.
            connection._protocol._max_frame_size = self.config["receive_message_max_bytes"]  # noqa: SLF001
            # If two connections broke before the broker had said what it can, kafka-python tries requests of old
            # versions. A broker that answers one counts as version 0.9, and the client refuses this program's settings.
            # So the broker is asked again.
            connection._check_version_idx = None  # noqa: SLF001
        elif sock is None and connection.state is not ConnectionStates.DISCONNECTED:
            # The connection broke while the first request was sent. kafka-python has closed it, and goes on with it: it
            # would raise a ValueError, which looks like a wrong setting.
            connection.close(KafkaConnectionError("the connection broke before the first request was sent"))
            return
        super()._conn_state_change(node_id, sock, connection)

    def _check_connections(self) -> None:
        with self._lock:
            connections, now = list(self._conns.values()), _STEADY_TIME.time()
            for each in connections:
                # kafka-python looks at the time only when the socket is ready. To an address that is gone, the
                # kernel tries to connect for two minutes.
                if each.connecting() and now - each.last_attempt > _CONNECT_S:
                    each.close(KafkaConnectionError(f"no connection after {_CONNECT_S:.0f} s"))
            has_failed = any(each._failures for each in connections)  # noqa: SLF001  # since it was connected
            if not has_failed or any(each.connected() for each in connections):
                self._reachable_at = now
            elif now - self._reachable_at > _UNREACHABLE_S:
                # kafka-python asks only the brokers that were there at the last answer, even if they never come back.
                self.cluster._brokers = {}  # noqa: SLF001
                self.cluster.request_update()
                self._reachable_at = now

    def _close_broken(self, error: Exception) -> None:
        # Which connection had the error is not known. Most errors come while one connects.
        with self._lock:
            connections = list(self._conns.values())
            for each in [each for each in connections if each.connecting()] or connections:
                each.close(KafkaConnectionError(str(error)))


class DeferringConnections(Connections):
    """Connections for a consumer that goes on after an error.

    kafka-python polls once more after it has taken records out of its queue. An error of that poll would lose them, and
    the offset after them would be committed. An error in the thread that sends heartbeats would end that thread. So
    :meth:`poll` raises nothing here, and :func:`poll` raises the error when it loses nothing.
    """

    def __init__(self, **configs: Any) -> None:
        self._failure: Exception | None = None
        super().__init__(**configs)

    def poll(self, timeout_ms: float | None = None, future: Future | None = None) -> list[object]:
        """Read and write. It may end before ``future`` is done; the callers have timeouts, and ask again."""
        try:
            return super().poll(timeout_ms=timeout_ms, future=future)
        except (OSError, KafkaError) as error:
            self._failure = error
            return []

    def take_failure(self) -> Exception | None:
        """The last error since the last call."""
        failure, self._failure = self._failure, None
        return failure


def poll(client: KafkaConsumer, timeout_s: float) -> Mapping[TopicPartition, Sequence[SourceRecord]]:
    """The next records of a consumer with :class:`DeferringConnections`.

    Raises:
        OSError, KafkaError: there are no records, and reading failed.
    """
    polled: Mapping[TopicPartition, Sequence[SourceRecord]] = client.poll(timeout_ms=int(timeout_s * 1000))
    failure = client._client.take_failure()  # noqa: SLF001
    if failure is not None and not polled:
        raise failure
    return polled
