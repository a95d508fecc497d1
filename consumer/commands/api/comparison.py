"""A user's row beside what Redis holds, as the contract says it: the old fields, and every field that is owned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from consumer.events.event import RowImage
from consumer.events.value import Kind
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import read_image
from consumer.sink.drift import SPELLING, Difference, is_same_value

OWNED = ("wallet_balance", "leverage", "margin", "account_number", "group", "status", "is_active")
_NUMBERS = (Kind.MONEY, Kind.INTEGER, Kind.BITS)
_TEXTS = frozenset({"account_number", "group"})
_NUMBER = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?")


@dataclass(frozen=True, slots=True)
class StoredFields:
    """What Redis holds for a user beside the plan's fields: ``balance`` is the string, ``ttl`` Redis' answer."""

    config: Mapping[str, str | None]
    last_updated: str | None
    balance: str | None
    ttl: int


def consistency(
    user: UserId, image: RowImage, held: StoredFields, found: list[Difference], table: UserTable, rules: Rules
) -> dict[str, object]:
    """The data of a consistency call; ``found`` is how Redis differs from the database."""
    wanted, unreadable = read_image(image, table, {})
    balance = wanted.get(rules.balance_field)
    differs = [each for each in found if each.kind != SPELLING]
    return {
        "user_id": user.id,
        "user_type": user.user_type,
        "is_consistent": not differs,
        "database": _owned(wanted),
        "redis_config": {**_owned(held.config), "last_updated": held.last_updated},
        "redis_balance_cache": {"wallet_balance": number(held.balance), "ttl": held.ttl},
        "consistency_check": {
            "balance_matches": is_same_value("", held.config.get(rules.balance_field), balance, table, rules),
            "cache_matches": held.balance is None or is_same_value("", held.balance, balance, table, rules),
            "all_consistent": not differs,
        },
        "differences": [
            *(line for each in found for line in _lines(each)),
            *(_not_compared(column, held, user, table, rules) for column in unreadable),
        ],
    }


def _not_compared(name: str, held: StoredFields, user: UserId, table: UserTable, rules: Rules) -> dict[str, object]:
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


def _lines(found: Difference) -> list[dict[str, object]]:
    fields = found.fields or (("", None, None),)
    return [
        {"key": found.key, "kind": found.kind, "field": name, "redis": there, "database": wanted}
        for name, there, wanted in fields
    ]
