"""What is wrong with what was heard, and with what Redis holds. No word means that nothing is."""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from demo.dump import Dump
from demo.expectation import Expected
from demo.verification import differences
from tests.chaos.ear import Heard
from tests.chaos.script import Told, change
from tests.chaos.workload import Ledger

_MOST = 20
_BEHIND_S = 3.0
"""So much later than it was told a message may arrive on a busy machine."""
_UNANSWERED_S = 2.0
"""So long at most a consumer of this suite waits for an answer on a busy machine; its timeout is one second."""
Lists = Mapping[tuple[str, str], Sequence[str]]


def by_channel(heard: Sequence[Heard]) -> Lists:
    """Tokens by user and channel, in the order of arrival."""
    lists: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in heard:
        lists[each.told.user, each.told.channel].append(each.told.token)
    return lists


def without_repeats(
    heard: Sequence[Heard], repeatable: Collection[str], assigned: Sequence[float], cut: Sequence[float] = ()
) -> list[Heard]:
    """``heard`` without the earlier messages of events that may be told again: of each channel the last one stays.

    Redis has lost that it told these. The member of the group that told a message still knows it. So nobody tells it
    again unless partitions were assigned in between, or the member had no answer to its call when the connections were
    cut. ``assigned`` and ``cut``: when that was, in UTC seconds, the oldest first.
    """
    last = {(each.told.channel, each.event_id): each.at for each in heard if each.event_id in repeatable}

    def is_explained(each: Heard) -> bool:
        again_at = last.get((each.told.channel, each.event_id), each.at)
        was_assigned = bisect(assigned, again_at) > bisect_left(assigned, each.at - _BEHIND_S)
        was_unanswered = any(at - _UNANSWERED_S <= each.at <= at + _BEHIND_S for at in cut)
        return again_at > each.at and (was_assigned or was_unanswered)

    return [each for each in heard if not is_explained(each)]


def of_messages(expected: Ledger, heard: Sequence[Heard], excused: Collection[Told] = ()) -> list[str]:
    """Messages lost, doubled, never meant, or out of order. Of ``excused`` ones each may be lost."""
    problems = list(_twice(heard))
    found = by_channel(spoken(expected, heard))
    for user, channel in sorted(expected.keys() | found.keys()):
        wanted, got = list(expected.get((user, channel), ())), list(found.get((user, channel), ()))
        forgiven = {told.token for told in excused if (told.user, told.channel) == (user, channel)}
        problems += [f"{problem}, to {user} on {channel}" for problem in _of_list(wanted, got, forgiven)]
    return _few(problems)


def excused_losses(expected: Ledger, heard: Sequence[Heard], excused: Collection[Told]) -> int:
    """How many of ``excused`` messages were expected and not heard."""
    found = by_channel(spoken(expected, heard))
    return sum(
        each.token in expected.get(where, ()) and each.token not in found.get(where, ())
        for each in excused
        for where in [(each.user, each.channel)]
    )


def spoken(expected: Ledger, heard: Sequence[Heard]) -> list[Heard]:
    """``heard``, with the messages of healing changes as what they were to tell.

    They go to every channel and tell every field: so on each they tell the last change that is in them and was not
    heard. Where there is none they are left out.
    """
    plain = by_channel([each for each in heard if not each.is_whole])
    found = []
    for each in heard:
        where = each.told.user, each.told.channel
        if not each.is_whole:
            found.append(each)
            continue
        missing = Counter(expected.get(where, ())) - Counter(plain.get(where, ()))
        parts = set(each.told.token.split())
        covered = [token for token in expected.get(where, ()) if missing[token] and parts.issuperset(token.split())]
        # A change without fields is in all of them.
        if named := [token for token in covered if token != change()] or covered:
            found.append(replace(each, told=replace(each.told, token=named[-1])))
    return found


def _twice(heard: Sequence[Heard]) -> Iterator[str]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in heard:
        times[each.told.channel, each.event_id].append(each.at)
    for (channel, event_id), at in times.items():
        if len(at) > 1:
            when = " and ".join(f"{seconds:.1f}" for seconds in at)
            yield f"doubled: {event_id} was heard {len(at)} times on {channel}, at {when}"


def _of_list(wanted: list[str], got: list[str], forgiven: Collection[str]) -> Iterator[str]:
    if wanted == got:
        return
    lost, more = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    for token in sorted(lost.keys() - forgiven):
        yield f"lost: {token}"
    for token in sorted(more):
        yield f"doubled: {token}" if token in wanted else f"never meant: {token}"
    in_order = [token for token in wanted if token not in lost]
    arrived = [token for token in got if token not in lost]
    if not more and in_order != arrived and not lost.keys() - forgiven:
        at = next((at for at, pair in enumerate(zip(in_order, arrived, strict=False)) if len(set(pair)) > 1), 0)
        yield f"stale: {arrived[at]} came where {in_order[at]} should have come"


def of_state(expected: Expected, found: Dump, rules: Rules) -> list[str]:
    """Users whose keys differ from the database, and keys of users who are not there."""
    problems = [str(each) for each in differences(expected, found, rules)]
    names = rules.names
    templates = (names.config, names.balance, names.portfolio)
    meant = {render(each, UserId.from_text(user)) for user in expected.users for each in templates}
    problems += [
        f"{key}: of a user who is not there"
        for key in sorted(found.values)
        if key.startswith("user") and key not in meant
    ]
    return _few(problems)


def _few(problems: Sequence[str]) -> list[str]:
    rest = len(problems) - _MOST
    return [*problems[:_MOST], *([f"and {rest} more"] if rest > 0 else [])]
