"""A message as it was sent, with the values that may be shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from consumer.commands.shared.dead_letters.redacted import REDACTED
from consumer.mapping.rules import Rules

_ALWAYS = frozenset(
    {
        *("event_id", "event_type", "user_id", "user_type", "group_changed"),
        *("timestamp", "source", "source_position", "database_transaction_id"),
    }
)
_OF_GROUP = {"old_group": "group", "new_group": "group"}
_FIELDS, _TRANSACTIONS = "updated_fields", "transactions"


def sent_text(text: str, rules: Rules) -> str:
    """The message ``text``, or "" if it is none.

    A stream may have messages of an earlier mapping, or of another program: what this mapping does not send is hidden.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    columns = {name for table in rules.tables for name in ("id", "user_type", *table.constants)}
    columns |= {column.field for table in rules.tables for column in table.columns}
    details = {each.field for table in rules.linked for each in table.enriches}
    shown: dict[str, object] = {}
    for name, value in found.items():
        if name == _FIELDS and isinstance(value, dict):
            shown[name] = _known(value, columns)
        elif name == _TRANSACTIONS and isinstance(value, list):
            shown[name] = [_known(each, details) if isinstance(each, dict) else REDACTED for each in value]
        else:
            is_known = name in _ALWAYS or name in details or _OF_GROUP.get(name) in columns
            shown[name] = value if is_known else REDACTED
    return msgspec.json.encode(shown).decode()


def _known(values: Mapping[str, object], names: set[str]) -> Mapping[str, object]:
    return {name: value if name in names else REDACTED for name, value in values.items()}
