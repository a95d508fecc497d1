"""``check``: every server in the settings, asked; what it says, judged. Nothing is written anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from consumer import findings, kafka_client, redis_client
from consumer.avro import NO_SCHEMAS, Schemas
from consumer.config import Settings
from consumer.connect import ConnectApi
from consumer.connector_findings import of_connector
from consumer.errors import CdcError, ServerError
from consumer.findings import Finding
from consumer.followed import topic_pattern
from consumer.registry import Registry
from consumer.rules import Rules
from consumer.sampled import of_sample
from consumer.topic_reader import read_newest

_CONNECT_TIMEOUT_S = 5.0


def check(settings: Settings, rules: Rules) -> Iterator[Finding]:
    """What there is to say of each server, as it is found out; never raises for what a server does."""
    mapping = settings.mapping or "the reference"
    yield findings.ok("settings", f"valid; mapping: {mapping}, tables: {', '.join(rules.captured())}")
    yield from _redis(settings)
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
        topics, found = _topics(settings, rules)
        yield from found
        yield from _records(settings, topics, rules, registry or NO_SCHEMAS)
        if registry is not None:
            yield from _registry(registry, topics, rules)
    yield from _connect(settings)


def _redis(settings: Settings) -> Iterator[Finding]:
    try:
        with redis_client.connect(settings.redis) as client:
            found = redis_client.ask(client)
    except CdcError as error:
        yield findings.of_error("redis", error, "start it, or correct CDC_REDIS__URL")
    else:
        yield from findings.of_redis(found.version, found.policy)


def _topics(settings: Settings, rules: Rules) -> tuple[Sequence[str], Sequence[Finding]]:
    """The topics of the captured tables that are there, and what is to be said of them."""
    kafka = settings.kafka
    try:
        present = kafka_client.topics(kafka)
    except CdcError as error:
        return (), [findings.of_error("kafka", error, "start it, or correct CDC_KAFKA__BOOTSTRAP_SERVERS")]
    pattern = topic_pattern(kafka.topic_prefix, rules.captured())
    ours = {
        topic: count
        for topic, count in present.items()
        if (topic in kafka.topics if kafka.topics else re.match(pattern, topic))
    }
    answers = findings.ok("kafka", f"{kafka.bootstrap_servers} answers, {len(present)} topics")
    return sorted(ours), [answers, *findings.of_topics(ours, kafka.topics, kafka.topic_prefix, rules)]


def _records(settings: Settings, topics: Sequence[str], rules: Rules, schemas: Schemas) -> Iterator[Finding]:
    for topic in topics:
        try:
            records = read_newest(settings.kafka, topic)
            yield from of_sample(topic, records, rules, schemas)
        except CdcError as error:
            yield findings.of_error(f"records of {topic}", error)


def _registry(registry: Registry, topics: Sequence[str], rules: Rules) -> Iterator[Finding]:
    try:
        subjects = registry.subjects()
        yield findings.ok("registry", f"answers, {len(subjects)} subjects")
        for topic in topics:
            if (subject := f"{topic}-value") in subjects:
                yield from findings.of_writer(topic, registry.latest(subject), rules)
            else:
                yield findings.ok(f"schema {subject}", "the registry has none; only Avro needs one")
    except CdcError as error:
        yield findings.of_error("registry", error, "start it, or correct CDC_REGISTRY__URL")


def _connect(settings: Settings) -> Iterator[Finding]:
    prefix = settings.kafka.topic_prefix
    try:
        opened = ConnectApi(settings.connect.url, timeout=_CONNECT_TIMEOUT_S)
    except CdcError as error:
        yield findings.of_error("connect", error)
        return
    with opened as api:
        try:
            names = api.names()
        except ServerError as error:
            if "url" in settings.connect.model_fields_set:
                yield findings.of_error("connect", error, "start it, or correct CDC_CONNECT__URL")
            else:
                yield findings.ok("connect", "skipped: CDC_CONNECT__URL is not set, and none answers at its default")
            return
        ours = 0
        for name in names:
            try:
                connector = api.connector(name)
                if connector.config.get("topic.prefix") != prefix:
                    continue
                ours += 1
                status = api.status(name)
                trace = api.first_cause(status)
                yield from of_connector(name, connector.config, status.connector, status.tasks, trace)
            except ServerError as error:
                yield findings.of_error(f"connector {name}", error)
        if not ours:
            yield findings.warning(
                "connect",
                f"none of its {len(names)} connectors has topic.prefix={prefix}",
                "register one (cdc-consumer connect apply), or correct CDC_KAFKA__TOPIC_PREFIX",
            )
