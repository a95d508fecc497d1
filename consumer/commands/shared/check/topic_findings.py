"""Findings of `check` about topics: which exist, and whether Redis can be rebuilt from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consumer.commands.shared.finding import Finding, failure, ok, warning
from consumer.events.topic_tables import parse_topic_name, sanitized
from consumer.mapping.rules import Rules
from consumer.pipeline.policy import OTHER_DATABASE
from consumer.source.topic_selection import Naming, Selection, is_routed

# Kafka Connect 4 requires brokers of at least this version.
_OLDEST_BROKER = (2, 1)
_DAY_MS = 86_400_000
_LIKE_OURS = "(connect/README.md, Topics)"


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """A topic's settings with Kafka's names. Times in ms, sizes in bytes, -1 for no limit."""

    policies: frozenset[str]
    retention_ms: int
    retention_bytes: int
    compaction_lag_ms: int
    tombstones_ms: int
    largest_record: int

    @classmethod
    def read(cls, settings: Mapping[str, str]) -> TopicSettings:
        """Parse names and values; missing settings have Kafka's defaults."""
        return cls(
            frozenset(part.strip() for part in settings.get("cleanup.policy", "delete").split(",")),
            int(settings.get("retention.ms", 7 * _DAY_MS)),
            int(settings.get("retention.bytes", -1)),
            int(settings.get("min.compaction.lag.ms", 0)),
            int(settings.get("delete.retention.ms", _DAY_MS)),
            int(settings.get("max.message.bytes", 1_048_588)),
        )

    @property
    def is_compacted(self) -> bool:
        """Whether old records of a key may be removed."""
        return "compact" in self.policies

    @property
    def is_for_ever(self) -> bool:
        """Whether no record is deleted because of its age or the topic's size."""
        return "delete" not in self.policies or (self.retention_ms < 0 and self.retention_bytes < 0)

    def keeps(self, age_ms: int) -> bool:
        """Whether records of that age, in ms, are kept by the limits of age and size."""
        is_young = self.retention_ms < 0 or self.retention_ms >= age_ms
        return self.is_for_ever or (is_young and self.retention_bytes < 0)


def of_broker(version: Sequence[int], servers: str, topics: int) -> Finding:
    """A cluster that answers. ``version``: the lowest that fits its protocol; it may be newer."""
    shown = ".".join(map(str, version))
    found = f"{servers} answers, {topics} topics; Kafka {shown} or later"
    if tuple(version) < _OLDEST_BROKER:
        return warning("kafka", f"{found}: older than Kafka Connect 4 can use", "Kafka 2.1 or later")
    return ok("kafka", found)


def of_topics(
    selection: Selection,
    partitions: Mapping[str, int],
    settings: Naming,
    rules: Rules,
    captured: Collection[str] = (),
) -> Iterator[Finding]:
    """Findings about the consumed topics.

    ``partitions``: the number of partitions by topic. ``captured``: the tables that a running connector captures; if
    one of them has no topic, the table may have no row yet.
    """
    linked = {table.table for table in rules.linked}
    for topic in selection.topics:
        tables = selection.tables.of(topic)
        carries = f", contains {', '.join(tables)}" if is_routed(topic, rules.captured()) and tables else ""
        yield ok(f"topic {topic}", f"{partitions.get(topic, 0)} partitions{carries}")  # 0: deleted during the check
    advice = "check that the connector runs and captures the table; Debezium creates a topic with the table's first row"
    if settings.topics:
        for topic in sorted(set(settings.topics) - set(selection.topics)):
            name = parse_topic_name(topic, rules.captured())
            table = name.table if name is not None else ""
            if table in captured and topic.startswith(f"{settings.topic_prefix}."):
                yield _no_row_yet(topic, table)
            else:
                say = warning if table in linked else failure
                yield say(f"topic {topic}", f"it does not exist: no changes of {table or 'its tables'}", advice)
    else:
        scope = sanitized(*selection.databases) if len(selection.databases) == 1 else "<db or schema>"
        for table in rules.captured():
            if any(table in selection.tables.of(topic) for topic in selection.topics):
                continue
            topic = f"{settings.topic_prefix}.{scope}.{sanitized(table)}"
            if table in captured:
                yield _no_row_yet(topic, table)
            else:
                say = warning if table in linked else failure
                yield say(f"topic {topic}", f"it does not exist: no changes of {table}", advice)
    yield from _of_databases(selection, rules)
    if selection.uneven:
        yield warning(
            "topics",
            "they differ in their number of partitions: a user's tables may be assigned to different members, and one "
            "database transaction may cause several messages",
            "create the topics again with equal numbers (connect/README.md)",
        )


