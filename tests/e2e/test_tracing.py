"""Traces of the running program, as a collector gets them over HTTP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from msgspec import structs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.feed import Feed, deposit
from tests.support.redis_view import eventually

pytestmark = pytest.mark.stack
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        taken = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces" and self.headers.get("Content-Encoding", "identity") == "identity":
                    request = ExportTraceServiceRequest.FromString(body)
                    taken.extend(
                        span for of in request.resource_spans for each in of.scope_spans for span in each.spans
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


def test_a_change_goes_on_with_the_trace_that_debezium_passed_on(feed: Feed, collector: Collector) -> None:
    headers = (("traceparent", f"00-{TRACE}-{PARENT}-01".encode()),)
    feed.send(deposit(1, 0), structs.replace(deposit(2, 1), headers=headers))
    with feed.running(CDC_TRACING__ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as process:
        eventually(lambda: feed.field(2, "wallet_balance"), 30)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "tracing.lost" not in process.said()
    (change,) = (span for span in collector.spans if span.name == f"process {feed.topic}")
    assert (change.trace_id.hex(), change.parent_span_id.hex()) == (TRACE, PARENT)
    batches = {span.span_id for span in collector.spans if span.name == "process batch"}
    assert {link.span_id for link in change.links} <= batches
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in collector.spans)


def test_without_a_collector_nothing_waits_and_one_line_says_so(feed: Feed) -> None:
    feed.send(deposit(1, 0))
    environment = {
        "CDC_TRACING__ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "CDC_LOG__FORMAT": "json",
    }
    with feed.running(**environment) as process:
        eventually(lambda: feed.field(1, "wallet_balance"), 30)
        process.send(signal.SIGTERM)
        assert process.wait(30) == 0
        said = process.said()
    assert said.count("tracing.lost") == 1
    assert all(line.startswith("{") for line in said.splitlines()), "one line each, and the libraries' own are none"
