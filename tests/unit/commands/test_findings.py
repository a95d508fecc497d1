"""What ``check`` says of topics, records, schemas and connectors, without servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from consumer.commands.shared.check.connector_findings import captures, of_connector
from consumer.commands.shared.check.sampled import of_sample
from consumer.commands.shared.check.schema_findings import of_writer
from consumer.commands.shared.check.topic_findings import of_topics
from consumer.commands.shared.finding import (
    Finding,
    Level,
    exit_code,
    failure,
    of_error,
    ok,
    to_json,
    warning,
)
from consumer.commands.shared.screen import finding_lines
from consumer.errors import ConfigError, ServerError, Undecodable
from consumer.events.avro import NO_SCHEMAS, KnownSchemas, Schemas
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.settings.sections import Kafka
from consumer.settings.sections import Registry as RegistrySettings
from consumer.source import recording
from consumer.source.connect.client import ConnectApi, load_connector
from consumer.source.connect.status import ConnectorStatus
from consumer.source.registry import Registry
from consumer.source.topic_selection import Known, select

PROJECT = Path(__file__).parents[3]
RECORDINGS = PROJECT / "tests" / "recordings"
RULES = reference()
USERS = "trading.trading.live_users"


def worse(found: Iterable[Finding]) -> list[tuple[Level, str]]:
    return [(each.level, each.found) for each in found if each.level is not Level.OK]


def recorded(name: str, topic: str = USERS) -> tuple[list[SourceRecord], Schemas]:
    schemas = RECORDINGS / f"{name}.schemas.json"
    known = KnownSchemas(recording.read_schemas(schemas)) if schemas.exists() else NO_SCHEMAS
    return [each for each in recording.read(RECORDINGS / f"{name}.jsonl.gz") if each.topic == topic], known


def sampled(name: str) -> list[Finding]:
    records, schemas = recorded(name)
    return list(of_sample(USERS, records, RULES, schemas))


def altered(record: SourceRecord, at: int = 0, **parts: Any) -> SourceRecord:
    """The record with parts of its envelope set otherwise, as if it lay ``at`` further on."""
    assert record.value is not None
    envelope = json.loads(record.value) | parts
    return structs.replace(
        record,
        value=json.dumps(envelope).encode(),
        offset=record.offset + at,
        timestamp_ms=record.timestamp_ms + at,
    )


@pytest.fixture
def update() -> SourceRecord:
    """A JSON update without schema."""
    records, _ = recorded("json-string-isostring")
    return next(each for each in records if each.value and b'"op":"u"' in each.value)


def said(records: Iterable[SourceRecord], **rules: Any) -> list[Finding]:
    return list(of_sample(USERS, list(records), replace(RULES, **rules), NO_SCHEMAS))


def source(connector: str, schema: str = "", table: str = "live_users") -> dict[str, Any]:
    block: dict[str, Any] = {"connector": connector, "table": table, "db": "trading", "ts_ms": 1, "snapshot": "false"}
    if connector == "postgresql":
        return block | {"schema": schema, "sequence": '["1","2"]', "lsn": 2, "txId": 1}
    return block | {"server_id": 1, "file": "binlog.000001", "pos": 4, "row": 0}


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([ok("a", "b"), warning("a", "b")], 0),
        ([failure("a", "b"), ok("a", "b")], 1),
        ([failure("a", "b"), of_error("a", ConfigError("X", "no"))], 2),
        ([of_error("a", ServerError("X", "no"))], 1),
    ],
)
def test_the_exit_code_is_of_the_worst(found: list[Finding], code: int) -> None:
    assert exit_code(found) == code


def test_a_finding_as_text_and_as_json() -> None:
    assert of_error("redis", ConfigError("CDC_REDIS__URL", "no URL"), "start it").advice == "", "no server is at fault"
    found = of_error("redis", ServerError("Redis", "refused"), "start it")
    assert finding_lines(found) == ["failure  redis: Redis: refused", "           what to do: start it"]
    assert json.loads(to_json(found)) == {
        "level": "failure",
        "subject": "redis",
        "found": "Redis: refused",
        "advice": "start it",
    }
    assert finding_lines(ok("redis", "answers")) == ["ok       redis: answers"]


def topics(present: Mapping[str, int], *named: str) -> list[tuple[Level, str]]:
    settings = Kafka(topic_prefix="p", topics=named)
    selection = select(Known(present), settings, RULES.captured())
    found = of_topics(selection, present, settings, RULES)
    return [(each.level, each.subject) for each in found if each.level is not Level.OK]


def test_topics() -> None:
    every = {f"p.db.{table}": 8 for table in RULES.captured()}
    linked, users = "topic p.db.money_requests", "topic p.db.live_users"
    assert topics(every) == []
    assert topics({name: 8 for name in every if name != "p.db.money_requests"}) == [(Level.WARNING, linked)]
    assert topics({name: 8 for name in every if name != "p.db.live_users"}) == [(Level.FAILURE, users)]
    assert topics(every | {"p.db.live_users": 4}) == [(Level.WARNING, "topics")]
    assert topics({"p.db.live_users": 8}, "p.db.live_users") == []
    assert topics({"p.db.live_users": 8}, "p.db.live_users", "p.db.demo_users") == [
        (Level.FAILURE, "topic p.db.demo_users")
    ]


def test_a_topic_of_another_database_is_told() -> None:
    every = {f"p.db.{table}": 8 for table in RULES.captured()} | {"p.restore.live_users": 8}
    settings = Kafka(topic_prefix="p")
    selection = select(Known(every, remembered=frozenset({"db"})), settings, RULES.captured())
    found = list(of_topics(selection, every, settings, RULES))
    assert [each.subject for each in found if each.level is Level.WARNING] == ["topic p.restore.live_users"]
    assert exit_code(found) == 0


def test_records_that_are_as_they_should_be(update: SourceRecord) -> None:
    assert said([update]) == [ok(f"records of {USERS}", "the newest 1 can be read")]
    assert said([]) == [ok(f"records of {USERS}", "there are none yet, so nothing could be checked")]


@pytest.mark.parametrize(
    ("block", "advice"),
    [
        (source("postgresql", "public"), "ALTER TABLE public.live_users REPLICA IDENTITY FULL;"),
        (source("postgresql", 'My "Own"'), 'ALTER TABLE "My ""Own""".live_users REPLICA IDENTITY FULL;'),
        (source("mysql"), "set binlog_row_image=FULL"),
        (source("mariadb"), "set binlog_row_image=FULL"),
    ],
    ids=["postgres", "postgres-quoted", "mysql", "mariadb"],
)
def test_an_update_without_the_old_image_says_what_to_run(
    update: SourceRecord, block: dict[str, Any], advice: str
) -> None:
    block_of_tx = {"id": "1:2", "total_order": 1, "data_collection_order": 1}
    without = altered(update, before=None, source=block, transaction=block_of_tx)
    (found,) = [each for each in said([without]) if "old row image" in each.found]
    assert found.level is Level.FAILURE
    assert found.advice.startswith(advice)
    assert str(without.place) in found.found
    (found,) = [each for each in said([without], accept_missing_before=True) if "old row image" in each.found]
    assert found.level is Level.WARNING


