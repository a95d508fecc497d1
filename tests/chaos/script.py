"""What the platform writes: random SQL that depends on the seed alone, and what subscribers must hear of it.

Every change puts its own number into each column that it writes, so a message tells which change it speaks of.
One database transaction changes a user once: several changes may be told as one message, and which is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from tests.support.stack.trading import Trading

USERS = {"live": 24, "demo": 16}
"""So many that the snapshot writes to each of the 8 partitions: a partition that is empty for long is a window of the
guard (decision 23)."""
_FEWEST = {"live": 10, "demo": 5}
_MOST = 40
GENERAL, MONEY, ADMIN, GROUP = "user_updates", "balance_updates", "admin_user_updates", "group_updates"
_OF_MONEY = (GENERAL, MONEY)
OF_PROFILE = (GENERAL, ADMIN)


@dataclass(frozen=True, slots=True)
class Write:
    """One statement: ``kind`` is insert, update or delete. An update without ``row_id`` is one of every row."""

    kind: str
    table: str
    row_id: int | None
    columns: tuple[tuple[str, object], ...] = ()

    def run(self, trading: Trading) -> None:
        values = dict(self.columns)
        if self.kind == "delete":
            trading.delete(self.table, self.row_id or 0)
        elif self.kind == "insert":
            trading.insert(self.table, id=self.row_id, **values)
        elif self.row_id is not None:
            trading.update(self.table, self.row_id, **values)
        else:
            ((name, value),) = self.columns
            trading.execute(f"UPDATE {self.table} SET {name} = %s", value)


@dataclass(frozen=True, slots=True)
class Told:
    """A message that must be heard once: ``token`` is what :func:`tests.chaos.ear.token` makes of it."""

    user: str
    channel: str
    token: str


@dataclass(frozen=True, slots=True)
class Step:
    """One database transaction."""

    number: int
    writes: tuple[Write, ...]
    told: tuple[Told, ...] = ()

    def run(self, trading: Trading) -> None:
        if len(self.writes) == 1:
            self.writes[0].run(trading)
            return
        with trading.transaction():
            for write in self.writes:
                write.run(trading)


def change(**fields: object) -> str:
    """The token of a change of these fields."""
    return " ".join(["change", *(f"{name}={fields[name]}" for name in sorted(fields))])


def created(balance: str) -> str:
    """The token of a new user with this balance."""
    return f"created wallet_balance={balance}"


DELETED = "deleted"


@dataclass
class Script:
    """The steps one after another. ``known`` are all users that ever were, ``living`` those who are there."""

    chance: Random
    number: int = 1000  # no column has a default as high as this, so every change is one
    living: dict[str, list[int]] = field(default_factory=lambda: {"live": [], "demo": []})
    gone: dict[str, list[int]] = field(default_factory=lambda: {"live": [], "demo": []})
    known: set[str] = field(default_factory=set)
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    size: int = 1
    """How many times as many users as :data:`USERS`."""

    def opening(self) -> list[Step]:
        """The users of the beginning, and a transaction, so that every topic exists from the snapshot on."""
        steps = [self._insert(user_type) for user_type, count in USERS.items() for _ in range(count * self.size)]
        return [*steps, self._deposit("live", 3)]

    def next(self) -> Step:
        """The next step, drawn by weight."""
        (name,) = self.chance.choices(list(self.weights), list(self.weights.values()))
        user_type = self.chance.choices(["live", "demo"], [3, 1])[0]
        if name == "insert":
            return self._insert(user_type)
        if name == "delete":
            return self._delete(user_type) or self._insert(user_type)
        if name in _BURSTS:
            return self.burst(user_type, name)
        user_id = self.chance.choice(self.living[user_type])
        if name == "deposit":
            holders = [each for each in self.living[user_type] if _has_ledger(each)]
            return self._deposit(user_type, self.chance.choice(holders)) if holders else self.burst(user_type)
        return self._update(user_type, user_id, name)

    def burst(self, user_type: str = "live", name: str = "burst") -> Step:
        """One statement that changes every user of a type."""
        number = self._count()
        columns, channels = _UPDATES[_BURSTS[name]](number)
        told = tuple(
            Told(f"{user_type}:{user_id}", channel, change(**columns))
            for user_id in self.living[user_type]
            for channel in channels
        )
        return Step(number, (Write("update", f"{user_type}_users", None, tuple(columns.items())),), told)

    def touch(self, user: str) -> Step | None:
        """One more change of this user; None if they are gone."""
        user_type, _, user_id = user.partition(":")
        is_there = int(user_id) in self.living[user_type]
        return self._update(user_type, int(user_id), "profile") if is_there else None

    def _count(self) -> int:
        self.number += 1
        return self.number

    def _update(self, user_type: str, user_id: int, name: str) -> Step:
        number = self._count()
        columns, channels = _UPDATES[name](number)
        told = {} if name in ("outside", "password") else columns
        return Step(
            number,
            (Write("update", f"{user_type}_users", user_id, tuple(columns.items())),),
            tuple(Told(f"{user_type}:{user_id}", channel, change(**told)) for channel in channels),
        )

    def _deposit(self, user_type: str, user_id: int) -> Step:
        number = self._count()
        balance = _UPDATES["balance"](number)[0]
        row = {"transaction_id": f"T{number}", "user_id": user_id, "user_type": user_type, "type": "deposit"}
        row |= {"amount": "1.50", "status": "completed"}
        writes = (
            Write("update", f"{user_type}_users", user_id, tuple(balance.items())),
            Write("insert", "user_transactions", number, tuple(row.items())),
        )
        user = f"{user_type}:{user_id}"
        return Step(number, writes, tuple(Told(user, channel, change(**balance)) for channel in _OF_MONEY))

    def _insert(self, user_type: str) -> Step:
        """A new user, or one of an id that was deleted before: its guard must let the new life in, the old not."""
        if len(self.living[user_type]) >= _MOST * self.size:
            return self._delete(user_type) or self.burst(user_type)
        number = self._count()
        # The ledger's topic may be ahead of the users' or behind: whose life a row counts for would be chance.
        back = [each for each in self.gone[user_type] if not _has_ledger(each)]
        if back and self.chance.random() < 0.5:
            user_id = self.chance.choice(back)
            self.gone[user_type].remove(user_id)
        else:
            user_id = 1 + max(self.living[user_type] + self.gone[user_type], default=0)
        self.living[user_type].append(user_id)
        self.known.add(f"{user_type}:{user_id}")
        write = Write("insert", f"{user_type}_users", user_id, (("wallet_balance", f"{number}.50"),))
        return Step(number, (write,), (Told(f"{user_type}:{user_id}", GENERAL, created(f"{number}.50")),))

    def _delete(self, user_type: str) -> Step | None:
        if len(self.living[user_type]) <= _FEWEST[user_type] * self.size:
            return None
        number = self._count()
        user_id = self.chance.choice(self.living[user_type])
        self.living[user_type].remove(user_id)
        self.gone[user_type].append(user_id)
        told = Told(f"{user_type}:{user_id}", GENERAL, DELETED)
        return Step(number, (Write("delete", f"{user_type}_users", user_id),), (told,))


def _has_ledger(user_id: int) -> bool:
    """Only these get deposits, and do not come back once they are deleted."""
    return user_id % 3 == 0


# What each kind of update writes in change N, and who is told.
_UPDATES: Mapping[str, Callable[[int], tuple[dict[str, object], tuple[str, ...]]]] = {
    "balance": lambda n: ({"wallet_balance": f"{n}.25"}, _OF_MONEY),
    "margin": lambda n: ({"margin": f"{n}.75"}, _OF_MONEY),
    "profile": lambda n: ({"country_id": n}, OF_PROFILE),
    "leverage": lambda n: ({"leverage": n}, OF_PROFILE),
    "group": lambda n: ({"group": f"G{n}"}, (*OF_PROFILE, GROUP)),
    "mixed": lambda n: ({"wallet_balance": f"{n}.25", "group": f"G{n}"}, (GENERAL, MONEY, ADMIN, GROUP)),
    "outside": lambda n: ({"city": f"City {n}"}, OF_PROFILE),
    "password": lambda n: ({"password": f"secret {n}"}, ()),
}
_BURSTS = {"burst": "profile", "burst of money": "balance"}
WEIGHTS: Mapping[str, int] = {
    "balance": 30,
    "margin": 5,
    "profile": 20,
    "leverage": 5,
    "group": 10,
    "mixed": 6,
    "outside": 5,
    "password": 3,
    "deposit": 8,
    "insert": 4,
    "delete": 4,
    "burst": 1,
    "burst of money": 0,
}
