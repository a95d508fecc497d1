"""What ``status`` has found out, without a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumer import __version__
from consumer.errors import CdcError, ConfigError, ServerError
from consumer.events.record import Partition
from consumer.settings.sources import Settings
from consumer.sink.report_store import Reports


@dataclass(frozen=True, slots=True)
class Unknown:
    """A server that could not be asked. ``is_setting``: a setting of this program is wrong."""

    why: str
    advice: str = ""
    is_setting: bool = False

    @classmethod
    def of(cls, error: CdcError) -> Unknown:
        """From an error of this program. The line of the screen names the server already."""
        if isinstance(error, ConfigError):
            allowed = f"correct {error.field}; allowed: {error.allowed}" if error.allowed else ""
            return cls(f"{error.field}: {error.problem}", error.fix or allowed, is_setting=True)
        is_named = isinstance(error, ServerError) and error.server in ("Redis", "Kafka")
        why = error.problem if isinstance(error, ServerError) and is_named else str(error)
        return cls(why, error.advice)


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector. ``state`` and ``tasks``: with Connect's names. ``cause``: why a part failed, on one line, or ""."""

    name: str
    state: str
    tasks: Sequence[str]
    cause: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server, or one master of a cluster. Sizes in bytes; ``limit`` 0: none. ``version`` "": it refuses INFO."""

    address: str
    version: str = ""
    role: str = "master"
    used: int = 0
    limit: int = 0
    policy: str = ""
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class Redis:
    """``kind``: what the URL names: one server, a cluster, a service of sentinels."""

    kind: str
    servers: Sequence[RedisServer]
    reports: Reports


@dataclass(frozen=True, slots=True)
class Kafka:
    """The group as Kafka knows it.

    ``topics``: the number of partitions of each existing topic for which the group has offsets. ``left``: the records
    after the group's offset, by partition. ``members``: the number of members. ``heartbeats``: the newest time of each
    heartbeat topic, UTC seconds; None: the topic is empty.
    """

    version: str
    topics: Mapping[str, int]
    left: Mapping[Partition, int]
    members: int
    heartbeats: Mapping[str, float | None] | Unknown


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything, at ``now_ms``. ``connectors``: None if Connect's address is not set and nothing answers there.

    ``letters``: the number of open dead letters by reason.
    """

    now_ms: int
    connectors: Sequence[Connector] | Unknown | None
    redis: Redis | Unknown
    kafka: Kafka | Unknown
    letters: Mapping[str, int] | Unknown


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say. ``silence_s``: the longest time without a heartbeat, 0 for no limit."""

    version: str
    group: str
    prefix: str
    silence_s: float
    heartbeat_topics: Sequence[str]
    has_connect: bool

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """From the settings."""
        return cls(
            __version__,
            settings.kafka.group_id,
            settings.kafka.topic_prefix,
            settings.metrics.ready_silence_s,
            settings.heartbeat_topics,
            "url" in settings.connect.model_fields_set,
        )