def test_an_old_image_that_came_back_is_a_warning(update: SourceRecord) -> None:
    without = altered(update, before=None)
    found = worse(said([without, altered(update, 1)]))
    assert (
        Level.WARNING,
        f"1 of 2 updates come without the old row image, such as {without.place}; the newest update has it",
    ) in found
    assert all(level is Level.WARNING for level, _ in found)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\x00\x00\x00\x00\x07secret", "no schema registry"),
        (b"secret", "bytes that are not JSON"),
        (b'{"id": 7, "name": "secret", "__op": "u"}', "a flattened row"),
        (b'{"id": 7, "name": "secret"}', "not a Debezium change event"),
    ],
)
def test_records_that_run_would_stop_at(update: SourceRecord, value: bytes, words: str) -> None:
    found = said([structs.replace(update, value=value), structs.replace(update, value=value, offset=update.offset + 1)])
    (only,) = found
    assert only.level is Level.FAILURE
    assert words in only.found
    assert "(2 of 2 records)" in only.found
    assert str(structs.replace(update, offset=update.offset + 1).place) in only.found
    assert "secret" not in only.found + only.advice


def test_a_required_column_that_is_missing_is_named(update: SourceRecord) -> None:
    row = json.loads(update.value or b"")["after"]
    del row["margin"]
    (first, *_) = said([altered(update, after=row)])
    assert first.level is Level.FAILURE
    assert "margin: not in the row image of live_users" in first.found


def test_columns_unknown_and_gone(update: SourceRecord) -> None:
    row = json.loads(update.value or b"")["after"] | {"loyalty": "secret", "tier": 1}
    del row["sending_orders"]
    assert worse(said([altered(update, after=row)])) == [
        (Level.WARNING, "columns that the mapping does not name: loyalty, tier; their changes are not published"),
        (
            Level.WARNING,
            "columns of the mapping that the rows lack: sending_orders; their fields are not written",
        ),
    ]


