"""Marks users, so that the next whole row of each, streamed or read, overwrites the values in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from consumer.errors import Place, ServerError
from consumer.guard.version import Verdict, Version, is_of_deleted
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.pipeline.batch import batched
from consumer.pipeline.protocols import Sink
from consumer.planning.effect import Plan
from consumer.planning.mark import mark

_BATCH_SIZE = 5000
_ROUNDS = 20


def mark_users(
    users: Iterable[UserId],
    table: UserTable,
    topic: str,
    sink: Sink,
    rules: Rules,
    *,
    ends: Callable[[], Mapping[int, int]],
    versions: Callable[[Sequence[UserId]], Sequence[str | None]],
) -> int:
    """Mark ``users``; answers the number of marks.

    A mark is at the end offset of the partition with the user's rows: records from there on may heal the user, earlier
    ones may not. ``ends`` answers the end offsets of the partitions of ``topic``. ``versions`` answers each user's
    stored version: "" if there is none, None if Redis has nothing of the user.

    Raises:
        ServerError: some users may be marked, and others not. They can be marked again.
    """
    count = 0
    for part in batched(users, _BATCH_SIZE):
        left: Sequence[UserId] = part
        for _ in range(_ROUNDS):
            marks = _marks(left, versions(left), table, topic, ends(), rules)
            left = _refused(marks, sink)
            count += len(marks) - len(left)
            if not left:
                break
        else:
            raise ServerError("Redis", f"{len(left)} users change faster than they can be marked", "run it again")
    return count


def _marks(
    users: Sequence[UserId],
    kept: Sequence[str | None],
    table: UserTable,
    topic: str,
    ends: Mapping[int, int],
    rules: Rules,
) -> list[Plan]:
    """The marks for ``users``.

    No mark for deleted users, because a read row does not restore them, and none for users without values in Redis,
    because their next row is written whole. If a user has no version from this topic, any later row may heal the user.
    The same holds if the version can't be read: the user's next row is then a dead letter, and the mark stays.
    """
    marks = []
    for user, text in zip(users, kept, strict=True):
        if text is None or is_of_deleted(text):
            continue
        partition = end = 0
        if (version := Version.known(text)) is not None and version.topic == topic:
            partition, end = version.partition, ends.get(version.partition, 0)
        marks.append(mark(user, table.table, Place(topic, partition, end), rules))
    return marks


def _refused(marks: Sequence[Plan], sink: Sink) -> list[UserId]:
    """The users with an applied change from after their mark."""
    refused = []
    for at, answer in sink.apply(marks):
        if isinstance(answer, ServerError):
            raise answer
        if answer.verdict is Verdict.STALE:
            refused.append(marks[at].user)
    return refused
