"""Which topics are followed: those named in the settings, else those of the captured tables under the prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import structlog

from consumer.errors import ConfigError
from consumer.record import table_of
from consumer.sections import Kafka

_log = structlog.get_logger(__name__)


def topic_pattern(prefix: str, tables: Sequence[str]) -> str:
    """What the topics of the captured tables look like: ``<prefix>.<db or schema>.<table>``."""
    return rf"^{re.escape(prefix)}\.[^.]+\.({'|'.join(re.escape(table) for table in tables)})$"


def chosen(present: Iterable[str], settings: Kafka, tables: Sequence[str]) -> list[str]:
    """Those of the topics that are ``present`` which are followed and carry one of ``tables``."""
    if settings.topics:
        return sorted(name for name in set(settings.topics) & set(present) if table_of(name) in tables)
    pattern = topic_pattern(settings.topic_prefix, tables)
    return sorted(name for name in present if re.match(pattern, name))


def missing(present: Mapping[str, int], settings: Kafka, tables: Sequence[str]) -> str:
    """What is waited for, or "" when there is something to follow; ``present`` are all topics with their partitions.

    Raises:
        ConfigError: two topics carry the same table, or they are uneven where that is refused.

    """
    if settings.topics:
        found = sorted(set(settings.topics) & present.keys())
        lacking = ", ".join(sorted(set(settings.topics) - present.keys()))
    else:
        pattern = topic_pattern(settings.topic_prefix, tables)
        found = sorted(topic for topic in present if re.match(pattern, topic))
        lacking = "" if found else f"topics like {settings.topic_prefix}.<db or schema>.<captured table>"
    captured = [topic for topic in found if table_of(topic) in tables]
    _refuse_twice(captured)
    _look_if_apart({topic: present[topic] for topic in captured}, settings)
    return lacking


def _look_if_apart(partitions: Mapping[str, int], settings: Kafka) -> None:
    """A user's tables meet on one member only where the topics have the same number of partitions."""
    if len(set(partitions.values())) > 1:
        if settings.uneven == "refuse":
            counts = ", ".join(f"{topic} has {count}" for topic, count in sorted(partitions.items()))
            raise ConfigError(
                "CDC_KAFKA__TOPICS",
                f"a user's tables would be on different members: {counts} partitions",
                fix="give all of them the same number, or run one worker",
            )
        _log.warning(
            "topics differ in their number of partitions: one database transaction may be told as several messages",
            action="start.not_copartitioned",
            partitions=partitions,
        )


def _refuse_twice(topics: Sequence[str]) -> None:
    by_table: dict[str, list[str]] = {}
    for topic in topics:
        by_table.setdefault(table_of(topic), []).append(topic)
    for table, found in by_table.items():
        if len(found) > 1:
            raise ConfigError(
                "CDC_KAFKA__TOPICS",
                f"more than one topic carries the table {table}: {', '.join(found)}",
                fix="name the exact topics to follow, comma separated",
            )
