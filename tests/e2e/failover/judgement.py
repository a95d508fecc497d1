"""What is wrong at the end of a test: one judgement for all of them. No text means that nothing is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consumer.mapping.reference import reference
from demo.dump import Dump
from demo.expectation import Expected
from tests.chaos import judge
from tests.chaos.ear import Heard
from tests.e2e.failover.ledger import Ledger, State


def problems(
    ledger: Ledger,
    rows: Expected,
    found: Dump,
    heard: Sequence[Heard],
    writes: Mapping[int, Mapping[str, Sequence[State]]],
) -> list[str]:
    """Redis differs from the database; a change was told twice, not at all, or after a newer one; Redis went back."""
    return [
        *judge.of_state(rows, found, reference()),
        *judge.of_messages(ledger.told, heard),
        *told_late(ledger.told, heard),
        *went_back(ledger.states, writes),
    ]


def told_late(told: Mapping[tuple[str, str], Sequence[str]], heard: Sequence[Heard]) -> Iterator[str]:
    """Messages of an older state of a user that came after one of a newer state."""
    for (user, channel), tokens in judge.by_channel(heard).items():
        if late := list(out_of_order(told.get((user, channel), ()), tokens)):
            yield f"told late: {_first_of(late)}, to {user} on {channel}"


def went_back(
    states: Mapping[int, Sequence[State]], writes: Mapping[int, Mapping[str, Sequence[State]]]
) -> Iterator[str]:
    """Writes of an older state over a newer one."""
    for user_id, by_key in writes.items():
        for key, written in by_key.items():
            if older := list(out_of_order(states.get(user_id, ()), written)):
                yield f"went back: {key} was written with {_first_of(older)}"


def _first_of(pairs: Sequence[tuple[str, str]]) -> str:
    (each, before), rest = pairs[0], len(pairs) - 1
    return f"{each} after {before}" + (f" and {rest} more" if rest else "")


def out_of_order(right: Sequence[str], seen: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of ``seen`` that lies before its predecessor in ``right``, with that predecessor.

    Steps of ``right`` may be left out, and repeated one after another. What ``right`` does not have is out of order.
    """
    at, before = 0, "the beginning"
    for each in seen:
        later = next((place for place in range(at, len(right)) if right[place] == each), None)
        if later is None:
            yield each, before
        else:
            at, before = later, each
