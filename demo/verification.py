"""What Redis holds against what it should hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules
from demo.dump import Dump
from demo.expectation import Expected

# Fields that carry the time of a change, and so are not in the database's row.
STAMPS = frozenset(
    {"last_updated", "last_admin_update", "last_balance_update", "last_group_update", "last_transaction_at"}
)
_ABSENT = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field or key that is not as it should be."""

    user: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.user}  {self.field}: expected {self.expected!r}, found {self.found!r}"


def differences(expected: Expected, found: Dump, rules: Rules) -> list[Difference]:
    """Every difference: fields, balance strings, portfolios, users who should be there or gone."""
    compared = [each for user in expected.users for each in of_user(user, expected, found, rules)]
    return compared + [each for user in expected.gone for each in of_user(user, expected, found, rules)]


def of_user(user: str, expected: Expected, found: Dump, rules: Rules) -> list[Difference]:
    """The differences of one user."""
    names, who = rules.names, UserId.from_text(user)
    keys = [render(template, who) for template in (names.config, names.balance, names.portfolio)]
    if user not in expected.users:
        return [Difference(user, key, _ABSENT, "a key") for key in keys if key in found.values]
    return list(_of_living(user, keys, expected, found))


def _of_living(user: str, keys: list[str], expected: Expected, found: Dump) -> Iterator[Difference]:
    config, balance, portfolio = keys
    should, is_ = expected.users[user], found.hash(config)
    for field in sorted(should.keys() | (is_.keys() - STAMPS)):
        if should.get(field) != is_.get(field):
            yield Difference(user, field, should.get(field, _ABSENT), is_.get(field, _ABSENT))
    string = found.values.get(balance)
    if string != should.get("wallet_balance"):
        yield Difference(user, balance, should.get("wallet_balance", _ABSENT), str(string or _ABSENT))
    elif balance not in found.expiries:
        yield Difference(user, balance, "a time to live", "none")
    if portfolio in found.values:
        for field in ("wallet_balance", "group"):
            if found.hash(portfolio).get(field) != should.get(field):
                mirrored = found.hash(portfolio).get(field, _ABSENT)
                yield Difference(user, f"{portfolio} {field}", should.get(field, _ABSENT), mirrored)
