"""A user's row beside what Redis holds, as the contract says it: the old fields, and every field that is owned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from consumer.errors import InvalidValue
from consumer.events.event import RowImage
from consumer.events.value import Kind, canonical
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import read_image
from consumer.sink.drift import Difference

OWNED = ("wallet_balance", "leverage", "margin", "account_number", "group", "status", "is_active")
_NUMBERS = (Kind.MONEY, Kind.INTEGER, Kind.BITS)
_TEXTS = frozenset({"account_number", "group"})
_NUMBER = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?")


@dataclass(frozen=True, slots=True)
class Held:
    """What Redis holds for a user beside the plan's fields: ``balance`` is the string, ``ttl`` Redis' answer."""

    config: Mapping[str, str | None]
    last_updated: str | None
    balance: str | None
    ttl: int


def consistency(
    user: UserId, image: RowImage, held: Held, found: list[Difference], table: UserTable, rules: Rules
) -> dict[str, object]:
    """The data of a consistency call; ``found`` is what differs from the plan of a rebuild."""
    wanted, unreadable = read_image(image, table, {})
    balance = wanted.get(rules.balance_field)
    differs = [each for each in (_by_value(one, table, rules) for one in found) if each is not None]
    return {
        "user_id": user.id,
        "user_type": user.user_type,
        "is_consistent": not differs,
        "database": _owned(wanted),
        "redis_config": {**_owned(held.config), "last_updated": held.last_updated},
        "redis_balance_cache": {"wallet_balance": number(held.balance), "ttl": held.ttl},
        "consistency_check": {
            "balance_matches": _is_same(rules.balance_field, held.config.get(rules.balance_field), balance, table),
            "cache_matches": held.balance is None or _is_same(rules.balance_field, held.balance, balance, table),
            "all_consistent": not differs,
        },
        "differences": [
            *(line for each in differs for line in _lines(each)),
            *(_not_compared(column, held, user, table, rules) for column in unreadable),
        ],
    }


def _not_compared(name: str, held: Held, user: UserId, table: UserTable, rules: Rules) -> dict[str, object]:
    """A column that can't be read in the database: nobody can say whether Redis agrees with it."""
    (field,) = (column.field for column in table.columns if column.name == name)
    key = render(rules.names.config, user)
    return {"key": key, "kind": "not compared", "field": field, "redis": held.config.get(field), "database": None}


def typed(fields: Mapping[str, str], table: UserTable) -> dict[str, object]:
    """Fields of a config hash with numbers as numbers, and NULL as null."""
    numbers = {column.field for column in table.columns if column.kind in _NUMBERS} | {"id"}
    return {name: _number_or_text(text) if name in numbers else text or None for name, text in fields.items()}


def number(text: str | None) -> Decimal | None:
    """The exact number that ``text`` is, None for anything else."""
    return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None


def _number_or_text(text: str) -> Decimal | str | None:
    """Text stays what it is, such as a ``mam_id`` of ``MAM001``."""
    found = number(text)
    return found if found is not None else text or None


def _owned(fields: Mapping[str, str | None]) -> dict[str, object]:
    return {name: fields.get(name) or None if name in _TEXTS else number(fields.get(name)) for name in OWNED}


def _by_value(found: Difference, table: UserTable, rules: Rules) -> Difference | None:
    """``found`` without fields that are only spelled otherwise, such as ``10.5`` for ``10.50``.

    And without those that a portfolio hash, which is its owner's, does not have: they were never promised.
    """
    if not found.fields:
        return found
    is_portfolio = found.kind == "portfolio differs"
    fields = tuple(
        (name, there, wanted)
        for name, there, wanted in found.fields
        if not _is_same(name or rules.balance_field, there, wanted, table) and not (is_portfolio and there is None)
    )
    return Difference(found.kind, found.key, fields) if fields else None


def _is_same(name: str, there: str | None, wanted: str | None, table: UserTable) -> bool:
    if there == wanted or there is None or wanted is None:
        return there == wanted
    column = next((each for each in table.columns if each.field == name), None)
    if column is None or column.kind is not Kind.MONEY:
        return False
    try:
        return canonical(there, column.kind, column.scale) == wanted
    except InvalidValue:
        return False


def _lines(found: Difference) -> list[dict[str, object]]:
    fields = found.fields or (("", None, None),)
    return [
        {"key": found.key, "kind": found.kind, "field": name, "redis": there, "database": wanted}
        for name, there, wanted in fields
    ]
