"""What follows from a change of a user's row, by the rules: the shapes of its plans."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from consumer.events.event import Operation
from consumer.mapping.rules import Consequence, Rules, UserTable
from consumer.planning.shape import TIME, Assigned, Channel, Extent, Mode, PlanShape, shared

_MOST_KNOWN = 4096


class Updated(NamedTuple):
    """What follows from an update of a set of columns.

    ``event_types``: of each message.
    """

    shape: PlanShape
    event_types: tuple[str, ...]


@lru_cache(maxsize=_MOST_KNOWN)
def updated_shape(
    rules: Rules,
    table: UserTable,
    fields: tuple[str, ...],
    outside: tuple[str, ...],
    row: tuple[str, ...],
    extent: Extent,
    is_complete: bool,
    is_group_changed: bool,
) -> Updated:
    """The shape for an update of ``fields`` and of the columns ``outside``, which have no field.

    ``row``: the fields that the row has. If the row is complete, they create a hash that does not exist.
    """
    applied = _applied(rules, fields, outside)
    stamps = _at_change((*chain.from_iterable(rule.stamps for rule, _ in applied), "last_admin_update", "last_updated"))
    channels, event_types = _messages(rules, fields, outside, applied, is_group_changed)
    image = _image(table, row)
    changed = image if extent is Extent.WHOLE else fields
    shape = PlanShape(
        table=table.table,
        user_type=table.user_type,
        guard=rules.names.guard,
        extent=extent,
        config=rules.names.config if fields else "",
        changed=(*_own(changed), *stamps) if fields else (),
        whole=(*_own(image), *stamps) if fields and is_complete else (),
        balance=rules.names.balance if rules.balance_field in fields else "",
        balance_value=rules.balance_field,
        balance_ttl_s=rules.balance_ttl_s,
        update=rules.names.portfolio,
        updated=_portfolio(applied),
        cleared=_each_once(rule.clears for rule, _ in applied),
        channels=channels,
        is_financial=not rules.financial.isdisjoint(fields),
        reasons=tuple(f"{rule.name}: {', '.join(columns)}" for rule, columns in applied),
    )
    return Updated(shared(shape), event_types)


@lru_cache(maxsize=_MOST_KNOWN)
def appeared_shape(
    rules: Rules, table: UserTable, op: Operation, row: tuple[str, ...], is_incremental: bool, is_complete: bool
) -> PlanShape:
    """The shape for an insert or a snapshot read of a row with the fields ``row``."""
    is_read = op is Operation.READ
    stamps = _at_change(("last_updated",) if is_read else ("last_admin_update", "last_updated"))
    image = (*_own(_image(table, row)), *stamps)
    applied = () if is_incremental else _applied(rules, row, ())
    return shared(
        PlanShape(
            table=table.table,
            user_type=table.user_type,
            guard=rules.names.guard,
            mode=Mode.FILL if is_incremental else Mode.CHANGE,
            extent=Extent.WHOLE if is_complete else Extent.PART,
            config=rules.names.config,
            changed=image,
            whole=image if is_complete else (),
            balance=rules.names.balance if rules.balance_field in row else "",
            balance_value=rules.balance_field,
            balance_ttl_s=rules.balance_ttl_s,
            update=rules.names.portfolio,
            updated=_portfolio(applied),
            cleared=rules.derived() if is_read else (),
            channels=() if is_read else (channel_of(rules, rules.names.lifecycle_channel),),
            reasons=("snapshot read" if is_read else "user created",),
        )
    )


@lru_cache(maxsize=_MOST_KNOWN)
def deleted_shape(rules: Rules, table: UserTable) -> PlanShape:
    """The shape for a delete."""
    names = rules.names
    return shared(
        PlanShape(
            table=table.table,
            user_type=table.user_type,
            guard=names.guard,
            extent=Extent.WHOLE,
            removed=(names.config, names.balance, names.portfolio),
            cleared=rules.derived(),
            channels=(channel_of(rules, names.lifecycle_channel),),
            reasons=("user deleted",),
        )
    )


def channel_of(rules: Rules, name: str, at: int = 0) -> Channel:
    """Where the message at ``at`` goes: to the channel ``name``, and to its stream, if there is one."""
    if (streams := rules.streams) is None:
        return Channel(name, at)
    return Channel(name, at, streams.key_of(name), streams.limit_of(name))


_Applied = tuple[tuple[Consequence, tuple[str, ...]], ...]
"""The rules that apply, in the mapping's order, each with its columns."""


def _applied(rules: Rules, fields: tuple[str, ...], outside: tuple[str, ...]) -> _Applied:
    profile = tuple(name for name in fields if name not in rules.financial)
    pairs = [(rules.profile, profile)]
    pairs += [(each, tuple(name for name in fields if name in each.fields)) for each in rules.consequences]
    pairs.append((rules.outside, outside))
    return tuple((rule, columns) for rule, columns in pairs if columns)


def _portfolio(applied: _Applied) -> Assigned:
    """The portfolio hash gets the changed fields and time fields of the rules."""
    found: dict[str, str] = {}
    for rule, columns in applied:
        if rule.portfolio:
            for name, source in (*_own(columns), *_at_change(rule.portfolio_stamps)):
                found.setdefault(name, source)
    return tuple(found.items())


def _messages(
    rules: Rules, fields: tuple[str, ...], outside: tuple[str, ...], applied: _Applied, is_group_changed: bool
) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
    """One message for each channel, whatever the number of rules that name the channel."""
    is_money_only = rules.financial.issuperset(fields) and not outside
    channels = _each_once(rule.channels for rule, _ in applied)
    of_groups = rules.names.group_channel
    others = tuple(channel_of(rules, channel) for channel in channels if channel != of_groups)
    event_type = "balance_change" if is_money_only else "admin_user_update"
    if not is_group_changed or of_groups not in channels:
        return others, (event_type,) if others else ()
    return tuple(channel_of(rules, each, int(each == of_groups)) for each in channels), (
        event_type,
        "user_group_change",
    )


def _image(table: UserTable, row: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of the whole config hash, without its time fields."""
    return tuple(dict.fromkeys(("id", "user_type", *table.constants, *row)))


def _own(names: Iterable[str]) -> Assigned:
    """Fields that get the value of the same name."""
    return tuple((name, name) for name in names)


def _at_change(names: Iterable[str]) -> Assigned:
    """Fields that get the time of the change."""
    return tuple((name, TIME) for name in dict.fromkeys(names))


def _each_once(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))