def _of_databases(selection: Selection, rules: Rules) -> Iterator[Finding]:
    databases = ", ".join(sorted(selection.databases))
    if databases:
        yield ok("database", f"rows of {databases} are applied")
    for topic in selection.refused:
        yield warning(
            f"topic {topic}",
            f"it is of another database than {databases}, and is not consumed",
            OTHER_DATABASE,
        )


def of_heartbeats(wanted: Sequence[str], present: Collection[str]) -> Iterator[Finding]:
    """Findings about the heartbeat topics; without them `run` can't notice a silent connector."""
    for topic in wanted:
        if topic in present:
            yield ok(f"heartbeats {topic}", "exists: `run` notices a silent connector")
        else:
            yield warning(
                f"heartbeats {topic}",
                "there is no such topic: for `run` a failed connector looks like a quiet database",
                "set heartbeat.interval.ms=5000 on the connector; for another name CDC_SOURCE__HEARTBEAT_TOPICS",
            )


def of_unnamed_database(topics: Collection[str], rules: Rules) -> Iterator[Finding]:
    """A finding if topic names do not contain the database, and the settings do not name it either."""
    if routed := sorted(topic for topic in topics if is_routed(topic, rules.captured())):
        yield warning(
            "database",
            f"the names of {', '.join(routed)} do not contain it: if Redis is emptied while rows of a restored backup "
            "are in these topics, the right database is not known",
            "set CDC_SOURCE__DATABASE",
        )


def _no_row_yet(topic: str, table: str) -> Finding:
    found = f"it does not exist, but a running connector captures {table}: the table may have no row yet"
    return warning(f"topic {topic}", found, "nothing, if so: Debezium creates a topic with the table's first row")


def of_history(
    topic: str, tables: Collection[str], settings: TopicSettings | None, rules: Rules, days: int
) -> Iterator[Finding]:
    """Whether Redis can be rebuilt from a topic. ``days``: the history of single changes that is required.

    A user table's topic should keep the last image of every user for ever; a linked table's topic should keep single
    rows for some time. ``tables``: the known tables of the topic. ``settings``: None if the broker does not show them.
    """
    subject = f"history of {topic}"
    if settings is None:
        yield warning(
            subject, "the broker does not show the topic's settings", "allow this account DESCRIBE_CONFIGS on the topic"
        )
        return
    has_users = any(rules.table(table) is not None for table in tables)
    has_rows = any(rules.linked_table(table) is not None for table in tables)
    found = [
        *(_users(subject, settings, days) if has_users else ()),
        *(_rows(subject, settings, days) if has_rows else ()),
    ]
    if settings.is_compacted and len(tables) > 1:
        found.append(
            warning(
                subject,
                f"it is compacted and contains {', '.join(tables)}: if their keys are equal, such as users with one id,"
                " a row of one table replaces a row of the other",
                "use a topic for each table, or ByLogicalTableRouter, which adds the table to the key",
            )
        )
    if has_users or has_rows:
        yield from dict.fromkeys(found) or [ok(subject, f"{_kept(settings)}; {days} days are required")]


