"""Findings about a connector's state and about the settings that the rules need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from consumer.commands.shared.finding import Finding, failure, ok, warning
from consumer.source.connect.status import how_to_start

_RUNNING = "RUNNING"
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_FLATTENING = "ExtractNewRecordState"


def of_connector(
    name: str, config: Mapping[str, str], state: str, tasks: Sequence[str], trace: str, linked: Sequence[str] = ()
) -> Iterator[Finding]:
    """Findings about one connector.

    ``state`` and ``tasks``: with Connect's names. ``trace``: the first line of a failed part's trace, or empty.
    ``linked``: the linked tables; their rows should be in the partitions of their users' rows. Secrets in ``config``
    are neither read nor shown.
    """
    subject = f"connector {name}"
    found = [*_state(name, state, tasks, trace), *_settings(subject, config), *_keys(subject, config, linked)]
    yield from found or [
        ok(subject, f"runs, {len(tasks)} task{'s' if len(tasks) != 1 else ''}; its settings are right")
    ]


def _state(name: str, state: str, tasks: Sequence[str], trace: str) -> Iterator[Finding]:
    subject = f"connector {name}"
    text = f": {trace}" if trace else ""
    if "FAILED" in (state, *tasks):
        where = "the connector" if state == "FAILED" else f"task {list(tasks).index('FAILED')}"
        yield failure(subject, f"{where} FAILED{text}", "remove the cause, then: cdc-consumer connect status --restart")
    elif state != _RUNNING:
        yield failure(subject, f"is {state}", how_to_start(name, state))
    elif not tasks:
        yield failure(subject, "has no task", how_to_start(name, ""))
    elif others := [each for each in tasks if each != _RUNNING]:
        yield failure(subject, f"a task is {others[0]}", how_to_start(name, others[0]))


def _settings(subject: str, config: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about settings; a missing one has Debezium's or Kafka's default."""
    is_json = config.get("value.converter") == _JSON
    yield from _decimals(subject, config, is_json)
    if is_json and not _is_off(config, "value.converter.replace.null.with.default"):
        yield warning(
            subject,
            "value.converter.replace.null.with.default is not false: NULL in a column with a default arrives as the "
            "default value",
            "value.converter.replace.null.with.default=false",
        )
    if config.get("provide.transaction.metadata", "false").lower() != "true":
        yield warning(
            subject,
            "provide.transaction.metadata is not true: the rows of a transaction are not counted. No change is lost,"
            " but if one transaction changes a row to a value, back, and to the value again, its message is published"
            " again after a restart. Messages may lack the transaction's id, which joins a balance and its transaction",
            "provide.transaction.metadata=true",
        )
    for name, value in config.items():
        if name.startswith("transforms.") and name.endswith(".type") and value.endswith(_FLATTENING):
            yield failure(
                subject,
                f"{name} flattens the events: they lack the old row image",
                f"remove the transform {_FLATTENING} from the connector",
            )
    if config.get("heartbeat.interval.ms", "0") == "0":
        yield warning(
            subject,
            "heartbeat.interval.ms is 0: a failed connector looks like a quiet database, and the connector's position "
            "in the log is not stored while only other tables are written",
            "heartbeat.interval.ms=5000",
        )
    if _is_off(config, "tombstones.on.delete"):
        yield warning(
            subject,
            "tombstones.on.delete is false: a compacted topic keeps the delete of every user for ever",
            "tombstones.on.delete=true",
        )


def _keys(subject: str, config: Mapping[str, str], linked: Sequence[str]) -> Iterator[Finding]:
    keyed = config.get("message.key.columns", "")
    unkeyed = [table for table in linked if captures(config, table) and table not in keyed]
    if unkeyed:
        yield warning(
            subject,
            f"message.key.columns does not key {', '.join(unkeyed)} by the user: a user's tables may be assigned to "
            "different members, and one database transaction may cause several messages",
            "set message.key.columns and the transform of connect/README.md, Order and co-partitioning",
        )
    is_bare_json = config.get("key.converter") == _JSON and _is_off(config, "key.converter.schemas.enable")
    if "key.converter" in config and not is_bare_json:
        yield warning(
            subject,
            "key.converter is not JSON without schema: a user's key bytes differ between topics, so a user's tables "
            "may be assigned to different members",
            f"key.converter={_JSON}, key.converter.schemas.enable=false, and new topics",
        )


def captures(config: Mapping[str, str], table: str) -> bool:
    """Whether the connector captures a table of that name, in any database or schema."""
    included = config.get("table.include.list")
    if included is not None:
        return any(_names(pattern, table) for pattern in included.split(","))
    return not any(_names(pattern, table) for pattern in config.get("table.exclude.list", "").split(",") if pattern)


def _names(pattern: str, table: str) -> bool:
    """Whether the last part of ``pattern``, after database or schema, matches the table."""
    last = re.split(r"\\\.|\.(?![*+?])", pattern.strip())[-1]
    try:
        return re.fullmatch(last, table, re.IGNORECASE) is not None
    except re.error:  # a pattern of Java that Python can't parse
        return False


def _is_off(config: Mapping[str, str], name: str) -> bool:
    return config.get(name, "true").lower() == "false"


def _decimals(subject: str, config: Mapping[str, str], is_json: bool) -> Iterator[Finding]:
    mode = config.get("decimal.handling.mode", "precise").lower()
    if mode == "double":
        yield failure(
            subject, "decimal.handling.mode is double: money loses digits", "decimal.handling.mode=string, new snapshot"
        )
    elif mode == "precise" and is_json and _is_off(config, "value.converter.schemas.enable"):
        yield warning(
            subject,
            "decimal.handling.mode is precise in JSON without schema: the scale comes from the mapping",
            "decimal.handling.mode=string",
        )
