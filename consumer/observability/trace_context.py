"""Where a change says which trace it belongs to: in headers of the record, or in a column of the row.

Debezium's transformation ``ActivateTracingSpan`` puts headers on the record (``traceparent``, or those of whatever
format OpenTelemetry is told to use). What it makes them of, the application wrote into a column of the row, as Java
properties; that column is read here where the transformation is not in use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord

COLUMN = "tracingspancontext"
"""Debezium's own name of it, ``tracing.span.context.field``."""
_LONGEST = 2000
_PROPERTY = re.compile(r"^[ \t]*([\w.-]+)[ \t]*[=:][ \t]*(.*?)[ \t]*$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")


def carried(record: SourceRecord, event: ChangeEvent | None, names: Collection[str]) -> Mapping[str, str]:
    """The parts of a trace's context called ``names`` that a change carries; of a repeated header the last."""
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
