"""What is known of users with differences: versions and marks, dead letters, and the changes that were applied last."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from consumer.commands.audit.cause import Cause, Evidence, cause_of
from consumer.commands.audit.differing_user import DifferingUser, UserDifference
from consumer.commands.audit.finding import Finding
from consumer.commands.shared.catch_up import CatchUp
from consumer.errors import Place, RecordError
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.pipeline.batch import batched
from consumer.planning.diff import whole_image
from consumer.planning.effect import Fields
from consumer.settings.sources import Settings
from consumer.sink.group_offsets import lost
from consumer.sink.view import RedisView
from consumer.source.letter_reader import read_letters
from consumer.source.range_reader import committed
from consumer.source.topic_ends import Topics

# Each look-up is a separate read from Kafka. If more users are wrong, the cause is not in single users.
_MOST_LOOK_UPS = 2000


class CauseFinder:
    """Finds the cause of each difference."""

    def __init__(self, settings: Settings, rules: Rules, view: RedisView, topics: Topics) -> None:
        self._settings = settings
        self._rules = rules
        self._view = view
        self._topics = topics
        self._letters: Mapping[tuple[UserId, str], Place] = {}
        self._discarded: frozenset[Place] = frozenset()
        self._look_ups_left = _MOST_LOOK_UPS
        self._emptied: frozenset[Partition] = frozenset()

    def begin(self) -> None:
        """Begin an audit: read the dead letters again.

        Raises:
            ServerUnavailable, ServerError: from Kafka or Redis.
        """
        kafka = self._settings.kafka
        self._emptied = lost(committed(kafka), self._view.offsets(kafka.group_id))
        states = read_letters(self._settings.kafka, self._settings.dead_letter_topic)
        self._letters = {
            (user, table): each.place
            for each in states.open()
            for user in each.last.users
            for table in each.last.tables
        }
        self._discarded = frozenset(states.discarded)
        self._look_ups_left = _MOST_LOOK_UPS

    def findings(
        self, differing_users: Sequence[DifferingUser], catch_up: CatchUp
    ) -> Iterator[tuple[DifferingUser, list[Finding]]]:
        """The findings about each user, with causes.

        Raises:
            ServerUnavailable, ServerError: from Redis, Kafka or the registry.
        """
        for some in batched(differing_users):
            guards = self._view.guards([each.user for each in some], self._rules)
            images = self._applied_images(some, guards)
            for each, guard, image in zip(some, guards, images, strict=True):
                yield each, list(self._findings_of(each, guard, image, catch_up))

    def _applied_images(
        self, differing_users: Sequence[DifferingUser], guards: Sequence[GuardState]
    ) -> list[Fields | None]:
        """The row of each user at the change that was applied last."""
        versions = [guard.versions.get(each.table.table) for each, guard in zip(differing_users, guards, strict=True)]
        places = [_place(version) for version in versions if _is_in_topic(version)][: self._look_ups_left]
        self._look_ups_left -= len(places)
        found = self._topics.changes(places)
        return [
            _image(found.get(_place(version)), each.table) if version is not None else None
            for each, version in zip(differing_users, versions, strict=True)
        ]

    def _findings_of(
        self, differing: DifferingUser, guard: GuardState, image: Fields | None, catch_up: CatchUp
    ) -> Iterator[Finding]:
        user, table = differing.user, differing.table.table
        version = guard.versions.get(table)
        mark = guard.marks.get(table)
        given_up = mark if mark in self._discarded else None
        lost = (mark if given_up is None else None) or self._letter(user, table, version)
        known = Evidence(
            has_version=version is not None,
            is_deleted=table in guard.deleted,
            image=image,
            is_lost=lost is not None,
            is_behind=self._is_in(catch_up.behind, version, table),
            is_emptied=self._is_in(self._emptied, version, table),
            connector_passed=catch_up.connector_passed,
            is_given_up=given_up is not None,
        )
        columns = {column.field for column in differing.table.columns}
        for difference in sorted(differing.differences, key=_key_and_field):
            name = difference.field or (self._rules.balance_field if difference.should_be is not None else "")
            # A field without a column, such as the user's id, is the same in every record.
            if image is not None and name and name not in columns:
                known = replace(known, image={**image, name: difference.should_be or ""})
            cause = cause_of(difference, name, known)
            record = given_up if cause is Cause.GIVEN_UP else lost
            detail = f"record {record}" if record is not None else _version(version)
            yield Finding(user, table, difference, cause, differing.since_ms, detail)

    def _is_in(self, partitions: Collection[Partition], version: Version | None, table: str) -> bool:
        """Whether the partition of the user's row is one of these; if it is not known, whether one has the table."""
        if _is_in_topic(version) and version is not None:
            return Partition(version.topic, version.partition) in partitions
        return any(self._topics.may_carry(part.topic, table) for part in partitions)

    def _letter(self, user: UserId, table: str, version: Version | None) -> Place | None:
        """The dead letter of the user's row, if nothing was applied after it."""
        place = self._letters.get((user, table))
        if place is None:
            return None
        is_past = version is not None and _is_after(_place(version), place)
        return None if is_past else place


def _is_in_topic(version: Version | None) -> bool:
    return version is not None and bool(version.topic)


def _place(version: Version | None) -> Place:
    return Place("", 0, 0) if version is None else Place(version.topic, version.partition, version.offset)


def _is_after(one: Place, other: Place) -> bool:
    return (one.topic, one.partition) == (other.topic, other.partition) and one.offset > other.offset


def _image(event: ChangeEvent | None, table: UserTable) -> Fields | None:
    if event is None or event.after is None:
        return None
    try:
        return whole_image(event.after, table, event.schema)
    except RecordError:
        return None


def _version(version: Version | None) -> str:
    """The stored version as text."""
    if version is None:
        return ""
    return f"version {_place(version)}"


def _key_and_field(difference: UserDifference) -> tuple[str, str]:
    return difference.key, difference.field
