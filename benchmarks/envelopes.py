"""Changes as Debezium writes them, about 1.5 KB each: what every measurement here is made on.

Inserts and updates of a live user's balance, as MySQL's connector sends them in JSON without schema. They are made by
filling in a text, so that making them costs little beside what is measured. Positions rise with the number of a
change, and its balance is its number: that is how a message is known again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

TABLE = "live_users"
# Stand for what differs from change to change; no digits of theirs occur elsewhere.
_USER, _NUMBER, _BEFORE, _FILE, _POSITION = 777_777_777, 888_888_888, 666_666_666, 555_555, 444_444_444
_ROW = {
    "id": _USER,
    "name": "f288cc9194638234bc812bbc5bb003c8",
    "email": "b1ae768187fb7f26437a357653e6c0e0",
    "wallet_balance": f"{_NUMBER}.000000",
    "margin": "250.000000",
    "net_profit": "12.345678",
    "leverage": 100,
    "group": "Standard",
    "status": 1,
    "is_active": 1,
    "account_number": "ACC-0007",
    "country_id": 91,
    "mam_id": None,
    "mam_status": 0,
    "pam_id": None,
    "pam_status": 0,
    "copytrader_id": None,
    "copytrading_status": 0,
    "copy_trading_wallet": "0.000000",
    "copytrading_alloted_time": None,
    "sending_orders": None,
    "created_at": "2026-11-23T14:49:11Z",
    "updated_at": "2026-11-23T14:49:11Z",
}
_SOURCE = {
    "version": "3.5.0.Final",
    "connector": "mysql",
    "name": "bench",
    "ts_ms": 1_795_000_352_965,
    "snapshot": None,
    "db": "trading",
    "ts_us": 1_795_000_352_965_853,
    "table": TABLE,
    "server_id": 101,
    "gtid": f"08a1b003-e74d-11f1-9a24-02fc00000001:{_NUMBER}",
    "file": f"binlog.{_FILE}",
    "pos": _POSITION,
    "row": 0,
    "thread": 9,
}


class Change(NamedTuple):
    """A record to be sent."""

    partition: int
    key: bytes
    value: bytes


def _template(op: str, before: dict[str, object] | None) -> bytes:
    """The envelope with a place for each number; ``%`` occurs nowhere else."""
    transaction = {"id": _SOURCE["gtid"], "total_order": 1, "data_collection_order": 1}
    whole = {"before": before, "after": _ROW, "source": _SOURCE, "transaction": transaction, "op": op, "ts_ms": 1}
    text = json.dumps(whole, separators=(",", ":"))
    places = {_USER: "user", _NUMBER: "number", _BEFORE: "before", _POSITION: "position"}
    for number, name in places.items():
        text = text.replace(str(number), f"%({name})d")
    return text.replace(str(_FILE), "%(file)06d").encode()


_INSERT = _template("c", None)
_UPDATE = _template("u", _ROW | {"wallet_balance": f"{_BEFORE}.000000"})


def insert(number: int, user: int) -> bytes:
    """Change ``number`` of the database: a new user."""
    return _filled(_INSERT, number, user)


def update(number: int, user: int) -> bytes:
    """Change ``number`` of the database: a user's balance, from one less than that number to it."""
    return _filled(_UPDATE, number, user)


def _filled(template: bytes, number: int, user: int) -> bytes:
    file, position = divmod(number, 1_000_000)
    return template % {
        b"user": user,
        b"number": number,
        b"before": number - 1,
        b"file": file + 2,
        b"position": position * 1000,
    }


def changes(count: int, users: int, partitions: int) -> Iterator[Change]:
    """``count`` changes of ``users`` in turn. The first of each is an insert."""
    for number in range(count):
        user = number % users + 1
        value = insert(number, user) if number < users else update(number, user)
        yield Change(user % partitions, b'{"id":%d}' % user, value)
