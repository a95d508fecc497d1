"""``check``: asks every server in the settings, and judges the answers. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import redis

from consumer.commands.shared import finding as findings
from consumer.commands.shared.check import kafka_survey, redis_findings, redis_survey, topic_findings
from consumer.commands.shared.check.connector_findings import captures, of_connector
from consumer.commands.shared.check.sampled import of_sample
from consumer.commands.shared.check.schema_findings import of_writer
from consumer.commands.shared.check.topic_findings import TopicSettings
from consumer.commands.shared.finding import Finding
from consumer.errors import CdcError, Place, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.mapping.rules import Rules
from consumer.settings.sources import Settings
from consumer.sink import client as redis_client
from consumer.sink import group_databases
from consumer.sink.address import Kind
from consumer.sink.keyspace import Keyspace, keyspace
from consumer.sink.rights import wanted
from consumer.sink.streams import other_kinds
from consumer.source.clients import kafka as kafka_client
from consumer.source.connect.client import ConnectApi
from consumer.source.consumed_topics import selected
from consumer.source.dead_letter_topic import DeadLetterTopic
from consumer.source.letter_reader import read_letters
from consumer.source.registry import Registry
from consumer.source.topic_reader import read_newest
from consumer.source.topic_selection import Selection

_CONNECT_TIMEOUT_S = 5.0


def check(settings: Settings, rules: Rules) -> Iterator[Finding]:
    """The findings about each server, as they are found; raises nothing for a server's failure."""
    mapping = settings.mapping or "the reference"
    yield findings.ok("settings", f"valid; mapping: {mapping}, tables: {', '.join(rules.captured())}")
    yield from _redis(settings, rules)
    captured, of_connect = _connect(settings, rules)
    with ExitStack() as exits:
        registry = None
        if settings.registry.url is not None:
            try:
                registry = Registry(settings.registry)
            except CdcError as error:
                yield findings.of_error("registry", error)
            else:
                exits.callback(registry.close)
        else:
            yield findings.ok("registry", "none is set (CDC_REGISTRY__URL); only Avro needs one")
        selection, found = _topics(settings, rules, registry or NO_SCHEMAS, captured)
        yield from found
        if selection is not None:
            rules = replace(rules, databases=selection.databases)
            yield from _records(settings, selection, rules, registry or NO_SCHEMAS)
        if registry is not None:
            yield from _registry(registry, selection, rules)
    yield from of_connect


def _redis(settings: Settings, rules: Rules) -> Iterator[Finding]:
    try:
        with closing(keyspace(settings.redis)) as keys:
            clients = _clients(keys)
            found_by_server = [list(_of_server(client, settings, rules)) for client in clients]
            of_streams = list(_of_streams(keys, rules))
    except CdcError as error:
        yield findings.of_error("redis", error, "start it, or correct CDC_REDIS__URL")
        return
    for client, findings_here in zip(clients, found_by_server, strict=True):
        at = client.get_connection_kwargs()
        for each in findings_here:
            if all(each in others for others in found_by_server):
                if findings_here is found_by_server[0]:
                    yield each
            else:
                yield replace(each, subject=f"{each.subject} at {at['host']}:{at['port']}")
    yield from of_streams


def _of_streams(keys: Keyspace, rules: Rules) -> Iterator[Finding]:
    if rules.streams is None:
        return
    try:
        others = other_kinds(keys, rules)
    except redis.exceptions.NoPermissionError:
        return  # a finding about the account reports it
    except redis.RedisError as error:
        raise redis_client.at_start(error) from None
    limits = [rules.streams.limit_of(channel) for channel in rules.channels()]
    yield from redis_findings.of_streams(rules.stream_keys(), limits, others)


def _clients(keys: Keyspace) -> Sequence[redis.Redis]:
    try:
        return keys.clients()
    except redis.RedisError as error:
        raise redis_client.at_start(error) from None


def _of_server(client: redis.Redis, settings: Settings, rules: Rules) -> Iterator[Finding]:
    """Findings about one server, or one master of a cluster."""
    is_cluster = redis_client.address_of(settings.redis).kind is Kind.CLUSTER
    server = redis_client.ask(client)
    yield from redis_findings.of_redis(server.version, server.policy, has_streams=rules.streams is not None)
    if (survey := redis_survey.survey(client)) is not None:
        yield from redis_findings.of_place(survey.mode, survey.role, survey.cluster_state, is_cluster=is_cluster)
        yield redis_findings.of_persistence(survey.is_logged)
    with suppress(ServerUnavailable):  # a replica, or out of memory: another finding reports that
        yield redis_findings.of_script(redis_survey.refusal(client))
    group, has_tracking = settings.kafka.group_id, settings.redis.tracking
    rights = redis_survey.rights(client, rules, group, has_tracking=has_tracking, is_cluster=is_cluster)
    has_functions = redis_findings.has_functions(server.version)
    enough = wanted(rules, group, has_functions=has_functions, is_cluster=is_cluster)
    if rights is None:
        yield redis_findings.of_unknown_rights(enough)
    else:
        yield from redis_findings.of_rights(rights.user, rights.refused, enough)


