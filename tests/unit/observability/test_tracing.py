"""Spans as OpenTelemetry's own exporter in memory has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
import structlog
from msgspec import structs
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from consumer.commands.run.service import run
from consumer.commands.shared.stop import Stop
from consumer.errors import ConfigError
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.observability import tracing as tracing_module
from consumer.observability.tracing import Tracing, _LoggingExporter
from consumer.pipeline.protocols import RecordResult
from consumer.settings.sources import load
from tests.unit.observability.test_batch_counts import applied, dead, result

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = ("traceparent", f"00-{TRACE}-{PARENT}-01".encode())


class _Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(self.exporter, "group")

    def of(self, results: Sequence[RecordResult]) -> tuple[ReadableSpan, ...]:
        """The spans of a batch, that of the batch last."""
        self.tracing.batch_started([each.record for each in results])
        self.tracing.records_done(results)
        self.tracing._provider.force_flush()
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return spans


@pytest.fixture
def spans() -> Iterator[_Spans]:
    found = _Spans()
    yield found
    found.tracing.close()


def traced(made: RecordResult) -> RecordResult:
    return structs.replace(made, record=structs.replace(made.record, headers=(HEADER,)))


def test_a_batch_is_a_span(spans: _Spans) -> None:
    (batch,) = spans.of([result(0, applied()), result(1, applied())])
    assert batch.name == "process batch"
    assert batch.kind is SpanKind.CONSUMER
    assert batch.parent is None
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert batch.attributes["messaging.consumer.group.name"] == "group"
    assert batch.resource.attributes["service.name"] == "cdc-consumer"
    assert 0 < (batch.start_time or 0) <= (batch.end_time or 0)


def test_an_applied_change_continues_the_trace_that_it_carries(spans: _Spans) -> None:
    change, batch = spans.of([result(0, applied()), traced(result(1, applied()))])
    assert change.name == "process trading.trading.live_users"
    assert change.context is not None
    assert change.parent is not None
    assert f"{change.context.trace_id:032x}" == TRACE
    assert f"{change.parent.span_id:016x}" == PARENT
    assert [link.context for link in change.links] == [batch.context]
    assert change.attributes is not None
    assert dict(change.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "trading.trading.live_users",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 1,
        "db.collection.name": "live_users",
    }


def test_what_was_not_applied_or_carries_no_valid_trace_has_none(spans: _Spans) -> None:
    broken = result(2, applied())
    broken = structs.replace(broken, record=structs.replace(broken.record, headers=(("traceparent", b"00-nothing"),)))
    assert len(spans.of([traced(result(0, applied(Verdict.STALE))), traced(dead(1)), broken])) == 1


def test_a_trace_that_its_beginner_did_not_sample_is_not_exported(spans: _Spans) -> None:
    made = result(0, applied())
    unsampled = structs.replace(made.record, headers=(("traceparent", f"00-{TRACE}-{PARENT}-00".encode()),))
    assert [span.name for span in spans.of([structs.replace(made, record=unsampled)])] == ["process batch"]


def test_spans_that_are_lost_are_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # A logger of its own: one that an earlier test has used may write where nobody listens any more.
    monkeypatch.setattr(tracing_module, "_log", structlog.get_logger())

    class Flaky(InMemorySpanExporter):
        result = SpanExportResult.FAILURE

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return self.result

    inner = Flaky()
    said = _LoggingExporter(inner)
    said.export([])
    said.export([])
    inner.result = SpanExportResult.SUCCESS
    said.export([])
    said.export([])
    out = capsys.readouterr().out
    assert out.count("tracing.lost") == 1
    assert out.count("tracing.resumed") == 1


def test_without_the_extra_nothing_misses_it() -> None:
    """Redis' client imports what it finds of OpenTelemetry, so here nothing is found."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None; import consumer.commands.cli, consumer.commands.run.service; "
    )
    code += "print('consumer.observability.tracing' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "False\n"


def test_traces_without_the_extra_are_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "consumer.observability.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setenv("CDC_TRACING__ENABLED", "true")
    monkeypatch.setenv("CDC_METRICS__PORT", "0")
    with pytest.raises(ConfigError, match=r"'\.\[otel\]'"):
        run(load(), reference(), Stop())
