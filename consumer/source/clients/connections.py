"""kafka-python's connections to the brokers, with workarounds for three faults of kafka-python 2.3.3.

- After an error that it does not expect, it keeps the connection as it is, and every later attempt fails with the same
  error. An example is a broker that resets a connection between TCP's handshake and that of TLS: for ever "Transport
  endpoint is not connected". :class:`Connections` closes all connections, and the client opens new ones.
- It logs in (SASL) with blocking reads and without the lock of the client. If the thread that sends heartbeats reads at
  that moment, it takes the broker's answer, and the other thread waits for it until the timeout. :class:`Connections`
  holds the lock.
- It has one timeout for all requests and for connecting. A group holds back the answer to a join until all members have
  joined, so the default is five minutes. A broker that stops answering without closing its connections, as when its
  machine dies, is then noticed after five minutes. :class:`Connections` lets joins alone wait so long.
"""

from __future__ import annotations

from typing import Any

from kafka.client_async import KafkaClient
from kafka.conn import ConnectionStates
from kafka.errors import KafkaConnectionError
from kafka.future import Future
from kafka.protocol.group import JoinGroupRequest

_JOIN_MARGIN_MS = 5000
"""As in Kafka's own client: how much longer than the group a member waits for the answer to its join."""


class Connections(KafkaClient):  # type: ignore[misc]  # the client has no types
    """The connections of one client, for its setting ``kafka_client``."""

    def __init__(self, **configs: Any) -> None:
        self._join_timeout_ms = configs.get("max_poll_interval_ms", 0) + _JOIN_MARGIN_MS
        super().__init__(**configs)

    def poll(self, timeout_ms: float | None = None, future: Future | None = None) -> list[object]:
        """Read and write.

        Raises:
            OSError: from the network or from TLS. All connections are closed then.
            KafkaError: a broker refuses the account.
        """
        try:
            answers: list[object] = super().poll(timeout_ms=timeout_ms, future=future)
        except OSError as error:
            self._close_all(error)
            raise
        return answers

    def send(self, node_id: Any, request: Any, wakeup: bool = True, request_timeout_ms: float | None = None) -> Future:
        """Begin a request; its answer comes with a later :meth:`poll`."""
        if isinstance(request, tuple(JoinGroupRequest)):
            request_timeout_ms = max(self._join_timeout_ms, self.config["request_timeout_ms"])
        return super().send(node_id, request, wakeup=wakeup, request_timeout_ms=request_timeout_ms)

    def _fire_pending_completed_requests(self) -> list[object]:
        # It calls the callbacks of answers; the callback of a SASL handshake does the rest of the login.
        if any(each.state is ConnectionStates.AUTHENTICATING for each in list(self._conns.values())):
            with self._lock:
                answers: list[object] = super()._fire_pending_completed_requests()
        else:
            answers = super()._fire_pending_completed_requests()
        return answers

    def _close_all(self, error: OSError) -> None:
        # Which of them had the error is not known.
        with self._lock:
            for connection in list(self._conns.values()):
                connection.close(KafkaConnectionError(str(error)))
