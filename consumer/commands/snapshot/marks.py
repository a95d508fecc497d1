"""Users marked so that the next whole row of theirs, streamed or read, is written over whatever stands in Redis."""

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

_AT_ONCE = 5000
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
    """Mark ``users``; answers how many marks that were.

    A mark lies at the end of the partition in which the user's rows are: what is written to it from now on may heal
    them, and nothing that was written before. ``ends`` answers where the partitions of ``topic`` end now, ``versions``
    what is kept of each user: "" for no version, None for nothing at all.

    Raises:
        ServerError: some users may be marked, and some may not. To mark them again is harmless.
    """
    count = 0
    for part in batched(users, _AT_ONCE):
        left: Sequence[UserId] = part
        for _ in range(_ROUNDS):
            marks = _marks(left, versions(left), table, topic, ends(), rules)
            left = _refused(marks, sink)
            count += len(marks) - len(left)
            if not left:
                break
        else:
            raise ServerError("Redis", f"{len(left)} users change faster than they can be marked", "ask for them again")
    return count


def _marks(
    users: Sequence[UserId],
    kept: Sequence[str | None],
    table: UserTable,
    topic: str,
    ends: Mapping[int, int],
    rules: Rules,
) -> list[Plan]:
    """None for users who were deleted, for a read brings nobody back, nor for those of whom nothing stands there, who
    are written whole. Where no row of a user was seen in this topic yet, any later one may heal them.
    """
    marks = []
    for user, text in zip(users, kept, strict=True):
        if text is None or is_of_deleted(text):
            continue
        partition = end = 0
        if text and (version := Version.from_text(text)).topic == topic:
            partition, end = version.partition, ends.get(version.partition, 0)
        marks.append(mark(user, table.table, Place(topic, partition, end), rules))
    return marks


def _refused(marks: Sequence[Plan], sink: Sink) -> list[UserId]:
    """Those of whom a change from behind the mark was applied meanwhile."""
    refused = []
    for at, answer in sink.apply(marks):
        if isinstance(answer, ServerError):
            raise answer
        if answer.verdict is Verdict.STALE:
            refused.append(marks[at].user)
    return refused
