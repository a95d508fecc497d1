"""The messages for subscribers. Their fields have a fixed order, so that a replay writes the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from consumer.events.event import ChangeEvent
from consumer.events.value import timestamp
from consumer.guard.streamed_change import change_id
from consumer.mapping.keys import UserId

SOURCE = "admin_operation"
"""The reference deployment's name for the program that changed the row. Subscribers filter by it."""


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Group:
    """The group before and after. ``old``: None if the old row image does not contain it."""

    old: str | None
    new: str


class _Position(msgspec.Struct, gc=False):
    table: str
    lineage: str
    order: str


class _Message(msgspec.Struct, gc=False):
    """The fields of a message, in their order. :mod:`consumer.planning.message_schema` says what each one means."""

    event_id: str
    event_type: str
    user_id: int
    user_type: str
    updated_fields: Mapping[str, str]
    group_changed: bool
    old_group: str | msgspec.UnsetType | None
    new_group: str | msgspec.UnsetType
    timestamp: str
    source: str
    source_position: _Position
    database_transaction_id: str | None


def event_id(event: ChangeEvent, user: UserId) -> str:
    """The ``event_id`` of a change's messages: the same on every channel and in every replay."""
    return f"{event.table}:{user.id}:{change_id(event)}"


def body(event: ChangeEvent, user: UserId, event_type: str, updated_fields: Mapping[str, str]) -> str:
    """One message as JSON text, as :func:`bodies`."""
    return bodies(event, user, (event_type,), updated_fields)[0]


def bodies(
    event: ChangeEvent,
    user: UserId,
    event_types: Sequence[str],
    updated_fields: Mapping[str, str],
    group: Group | None = None,
) -> tuple[str, ...]:
    """A message of each type as JSON text. They differ only in their type.

    ``updated_fields``: only fields of the config hash, in Redis form, because the admin app writes them into the hash
    unchanged.
    """
    position = event.position
    message = _Message(
        event_id(event, user),
        "",
        user.id,
        user.user_type,
        updated_fields,
        group is not None,
        msgspec.UNSET if group is None else group.old,
        msgspec.UNSET if group is None else group.new,
        timestamp(position.ts_ms),
        SOURCE,
        _Position(event.table, position.lineage, position.order),
        event.transaction_id,
    )
    found = []
    for event_type in event_types:
        message.event_type = event_type
        found.append(_encode(message).decode())
    return tuple(found)


class _Identified(msgspec.Struct, gc=False):
    event_id: str


_decode = msgspec.json.Decoder(_Identified).decode


def event_id_of(text: str) -> str:
    """The ``event_id`` of the message ``text``."""
    return _decode(text).event_id


def with_details(text: str, details: Mapping[str, object]) -> str:
    """The message ``text`` with details from linked rows of the same database transaction."""
    return f"{text[:-1]},{_encode(details).decode()[1:]}"  # no detail has the name of one of the message's fields