def _users(subject: str, settings: TopicSettings, days: int) -> Iterator[Finding]:
    wanted = f"min.compaction.lag.ms={days * _DAY_MS} and delete.retention.ms={days * _DAY_MS}"
    if not settings.is_for_ever:
        yield warning(
            subject,
            f"{_kept(settings)}: it lacks users who have not changed since, so Redis can't be rebuilt from it",
            f"cleanup.policy=compact with {wanted} {_LIKE_OURS}, then a snapshot",
        )
    if not settings.keeps(days * _DAY_MS):
        yield _short(subject, settings, days)
    if settings.is_compacted and settings.compaction_lag_ms < days * _DAY_MS:
        yield warning(
            subject,
            f"min.compaction.lag.ms is {_time(settings.compaction_lag_ms)}: of older changes only each user's last one "
            f"is kept for certain, but {days} days are required",
            f"{wanted} {_LIKE_OURS}, or a lower CDC_KAFKA__HISTORY_DAYS",
        )
    elif settings.is_compacted and settings.tombstones_ms < days * _DAY_MS:
        yield warning(
            subject,
            f"delete.retention.ms is {_time(settings.tombstones_ms)}: after that time the topic does not show that a "
            f"user was deleted, but {days} days are required",
            f"{wanted} {_LIKE_OURS}, or a lower CDC_KAFKA__HISTORY_DAYS",
        )


def _rows(subject: str, settings: TopicSettings, days: int) -> Iterator[Finding]:
    if settings.is_compacted:
        yield failure(
            subject,
            "it is compacted, and its records are keyed by the user: only one row of each user remains",
            f"cleanup.policy=delete {_LIKE_OURS}, then a snapshot",
        )
    elif not settings.keeps(days * _DAY_MS):
        yield _short(subject, settings, days)


def _short(subject: str, settings: TopicSettings, days: int) -> Finding:
    return warning(
        subject,
        f"{_kept(settings)}: shorter than the {days} days that are required",
        f"retention.ms={days * _DAY_MS} and retention.bytes=-1, or a lower CDC_KAFKA__HISTORY_DAYS",
    )


def of_dead_letters(
    topic: str, settings: TopicSettings | None, consumed: Mapping[str, TopicSettings], days: int
) -> Iterator[Finding]:
    """Findings about the dead letter topic, which exists. ``consumed``: the topics whose records may end in it."""
    subject = f"dead letters {topic}"
    if settings is None:
        yield warning(
            subject, "the broker does not show the topic's settings", "allow this account DESCRIBE_CONFIGS on the topic"
        )
        return
    found = []
    if settings.is_compacted:
        found.append(
            failure(
                subject,
                "it is compacted: only the last letter of each key is kept, and a letter without a key is refused",
                "cleanup.policy=delete",
            )
        )
    elif not settings.keeps(days * _DAY_MS):
        found.append(warning(subject, f"{_kept(settings)}, also if nobody has handled them", "retention.ms=-1"))
    largest = max((each.largest_record for each in consumed.values()), default=0)
    if settings.largest_record <= largest:
        found.append(
            warning(
                subject,
                f"max.message.bytes is {settings.largest_record}, but a letter is a record of up to {largest} bytes "
                "with headers: a letter that is refused stops the program",
                f"max.message.bytes={2 * largest}",
            )
        )
    yield from found or [ok(subject, f"exists; {_kept(settings)}")]


def _kept(settings: TopicSettings) -> str:
    """What the topic keeps and how long, as text."""
    words = []
    if settings.is_compacted:
        words.append(f"the last record of each key, all of the last {_time(settings.compaction_lag_ms)}")
    if settings.is_for_ever:
        words += [] if settings.is_compacted else ["everything is kept"]
        return "; ".join(words)
    if settings.retention_ms >= 0:
        words.append(f"records are deleted after {_time(settings.retention_ms)}")
    if settings.retention_bytes >= 0:
        words.append(f"the oldest records are deleted when a partition has {settings.retention_bytes} bytes")
    return "; ".join(words)


def _time(ms: int) -> str:
    days = ms / _DAY_MS
    return f"{days:g} days" if days >= 1 and ms % _DAY_MS == 0 else f"{ms / 3_600_000:.3g} hours"
