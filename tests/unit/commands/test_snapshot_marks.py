"""Which users an authoritative snapshot marks, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumer.commands.snapshot.marks import mark_users
from consumer.errors import Place
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan

TOPIC = "trading.trading.live_users"
RULES = reference()
VERSION = "0|s|t:1000500||1000000|{}|3|50"


class SinkStub:
    """Accepts every mark, and keeps its place by user."""

    def __init__(self) -> None:
        self.marks: dict[int, Place] = {}

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied]]:
        for at, plan in enumerate(plans):
            version = plan.version
            self.marks[plan.user.id] = Place(version.topic, version.partition, version.offset)
            yield at, Applied(Verdict.NEWER, None, None, 0, 0)


def marked(*versions: str | None) -> dict[int, Place]:
    """The marks of users with these stored versions, numbered from 1."""
    table, sink = RULES.tables[0], SinkStub()
    users = [UserId(table.user_type, number) for number, _ in enumerate(versions, start=1)]
    count = mark_users(users, table, TOPIC, sink, RULES, ends=lambda: {3: 90}, versions=lambda _: versions)  # type: ignore[arg-type]  # it needs only apply
    assert count == len(sink.marks)
    return sink.marks


def test_the_mark_is_at_the_end_of_the_users_partition() -> None:
    assert marked(VERSION.format(TOPIC)) == {1: Place(TOPIC, 3, 90)}
    assert marked(VERSION.format("another"), "") == {1: Place(TOPIC, 0, 0), 2: Place(TOPIC, 0, 0)}


def test_deleted_users_and_users_without_values_are_not_marked() -> None:
    assert marked(f"{VERSION.format(TOPIC)}|d", None) == {}


def test_a_version_that_can_not_be_read_stops_nobodys_snapshot() -> None:
    """The user's next row becomes a dead letter, which says what to do. The mark stays until then."""
    assert marked("junk", VERSION.format(TOPIC)) == {1: Place(TOPIC, 0, 0), 2: Place(TOPIC, 3, 90)}
