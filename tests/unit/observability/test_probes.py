"""The listener for Prometheus and probes, and clients that are none."""

from __future__ import annotations

import socket
import struct
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from consumer.observability import probes
from consumer.settings.sections import Metrics
from tests.support.stack.port import Ports


class Healthy:
    registry = CollectorRegistry()

    def is_alive(self) -> bool:
        return True

    def unready(self) -> str:
        return ""


@pytest.fixture
def port() -> Iterator[int]:
    port = Ports().take("probes")
    stop: Callable[[], None] = probes.serve(Metrics(port=port, host="127.0.0.1"), Healthy(), lambda: True)
    yield port
    stop()


def test_a_client_that_goes_away_is_no_line(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """As the check of a load balancer does it, or a port scan: without a request, and with a reset."""
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        assert answer.read() == b"ok\n"
    assert capfd.readouterr() == ("", "")