def test_a_truncate_is_past(update: SourceRecord) -> None:
    ((level, words),) = worse(said([altered(update, op="t", before=None, after=None)]))
    assert level is Level.WARNING
    assert "TRUNCATE of live_users" in words


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        ("json-double", Level.FAILURE, "money as a floating point number"),
        ("avro-double", Level.FAILURE, "money as a floating point number"),
        ("json-precise-microseconds", Level.WARNING, "precise decimals in JSON without schema"),
        ("avro-string-isostring", Level.WARNING, "Avro: NULL in a column that has a default arrives as the default"),
        ("avro-precise-adaptive", Level.WARNING, "Avro: NULL in a column that has a default arrives as the default"),
    ],
)
def test_formats(name: str, level: Level, words: str) -> None:
    assert any(found == level and words in said for found, said in worse(sampled(name)))


@pytest.mark.parametrize("name", ["json-string-isostring", "json-string-connect", "json-schema-precise-adaptive"])
def test_formats_with_nothing_to_say_of(name: str) -> None:
    assert {said.partition(":")[0].partition(" that")[0] for _, said in worse(sampled(name))} <= {
        "columns",
        "columns of the mapping",
    }


def test_the_registrys_schemas() -> None:
    schema = json.dumps({"type": "record", "name": "Value", "fields": [{"name": "id", "type": "double"}]})
    found = worse(of_writer(USERS, schema, "live_users", RULES))
    assert (Level.FAILURE, "margin: missing, and it is required") in found
    assert any(words.startswith("id: double can not be read") for _, words in found)
    assert worse(of_writer(USERS, "syntax = 1", "live_users", RULES)) == [
        (Level.FAILURE, "it is not JSON, so not Avro")
    ]
    assert list(of_writer("cdc.users", schema, "", RULES)) == []
    known = json.loads((RECORDINGS / "avro-string-isostring.schemas.json").read_text())
    envelopes = [text for text in known.values() if "copytrading_alloted_time" in str(text)]
    text = envelopes[-1] if isinstance(envelopes[-1], str) else json.dumps(envelopes[-1])
    assert worse(of_writer(USERS, text, "live_users", RULES)) == []


def registry(answer: httpx.Response) -> Registry:
    return Registry(RegistrySettings(url="http://registry.test"), httpx.MockTransport(lambda _: answer))


def test_what_a_registry_says_of_subjects() -> None:
    assert registry(httpx.Response(200, json=["a-value"])).subjects() == {"a-value"}
    assert registry(httpx.Response(200, json={"schema": '"string"'})).latest("a-value") == '"string"'
    with pytest.raises(ServerError, match="without subjects"):
        registry(httpx.Response(200, text="<html>")).subjects()
    with pytest.raises(ServerError, match="without a schema"):
        registry(httpx.Response(404, json={"error_code": 40401})).latest("a-value")
    with pytest.raises(Undecodable, match="subject a-value is of type JSON"):
        registry(httpx.Response(200, json={"schema": "{}", "schemaType": "JSON"})).latest("a-value")


class _Any(dict[str, str]):
    """A value for every placeholder."""

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return default if default is not None else "x"


@pytest.mark.parametrize("name", ["mysql", "mariadb", "postgres"])
def test_our_own_connectors_are_right(name: str) -> None:
    config = load_connector(PROJECT / "connect" / f"{name}.json", _Any()).config
    (found,) = of_connector("c", config, "RUNNING", ["RUNNING"], "")
    assert found == ok("connector c", "runs, 1 task; its settings are right")


@pytest.mark.parametrize(
    ("lines", "level", "words"),
    [
        ({"decimal.handling.mode": "double"}, Level.FAILURE, "money loses digits"),
        ({"decimal.handling.mode": "precise"}, Level.WARNING, "the scale comes from the mapping"),
        ({"value.converter.replace.null.with.default": "true"}, Level.WARNING, "arrives as the default"),
        ({"provide.transaction.metadata": "false"}, Level.WARNING, "provide.transaction.metadata is not true"),
        ({"provide.transaction.metadata": "false"}, Level.WARNING, "No change is lost"),
        ({"transforms.flat.type": "io.debezium.transforms.ExtractNewRecordState"}, Level.FAILURE, "flattens"),
        ({"tombstones.on.delete": "false"}, Level.WARNING, "tombstones.on.delete is false"),
        ({"heartbeat.interval.ms": "0"}, Level.WARNING, "a failed connector looks like a quiet database"),
    ],
)
def test_settings_that_the_rules_rely_on(lines: dict[str, str], level: Level, words: str) -> None:
    config = load_connector(PROJECT / "connect" / "mysql.json", _Any()).config | lines
    ((found, said),) = worse(of_connector("c", config, "RUNNING", ["RUNNING"], ""))
    assert found is level
    assert words in said