def _topics(
    settings: Settings, rules: Rules, schemas: Schemas, captured: Collection[str]
) -> tuple[Selection | None, Sequence[Finding]]:
    """The topics that are consumed, and the findings about them."""
    kafka = settings.kafka
    try:
        present, version = kafka_client.topics(kafka), kafka_survey.broker_version(kafka)
    except CdcError as error:
        return None, [findings.of_error("kafka", error, "start it, or correct CDC_KAFKA__BOOTSTRAP_SERVERS")]
    broker = topic_findings.of_broker(version, kafka.bootstrap_servers, len(present))
    try:
        selection = selected(settings, rules, schemas, group_databases.load_if_reachable)
        present = kafka_client.topics(kafka)  # the selection may have topics that were created since
    except CdcError as error:
        return None, [broker, findings.of_error("topics", error)]
    found = [
        broker,
        *topic_findings.of_topics(selection, present, kafka, rules, captured),
        *_history(settings, selection, rules, present.keys()),
    ]
    found += topic_findings.of_heartbeats(settings.heartbeat_topics, present)
    if not settings.source.database:
        found += topic_findings.of_unnamed_database(selection.topics, rules)
    return selection, found


def _history(settings: Settings, selection: Selection, rules: Rules, present: Collection[str]) -> Iterator[Finding]:
    """Whether Redis can be rebuilt from the topics, and whether dead letters can be written."""
    kafka, topics = settings.kafka, selection.topics
    letters = settings.dead_letter_topic
    try:
        answers = kafka_survey.topic_settings(kafka, [each for each in (*topics, letters) if each in present])
        known = {topic: TopicSettings.read(values) for topic, values in answers.items()}
    except CdcError as error:
        yield findings.of_error("history", error)
        return
    for topic in topics:
        yield from topic_findings.of_history(
            topic, selection.tables.of(topic), known.get(topic), rules, kafka.history_days
        )
    if letters in present:
        sources = {topic: known[topic] for topic in topics if topic in known}
        yield from topic_findings.of_dead_letters(letters, known.get(letters), sources, kafka.history_days)
        return
    try:
        DeadLetterTopic(kafka, letters).check_creation()
    except CdcError as error:
        yield findings.of_error(f"dead letters {letters}", error)
    else:
        yield findings.ok(f"dead letters {letters}", "there is no topic yet; `run` can create it")


def _records(settings: Settings, selection: Selection, rules: Rules, schemas: Schemas) -> Iterator[Finding]:
    settled: Collection[Place] = ()
    with suppress(CdcError):  # another finding reports problems of the dead letter topic
        settled = read_letters(settings.kafka, settings.dead_letter_topic).discarded
    for topic in selection.topics:
        try:
            # Discarded records are not applied, so their problems do not matter.
            records = [each for each in read_newest(settings.kafka, topic) if each.place not in settled]
            yield from of_sample(topic, records, rules, schemas)
        except CdcError as error:
            yield findings.of_error(f"records of {topic}", error)


def _registry(registry: Registry, selection: Selection | None, rules: Rules) -> Iterator[Finding]:
    try:
        subjects = registry.subjects()
        yield findings.ok("registry", f"answers, {len(subjects)} subjects")
        if selection is None:
            return
        for topic in selection.topics:
            if (subject := f"{topic}-value") in subjects:
                yield from of_writer(topic, registry.latest(subject), selection.tables.only(topic), rules)
            else:
                yield findings.ok(f"schema {subject}", "the registry has none; only Avro needs one")
    except CdcError as error:
        yield findings.of_error("registry", error, "start it, or correct CDC_REGISTRY__URL")


def _connect(settings: Settings, rules: Rules) -> tuple[Collection[str], Sequence[Finding]]:
    """The tables that running connectors capture, and the findings about the connectors."""
    try:
        opened = ConnectApi(settings.connect, timeout=_CONNECT_TIMEOUT_S)
    except CdcError as error:
        return (), [findings.of_error("connect", error)]
    with opened as api:
        try:
            names = api.names()
        except CdcError as error:
            if "url" in settings.connect.model_fields_set:
                return (), [findings.of_error("connect", error, "start it, or correct CDC_CONNECT__URL")]
            skipped = "skipped: CDC_CONNECT__URL is not set, and none answers at its default"
            return (), [findings.ok("connect", skipped)]
        return _connectors(api, names, settings.kafka.topic_prefix, rules)


def _connectors(
    api: ConnectApi, names: Sequence[str], prefix: str, rules: Rules
) -> tuple[Collection[str], Sequence[Finding]]:
    linked = [table.table for table in rules.linked]
    captured: set[str] = set()
    found: list[Finding] = []
    for name in names:
        try:
            config = api.connector(name).config
            if config.get("topic.prefix") != prefix:
                continue
            status = api.status(name)
            cause = api.first_cause(status)
            found += of_connector(name, config, status.connector, status.tasks, cause, linked)
            if status.running:
                captured |= {table for table in rules.captured() if captures(config, table)}
        except CdcError as error:
            found.append(findings.of_error(f"connector {name}", error))
    return captured, found or [
        findings.warning(
            "connect",
            f"none of its {len(names)} connectors has topic.prefix={prefix}",
            "register one (cdc-consumer connect apply), or correct CDC_KAFKA__TOPIC_PREFIX",
        )
    ]
