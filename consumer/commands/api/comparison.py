"""A user's row compared with Redis, in the form of the API's contract: the old fields and all mapped fields."""

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
from consumer.sink.comparison import SPELLING, Difference, is_same_value

OWNED = ("wallet_balance", "leverage", "margin", "account_number", "group", "status", "is_active")
_NUMBERS = (Kind.MONEY, Kind.INTEGER, Kind.BITS)
_TEXTS = frozenset({"account_number", "group"})
_NUMBER = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?")


@dataclass(frozen=True, slots=True)
class StoredFields:
    """Values in Redis besides the plan's fields. ``balance``: the string. ``ttl``: Redis' answer to TTL."""

    config: Mapping[str, str | None]
    last_updated: str | None
    balance: str | None
    ttl: int


def consistency(
    user: UserId, image: RowImage, stored: StoredFields, found: list[Difference], table: UserTable, rules: Rules
) -> dict[str, object]:
    """The data of a consistency call; ``found``: the differences between Redis and the database."""
    wanted, unreadable, _ = read_image(image, table, {})
    balance = wanted.get(rules.balance_field)
    differs = [each for each in found if each.kind != SPELLING]
    return {
        "user_id": user.id,
        "user_type": user.user_type,
        "is_consistent": not differs,
        "database": _owned(wanted),
        "redis_config": {**_owned(stored.config), "last_updated": stored.last_updated},
        "redis_balance_cache": {"wallet_balance": number(stored.balance), "ttl": stored.ttl},
        "consistency_check": {
            "balance_matches": is_same_value("", stored.config.get(rules.balance_field), balance, table, rules),
            "cache_matches": stored.balance is None or is_same_value("", stored.balance, balance, table, rules),
            "all_consistent": not differs,
        },
        "differences": [
            *(line for each in found for line in _lines(each)),
            *(_not_compared(column, stored, user, table, rules) for column in unreadable),
        ],
    }


def _not_compared(name: str, stored: StoredFields, user: UserId, table: UserTable, rules: Rules) -> dict[str, object]:
    """The line for a column whose value in the database can't be read, so it can't be compared."""
    (field,) = (column.field for column in table.columns if column.name == name)
    key = render(rules.names.config, user)
    return {"key": key, "kind": "not compared", "field": field, "redis": stored.config.get(field), "database": None}


def typed(fields: Mapping[str, str], table: UserTable) -> dict[str, object]:
    """Fields of a config hash with JSON types: numbers as numbers, NULL as null."""
    numbers = {column.field for column in table.columns if column.kind in _NUMBERS} | {"id"}
    return {name: _number_or_text(text) if name in numbers else text or None for name, text in fields.items()}


def number(text: str | None) -> Decimal | None:
    """The exact number in ``text``; None for anything else."""
    return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None


def _number_or_text(text: str) -> Decimal | str | None:
    """A number, or the text if it is no number, such as a ``mam_id`` of ``MAM001``."""
    found = number(text)
    return found if found is not None else text or None


def _owned(fields: Mapping[str, str | None]) -> dict[str, object]:
    return {name: fields.get(name) or None if name in _TEXTS else number(fields.get(name)) for name in OWNED}


def _lines(found: Difference) -> list[dict[str, object]]:
    fields = found.fields or (("", None, None),)
    return [
        {"key": found.key, "kind": found.kind, "field": name, "redis": in_redis, "database": wanted}
        for name, in_redis, wanted in fields
    ]