def test_precise_with_a_schema_has_its_scale() -> None:
    config = load_connector(PROJECT / "connect" / "mysql.json", _Any()).config
    config |= {"decimal.handling.mode": "precise", "value.converter.schemas.enable": "true"}
    assert worse(of_connector("c", config, "RUNNING", ["RUNNING"], "")) == []


LINKED = ["user_transactions", "money_requests"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"message.key.columns": ""}, "does not key user_transactions, money_requests by the user"),
        ({"message.key.columns": "trading.user_transactions:user_id"}, "does not key money_requests by the user"),
        ({"key.converter.schemas.enable": "true"}, "key.converter is not JSON without schema"),
        ({"key.converter": "io.apicurio.AvroConverter"}, "key.converter is not JSON without schema"),
    ],
)
def test_a_users_tables_should_meet(lines: dict[str, str], words: str) -> None:
    config = load_connector(PROJECT / "connect" / "mysql.json", _Any()).config
    assert worse(of_connector("c", config, "RUNNING", ["RUNNING"], "", LINKED)) == []
    ((level, said),) = worse(of_connector("c", config | lines, "RUNNING", ["RUNNING"], "", LINKED))
    assert level is Level.WARNING
    assert words in said


@pytest.mark.parametrize(
    ("config", "is_captured"),
    [
        ({"table.include.list": r"trading\.(live_users|demo_users)"}, True),
        ({"table.include.list": "trading.live_users"}, True),
        ({"table.include.list": r"a\.b, Trading\.LIVE_USERS"}, True),
        ({"table.include.list": r"trading\..*"}, True),
        ({"table.include.list": ".*"}, True),
        ({"table.include.list": r"trading\.live_users_old,trading\.users"}, False),
        ({"table.include.list": r"trading\.(("}, False),
        ({"table.include.list": ""}, False),
        ({}, True),
        ({"table.exclude.list": r"trading\.live_users"}, False),
        ({"table.exclude.list": r"trading\.demo_users"}, True),
    ],
)
def test_what_a_connector_captures(config: dict[str, str], is_captured: bool) -> None:
    assert captures(config, "live_users") is is_captured


@pytest.mark.parametrize(
    ("state", "tasks", "words"),
    [
        ("RUNNING", ["FAILED"], "task 0 FAILED: boom"),
        ("FAILED", [], "the connector FAILED: boom"),
        ("PAUSED", ["PAUSED"], "is PAUSED"),
        ("RUNNING", [], "has no task"),
        ("RUNNING", ["RUNNING", "UNASSIGNED"], "a task is UNASSIGNED"),
    ],
)
def test_a_connector_that_does_not_run(state: str, tasks: list[str], words: str) -> None:
    config = load_connector(PROJECT / "connect" / "mysql.json", _Any()).config
    assert worse(of_connector("c", config, state, tasks, "boom")) == [(Level.FAILURE, words)]


def test_a_trace_shows_its_first_line_and_no_secret() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"database.password": "hunter2", "topic.prefix": "p"})

    with ConnectApi("http://connect.test", transport=httpx.MockTransport(answer)) as api:
        assert api.connector("c").config["topic.prefix"] == "p"
        failed = ConnectorStatus("RUNNING", ("FAILED",), ("Access denied: hunter2\n\tat x.Y\nCaused by: z",))
        assert api.first_cause(failed) == "Access denied: ***"


def test_an_address_is_shown_without_its_password() -> None:
    api = ConnectApi(
        "http://me:hunter2@connect.test:8083", transport=httpx.MockTransport(lambda _: httpx.Response(500))
    )
    with api, pytest.raises(ServerError, match=r"Kafka Connect http://connect\.test:8083: ") as refusal:
        api.names()
    assert "hunter2" not in str(refusal.value)


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="CDC_CONNECT__URL"):
        ConnectApi("http://connect.test:port")
    with pytest.raises(ConfigError, match="CDC_REGISTRY__URL"):
        Registry(RegistrySettings(url="http://registry.test:port"))


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200, text="<html>"), httpx.Response(200, json={"a": 1}), httpx.Response(200, text="[" * 9999)],
)
def test_another_server_is_no_kafka_connect(answer: httpx.Response) -> None:
    api = ConnectApi("http://connect.test", transport=httpx.MockTransport(lambda _: answer))
    with api, pytest.raises(ServerError, match="answers, but"):
        api.names()
