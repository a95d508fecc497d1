"""The messages for subscribers. Their fields have a fixed order, so that a replay writes the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from consumer.events.event import ChangeEvent
from consumer.events.value import timestamp
from consumer.guard.sent import change_id
from consumer.mapping.keys import UserId

SOURCE = "admin_operation"
"""The reference deployment's name for the program that changed the row. Subscribers filter by it."""


@dataclass(frozen=True, slots=True)
class Group:
    """The group before and after. ``old``: None if the old row image does not contain it."""

    old: str | None
    new: str


def body(
    event: ChangeEvent,
    user: UserId,
    event_type: str,
    updated_fields: Mapping[str, str],
    group: Group | None = None,
    details: Mapping[str, object] | None = None,
) -> str:
    """One message as JSON text.

    ``updated_fields``: only fields of the config hash, in Redis form, because the admin app writes them into the hash
    unchanged. ``details``: from linked rows of the same database transaction. A change has the same ``event_id`` on
    every channel and in every replay.
    """
    position = event.position
    message: dict[str, object] = {
        "event_id": f"{event.table}:{user.id}:{change_id(event)}",
        "event_type": event_type,
        "user_id": user.id,
        "user_type": user.user_type,
        "updated_fields": updated_fields,
        "group_changed": group is not None,
    }
    if group is not None:
        message |= {"old_group": group.old, "new_group": group.new}
    message |= {
        "timestamp": timestamp(position.ts_ms),
        "source": SOURCE,
        "source_position": {"table": event.table, "lineage": position.lineage, "order": position.order},
        "database_transaction_id": event.transaction_id,
    }
    if details:
        message |= details
    return msgspec.json.encode(message).decode()
