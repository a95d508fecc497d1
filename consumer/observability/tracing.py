"""OpenTelemetry traces: a span for each batch, and a span for each change that carries a trace context.

Imported only if tracing is enabled. OpenTelemetry's own variables set where spans are sent and how many are sampled.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence

import structlog
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from consumer import __version__
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.observability.batch_counts import APPLIED, outcome_of
from consumer.pipeline.protocols import RecordResult

_log = structlog.get_logger(__name__)
_SHUTDOWN_S = 2.0
_SYSTEM = {"messaging.system": "kafka", "messaging.operation.type": "process"}


class Tracing:
    """Creates the spans of each batch when it is done. ``exporter`` sends them."""

    def __init__(self, exporter: SpanExporter, group: str) -> None:
        named = Resource({"service.name": "cdc-consumer", "service.version": __version__})
        self._provider = TracerProvider(resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()))
        self._exporter = exporter
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("cdc-consumer", __version__)
        self._names = frozenset(name.lower() for name in propagate.get_global_textmap().fields)
        self._group = group
        self._began_ns = 0

    def batch_started(self, records: Sequence[SourceRecord]) -> None:
        """Work on a batch begins."""
        self._began_ns = time.time_ns()

    def records_done(self, results: Sequence[RecordResult]) -> None:
        """The batch is done: create its spans."""
        ended_ns = time.time_ns()
        batch = self._tracer.start_span(
            "process batch",
            kind=SpanKind.CONSUMER,
            start_time=self._began_ns,
            attributes={
                **_SYSTEM,
                "messaging.consumer.group.name": self._group,
                "messaging.batch.message_count": len(results),
            },
        )
        for result in results:
            if outcome_of(result) == APPLIED:
                self._continue_trace(result, batch, ended_ns)
        batch.end(ended_ns)

    def close(self) -> None:
        """Send the remaining spans, for at most two seconds."""
        # shutdown() ends the exporter's retries, which would delay the end of the program.
        gives_up = threading.Timer(_SHUTDOWN_S, self._exporter.shutdown)
        gives_up.start()
        try:
            self._provider.shutdown()
        finally:
            gives_up.cancel()

    def _continue_trace(self, result: RecordResult, batch: Span, ended_ns: int) -> None:
        carrier = carried(result.record, result.decision.event, self._names)
        context = propagate.extract(carrier) if carrier else None
        if context is None or not trace.get_current_span(context).get_span_context().is_valid:
            return
        span = self._tracer.start_span(
            f"process {result.record.topic}",
            context,
            SpanKind.CONSUMER,
            start_time=self._began_ns,
            links=[Link(batch.get_span_context())],
            attributes={**_SYSTEM, **_place(result.record), "db.collection.name": result.decision.table},
        )
        span.end(ended_ns)


class _LoggingExporter(SpanExporter):
    """Logs when spans can't be sent, and when they can be sent again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._is_lost = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        was_lost, self._is_lost = self._is_lost, result is not SpanExportResult.SUCCESS
        if self._is_lost and not was_lost:
            _log.warning("traces can't be sent and are lost", action="tracing.lost", spans=len(spans))
        elif was_lost and not self._is_lost:
            _log.info("traces are sent again", action="tracing.resumed")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def open_tracing(group: str) -> Tracing:
    """Tracing to the collector in ``OTEL_EXPORTER_OTLP_ENDPOINT``; default: a collector on this machine."""
    return Tracing(_LoggingExporter(OTLPSpanExporter()), group)


def _place(record: SourceRecord) -> dict[str, AttributeValue]:
    return {
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }


COLUMN = "tracingspancontext"
"""The default of Debezium's ``tracing.span.context.field``."""
_LONGEST = 2000
_PROPERTY = re.compile(r"^[ \t]*([\w.-]+)[ \t]*[=:][ \t]*(.*?)[ \t]*$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")


def carried(record: SourceRecord, event: ChangeEvent | None, names: Collection[str]) -> Mapping[str, str]:
    """The values of the trace context fields ``names`` in a change; of a repeated header the last one."""
    found = {
        name.lower(): value.decode("ascii", "replace")
        for name, value in record.headers
        if value is not None and name.lower() in names
    }
    if found or event is None or event.after is None:
        return found
    text = event.after.get(COLUMN)
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    properties = {name.lower(): _ESCAPED.sub(r"\1", value) for name, value in _PROPERTY.findall(text)}
    return {name: value for name, value in properties.items() if name in names}
