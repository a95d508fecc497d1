"""A connector's state and settings, to findings: the settings that the rules rely on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consumer.findings import Finding, failure, ok, warning

_RUNNING = "RUNNING"
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_FLATTENING = "ExtractNewRecordState"


def of_connector(
    name: str, config: Mapping[str, str], state: str, tasks: Sequence[str], trace: str
) -> Iterator[Finding]:
    """``state`` and ``tasks`` as Connect names them; ``trace`` is the first line of a failed part's, or empty.

    Secrets in ``config`` are neither read nor repeated.
    """
    subject = f"connector {name}"
    found = [*_state(subject, state, tasks, trace), *_settings(subject, config)]
    yield from found or [
        ok(subject, f"runs, {len(tasks)} task{'s' if len(tasks) != 1 else ''}; its settings are right")
    ]


def _state(subject: str, state: str, tasks: Sequence[str], trace: str) -> Iterator[Finding]:
    said = f": {trace}" if trace else ""
    if "FAILED" in (state, *tasks):
        where = "the connector" if state == "FAILED" else f"task {list(tasks).index('FAILED')}"
        yield failure(subject, f"{where} FAILED{said}", "remove the cause, then: cdc-consumer connect status --restart")
    elif state != _RUNNING:
        yield failure(subject, f"is {state}", "resume it, or wait until Connect has started it")
    elif not tasks:
        yield failure(subject, "has no task", "wait until Connect has started it, or restart it")
    elif others := [each for each in tasks if each != _RUNNING]:
        yield failure(subject, f"a task is {others[0]}", "resume it, or wait until Connect has started it")


def _settings(subject: str, config: Mapping[str, str]) -> Iterator[Finding]:
    """Defaults are Debezium's and Kafka's."""
    is_json = config.get("value.converter") == _JSON
    yield from _decimals(subject, config, is_json)
    if is_json and config.get("value.converter.replace.null.with.default", "true").lower() != "false":
        yield warning(
            subject,
            "value.converter.replace.null.with.default is not false: NULL in a column with a default arrives as the "
            "default",
            "value.converter.replace.null.with.default=false",
        )
    if config.get("provide.transaction.metadata", "false").lower() != "true":
        is_mariadb = "mariadb" in config.get("connector.class", "").lower()
        say = failure if is_mariadb else warning
        why = (
            "of several changes of a user in one database transaction only the first would count"
            if is_mariadb
            else "messages may lack the database transaction's id, which joins a balance with its transaction"
        )
        yield say(subject, f"provide.transaction.metadata is not true: {why}", "provide.transaction.metadata=true")
    for name, value in config.items():
        if name.startswith("transforms.") and name.endswith(".type") and value.endswith(_FLATTENING):
            yield failure(
                subject,
                f"{name} flattens the events: the old row image is gone",
                f"take the transformation {_FLATTENING} off the connector",
            )
    if config.get("tombstones.on.delete", "true").lower() == "false":
        yield warning(
            subject,
            "tombstones.on.delete is false: a compacted topic keeps the delete of every user for ever",
            "tombstones.on.delete=true",
        )


def _decimals(subject: str, config: Mapping[str, str], is_json: bool) -> Iterator[Finding]:
    mode = config.get("decimal.handling.mode", "precise").lower()
    if mode == "double":
        yield failure(
            subject, "decimal.handling.mode is double: money loses digits", "decimal.handling.mode=string, new snapshot"
        )
    elif mode == "precise" and is_json and config.get("value.converter.schemas.enable", "true").lower() == "false":
        yield warning(
            subject,
            "decimal.handling.mode is precise in JSON without schema: the scale comes from the mapping",
            "decimal.handling.mode=string",
        )
