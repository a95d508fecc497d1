"""Asks the servers, each in its own way; each survey opens its connections and closes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import redis
from kafka import KafkaAdminClient, TopicPartition

from consumer.commands.shared.status.facts import Connector, Kafka, Redis, RedisServer, Unknown
from consumer.errors import CdcError, ServerError
from consumer.events.record import Partition
from consumer.settings import sections
from consumer.settings.sources import Settings
from consumer.sink import report_store
from consumer.sink.client import address_of, at_start, info
from consumer.sink.keyspace import keyspace, within
from consumer.source.clients.kafka import end_offsets, failed, open_admin, open_consumer
from consumer.source.connect.client import ConnectApi
from consumer.source.heartbeat_reader import HeartbeatReader
from consumer.source.letter_reader import read_letters

_ANSWER_S = 3.0


def connectors(settings: Settings) -> Sequence[Connector] | None:
    """The connectors with our ``topic.prefix``; None if none answers at the default address.

    Raises:
        CdcError: Connect does not answer, or refuses.
    """
    with ConnectApi(settings.connect, timeout=_ANSWER_S) as api:
        try:
            present = api.present()
        except ServerError:
            if "url" in settings.connect.model_fields_set:
                raise
            return None
        return [
            Connector(
                each.name, each.status.connector, each.status.tasks, api.first_cause(each.status), each.status.version
            )
            for each in present
            if each.config.get("topic.prefix") == settings.kafka.topic_prefix
        ]


def redis_servers(settings: Settings, now_ms: int) -> Redis:
    """Redis' servers, and what the group has left there.

    Raises:
        CdcError: Redis does not answer, or refuses.
    """
    server = within(settings.redis, round(_ANSWER_S * 1000))
    address = address_of(server)
    try:
        with closing(keyspace(server)) as keys:
            servers = [_server(client, address.service) for client in keys.clients()]
            reports = report_store.load(keys, settings.kafka.group_id, now_ms)
    except redis.RedisError as error:
        raise at_start(error) from None
    return Redis(str(address.kind), servers, reports)


def _server(client: redis.Redis, service: str) -> RedisServer:
    """``service``: of the sentinels that name this server; its address may change."""
    memory = info(client, "memory")
    server, stats, replication = (info(client, each) for each in ("server", "stats", "replication"))
    at = client.get_connection_kwargs()
    return RedisServer(
        f"the master of {service}" if service else f"{at.get('host', '')}:{at.get('port', '')}",
        str(server.get("redis_version", "")),
        str(replication.get("role", "master")),
        int(memory.get("used_memory", 0)),
        int(memory.get("maxmemory", 0)),
        str(memory.get("maxmemory_policy", "")),
        int(stats.get("evicted_keys", 0)),
    )


def kafka_group(settings: Settings) -> Kafka:
    """The group and the heartbeats.

    Raises:
        CdcError: Kafka does not answer, or refuses.
    """
    kafka = settings.kafka
    try:
        with open_admin(kafka) as admin:
            version = ".".join(map(str, admin.config["api_version"]))
            present = {each["topic"]: len(each["partitions"]) for each in admin.describe_topics()}
            reached = _reached(admin, kafka.group_id, present)
            members = _members(admin, kafka.group_id)
    except CdcError:
        raise
    except Exception as error:  # the client raises many kinds
        raise failed(error) from None
    topics = {part.topic: present[part.topic] for part in reached}
    left = _left(kafka, reached) if reached else {}
    return Kafka(f"{version} or later", topics, left, members, _heartbeats(settings, sorted(topics)))


def _reached(admin: KafkaAdminClient, group: str, present: Mapping[str, int]) -> dict[Partition, int]:
    """The group's offsets, without those of topics that do not exist any more."""
    found = admin.list_consumer_group_offsets(group)
    return {
        Partition(part.topic, part.partition): offset.offset
        for part, offset in found.items()
        if offset.offset >= 0 and part.partition < present.get(part.topic, 0)
    }


def _members(admin: KafkaAdminClient, group: str) -> int:
    found: Any = admin.describe_consumer_groups([group])
    described = found[group] if isinstance(found, dict) else found[0]
    return len(described["members"] if isinstance(described, dict) else described.members)


def _left(settings: sections.Kafka, reached: Mapping[Partition, int]) -> dict[Partition, int]:
    consumer = open_consumer(settings)
    try:
        ends = end_offsets(consumer, [TopicPartition(*each) for each in reached])
    except Exception as error:
        raise failed(error) from None
    finally:
        consumer.close(autocommit=False)
    return {part: max(0, ends[TopicPartition(*part)] - offset) for part, offset in reached.items()}


def _heartbeats(settings: Settings, tables: Sequence[str]) -> Mapping[str, float | None] | Unknown:
    reader = HeartbeatReader(settings.kafka, settings.heartbeat_topics, tables)
    try:
        return reader.look()
    except CdcError as error:
        return Unknown.of(error)
    finally:
        reader.close()


def letters(settings: Settings) -> Mapping[str, int]:
    """The number of open dead letters of the group, by reason.

    Raises:
        CdcError: Kafka does not answer, or refuses.
    """
    return Counter(each.last.reason for each in read_letters(settings.kafka, settings.dead_letter_topic).open())
