"""What Redis should hold, worked out from the rows of the database.

On purpose this shares no code with :mod:`consumer.planning.plan` and its parts: it is the second opinion.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from demo.admin import Connection

_COMMON = (
    *("wallet_balance", "margin", "net_profit", "leverage", "group"),
    *("status", "is_active", "account_number", "country_id"),
)
_LIVE_ONLY = (
    *("mam_id", "mam_status", "pam_id", "pam_status", "copytrader_id", "copytrading_status"),
    *("copy_trading_wallet", "copytrading_alloted_time", "sending_orders"),
)
_COLUMNS = {"live": ("live_users", (*_COMMON, *_LIVE_ONLY)), "demo": ("demo_users", _COMMON)}
_DEFAULT_ORDERS = "rock"


@dataclass(frozen=True, slots=True)
class Expected:
    """``users`` are the config hashes that should stand, by user; ``gone`` are users who should have left no key."""

    users: Mapping[str, Mapping[str, str]]
    gone: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps({"users": self.users, "gone": self.gone}, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Expected:
        """The inverse of :meth:`save`."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(raw["users"], tuple(raw["gone"]))


def of_database(connection: Connection, known: Iterable[str], quote: str = "`") -> Expected:
    """Every row as its config hash. ``known`` are users that existed at some time, ``quote`` is the database's."""
    users = {user: fields for user_type in _COLUMNS for user, fields in _rows(connection, user_type, quote)}
    for user, transaction in _last_transactions(connection):
        if user in users:
            users[user]["last_transaction_id"] = transaction
    return Expected(users, tuple(sorted(set(known) - users.keys())))


def _rows(connection: Connection, user_type: str, quote: str) -> list[tuple[str, dict[str, str]]]:
    table, columns = _COLUMNS[user_type]
    cursor = connection.cursor()
    try:
        names = ", ".join(f"{quote}{column}{quote}" for column in columns)
        cursor.execute(f"SELECT id, {names} FROM {table} ORDER BY id")  # noqa: S608  # names from this file
        return [(f"{user_type}:{row[0]}", _hash(user_type, row[0], columns, row[1:])) for row in cursor.fetchall()]
    finally:
        cursor.close()


def _last_transactions(connection: Connection) -> list[tuple[str, str]]:
    """Users with their completed transactions, the last one last."""
    cursor = connection.cursor()
    try:
        cursor.execute(
            "SELECT user_type, user_id, transaction_id FROM user_transactions WHERE status = 'completed' ORDER BY id"
        )
        return [(f"{user_type}:{user_id}", transaction) for user_type, user_id, transaction in cursor.fetchall()]
    finally:
        cursor.close()


def _hash(user_type: str, number: int, columns: tuple[str, ...], values: tuple[object, ...]) -> dict[str, str]:
    fields = {"id": str(number), "user_type": user_type}
    fields |= {column: _text(value) for column, value in zip(columns, values, strict=True)}
    fields["sending_orders"] = fields.get("sending_orders") or _DEFAULT_ORDERS
    return fields


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Decimal):
        digits = f"{value:.6f}"
        while digits.endswith("0") and digits[-3] != ".":
            digits = digits[:-1]
        return digits
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return str(value)
