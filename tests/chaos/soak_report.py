"""The report of long runs: a file with a line of JSON for each round, and what follows from its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import msgspec

_WARM_ROUNDS = 3
_GROWTH = 1.5


class Run(msgspec.Struct, frozen=True, order=True):
    """The options of a run. Rounds with the same options, seed and version are one run."""

    redis: str
    workers: int
    client: str
    streams: bool
    rate: float
    seed: int
    version: str

    def __str__(self) -> str:
        streams = ", streams" if self.streams else ""
        return f"{self.redis}, {self.client}, {self.workers} workers{streams}, seed {self.seed}"


class Round(msgspec.Struct, frozen=True):
    """One round.

    ``changes``: rows of users that were written to the database. ``messages``: messages that were heard.
    ``lost_to_faults``: messages that were not, of users whose key another program had replaced. ``repeated``: messages
    that were heard a second time, of events whose traces a failover of Redis lost. ``looks``: how often
    all balances were looked at while changes went on. ``users``: users that
    ever were. ``keys``: by the first part of their names. ``consumer_mb``: the largest process. ``log_kb``: the logs of
    all members together.
    """

    number: int
    seconds: float
    changes: int
    messages: int
    lost_to_faults: int
    faults: dict[str, int]
    problems: list[str]
    repeated: int
    looks: int
    users: int
    keys: dict[str, int]
    redis_mb: int
    consumer_mb: int
    log_kb: int


class UnreadableReport(Exception):
    """The file has a line that is no round of this version."""


class _Line(msgspec.Struct, frozen=True):
    run: Run
    round: Round


class Report:
    """The file; it may have rounds of several runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, run: Run, done: Round) -> None:
        """Append a round."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(_Line(run, done)) + b"\n")

    def rounds(self, run: Run) -> list[Round]:
        """The rounds of one run. Raises UnreadableReport."""
        return [line.round for line in self._lines() if line.run == run]

    def summary(self) -> str:
        """One line for each run, and one for each kind of fault."""
        lines = sorted(self._lines(), key=lambda line: line.run)
        runs = [_of_run(run, [line.round for line in found]) for run, found in groupby(lines, lambda line: line.run)]
        faults = sum((Counter(line.round.faults) for line in lines), Counter[str]())
        return "\n".join([*runs, "faults: " + ", ".join(f"{count} {name}" for name, count in sorted(faults.items()))])

    def _lines(self) -> list[_Line]:
        if not self._path.exists():
            return []
        found = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), start=1):
            try:
                found.append(msgspec.json.decode(line, type=_Line))
            except msgspec.MsgspecError as error:
                why = f"{self._path}: line {number} is no round of this version: {error}"
                raise UnreadableReport(f"{why}; name another file with --report") from None
        return found


def problems_of_growth(rounds: Sequence[Round]) -> list[str]:
    """What has grown without end: memory of a consumer, or keys that do not belong to users.

    The first rounds do not count: caches fill.
    """
    warm = rounds[_WARM_ROUNDS:]
    if len(warm) < 2 * _WARM_ROUNDS:
        return []
    first, last = warm[: len(warm) // 3], warm[-(len(warm) // 3) :]
    found = []
    if _most(last) > _GROWTH * _most(first):
        found.append(f"a consumer grew from {_most(first)} MB to {_most(last)} MB")
    before, after = first[0], last[-1]
    for name in sorted(before.keys | after.keys):
        allowed = _GROWTH * max(before.keys.get(name, 0), 10) * max(1.0, after.users / before.users)
        if after.keys.get(name, 0) > allowed:
            found.append(f"keys that begin with {name}: from {before.keys.get(name, 0)} to {after.keys[name]}")
    return found


def _most(rounds: Sequence[Round]) -> int:
    return max(each.consumer_mb for each in rounds)


def _of_run(run: Run, rounds: Sequence[Round]) -> str:
    changes, messages = sum(each.changes for each in rounds), sum(each.messages for each in rounds)
    wrong, hours = sum(len(each.problems) for each in rounds), sum(each.seconds for each in rounds) / 3600
    again, looks = sum(each.repeated for each in rounds), sum(each.looks for each in rounds)
    faults, lost = sum(sum(each.faults.values()) for each in rounds), sum(each.lost_to_faults for each in rounds)
    return (
        f"{run}: {changes:,} changes, {messages:,} messages, {faults:,} faults, {len(rounds)} rounds, {hours:.1f} h; "
        f"{lost:,} messages lost to a key of another type, {again:,} told again after a failover of Redis; "
        f"{looks:,} looks at all balances; {wrong} unexplained"
    )
