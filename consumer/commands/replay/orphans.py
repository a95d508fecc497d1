"""Finds the users that Redis holds and that are not in the log."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from consumer.events.record import Partition
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import batched
from consumer.planning.effect import Plan
from consumer.planning.rebuild import as_read, removal
from consumer.sink.comparison import version_of
from consumer.sink.view import RedisView

_T = TypeVar("_T")


class Retried(Protocol):
    """Calls ``attempt`` until its server is available, and answers its result."""

    def __call__(self, attempt: Callable[[], _T], /) -> _T: ...


def orphans(
    view: RedisView,
    rules: Rules,
    tables: Mapping[str, str],
    known: Mapping[str, array[int]],
    ends: Mapping[Partition, int],
    retried: Retried,
) -> Iterator[tuple[Plan, str]]:
    """For each orphan: the plan that removes it, and one of its keys.

    ``tables``: the user tables of the log, by user type; nothing is known of other user types. ``known``: the sorted
    ids of the users in the log, by user type. ``ends``: the end of the log in each partition. A user with a version of
    a record after it is newer than the log, and no orphan.

    Raises:
        As ``retried``.
    """
    unknown = retried(lambda: [*dict.fromkeys(user for user in view.users(rules) if _may_be(user, tables, known))])
    for some in batched(unknown):
        removals = [removal(user, tables[user.user_type], "", rules) for user in some]
        found = retried(lambda removals=removals: view.stored_keys(removals))  # type: ignore[misc]
        for plan, stored in zip(removals, found, strict=True):
            if stored.present and _is_before_ends(version_of(stored), ends):
                yield as_read(plan, stored.version), stored.present[0]


def _may_be(user: UserId, tables: Mapping[str, str], known: Mapping[str, array[int]]) -> bool:
    """Whether the user is of a table of the log, but not in the log. Ids above 8 bytes are not known."""
    if user.user_type not in tables or user.id >= 2**64:
        return False
    ids = known.get(user.user_type, array("Q"))
    at = bisect_left(ids, user.id)
    return at == len(ids) or ids[at] != user.id


def _is_before_ends(version: Version | None, ends: Mapping[Partition, int]) -> bool:
    """Whether the version is of a record before the ends of the log; true if there is no version."""
    if version is None:
        return True
    return version.offset < ends.get(Partition(version.topic, version.partition), version.offset)
