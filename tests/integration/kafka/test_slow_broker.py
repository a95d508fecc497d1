"""A broker that is alive and answers late, as on a busy machine or over a long line."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import topics
from tests.support.accepting import accepting, port_of
from tests.support.stack.stack import Stack

pytestmark = pytest.mark.stack

LATE_S = 1.5
"""kafka-python by itself waits 1 s for the first answer, then 0.5 s, and says after 2 s that no broker answers."""


def test_a_broker_that_answers_late_is_waited_for(stack: Stack) -> None:
    host, _, port = stack.kafka.bootstrap_servers.rpartition(":")

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as broker:
            threading.Thread(target=_copy, args=(client, broker, 0.0), daemon=True).start()
            _copy(broker, client, LATE_S)

    with accepting(serve) as listening:
        settings = Kafka(topic_prefix="p", bootstrap_servers=f"127.0.0.1:{port_of(listening)}")
        assert isinstance(topics(settings), dict)


def _copy(one: socket.socket, other: socket.socket, late_s: float) -> None:
    try:
        while data := one.recv(65536):
            time.sleep(late_s)
            other.sendall(data)
    except OSError:
        return
