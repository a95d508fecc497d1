"""The check of writer schemas, for `check`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from consumer.commands.shared.finding import Finding, failure, ok
from consumer.mapping.row_schema import incompatibilities, reader_schemas
from consumer.mapping.rules import Rules


def of_writer(topic: str, schema: str, table: str, rules: Rules) -> Iterator[Finding]:
    """Check the newest value schema of a topic in the registry against the columns that its table needs.

    If a topic contains several tables, the schema's table is not known: ``table`` is "", and there is no check.
    """
    reader = reader_schemas(rules).get(table)
    if reader is None:
        return
    subject = f"schema {topic}-value"
    try:
        writer: object = msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError):
        yield failure(subject, "it is not JSON, so not Avro", "use an Avro or JSON converter")
        return
    problems = incompatibilities(writer, reader)
    for problem in problems:
        yield failure(subject, problem, "correct the connector, or the mapping")
    if not problems:
        yield ok(subject, "its rows can be read")
