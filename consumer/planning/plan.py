"""Makes the plan for a change of a user's row from the rules. The same event always gives the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from itertools import chain, pairwise
from typing import NamedTuple

from consumer.errors import InvalidValue, MissingColumn, Unsupported
from consumer.events.event import ChangeEvent, Operation, RowImage, TableSchema
from consumer.events.value import NO_SCHEMA, timestamp, whole_number
from consumer.guard.version import Version
from consumer.mapping.keys import UserId, parts_around_id, render
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import Change, Diff, diff, read_image
from consumer.planning.effect import (
    Extent,
    Fields,
    Invalidate,
    Mode,
    Nothing,
    Plan,
    Publish,
    Put,
    Remove,
    Update,
    Upsert,
)
from consumer.planning.message import Group, body

_NO_DETAILS: Mapping[str, object] = {}
_NO_COLUMNS: TableSchema = {}


def user_of(event: ChangeEvent, table: UserTable) -> UserId:
    """The user whose row changed.

    Raises:
        MissingColumn, InvalidValue: the row's key can't be used.
    """
    return user_in(event.after if event.after is not None else event.before or event.key, table, event.schema)


def user_in(row: RowImage, table: UserTable, schema: TableSchema = _NO_COLUMNS) -> UserId:
    """The user of a row of ``table``, or of a record's key.

    Raises:
        MissingColumn, InvalidValue: as :func:`user_of`.
    """
    if table.key not in row:
        raise MissingColumn(f"the key is not in the row image of {table.table}", field=table.key)
    try:
        return UserId(table.user_type, whole_number(row[table.key], schema.get(table.key, NO_SCHEMA)))
    except InvalidValue as error:
        error.field = table.key
        raise


def plan(
    event: ChangeEvent, table: UserTable, user: UserId, rules: Rules, details: Mapping[str, object] = _NO_DETAILS
) -> Plan | Nothing:
    """The plan for a change of ``user``'s row. ``details``: from linked rows, for messages about a change of money.

    Raises:
        MissingColumn, InvalidValue, Unsupported: the row images can't be used; the error names the column.
    """
    if event.op is Operation.DELETE or event.after is None:
        return _deleted(event, table, user, rules)
    case = _Case(event, event.after, table, user, rules)
    if event.op is not Operation.UPDATE:
        return _appeared(case)
    before = {} if event.before is None and rules.accept_missing_before else event.before
    if before is None:
        raise Unsupported(
            f"an update of {event.table} without the old row image",
            field="before",
            advice=f"on PostgreSQL: ALTER TABLE {event.table} REPLICA IDENTITY FULL; or accept that every owned"
            " column counts as changed then, with CDC_SOURCE__ACCEPT_MISSING_BEFORE=true",
        )
    return _updated(case, before, event.after, details)


def healing(
    event: ChangeEvent, table: UserTable, user: UserId, rules: Rules, details: Mapping[str, object] = _NO_DETAILS
) -> Plan:
    """The plan of the first good change after a change that could not be applied.

    It is not known what that change changed. So every column counts as changed: the plan writes the whole image,
    deletes the derived keys of every column, and publishes on every channel.

    Raises:
        As :func:`plan`.
    """
    if event.op is not Operation.UPDATE or event.after is None:
        planned = plan(event, table, user, rules)
    else:
        case = _Case(event, event.after, table, user, rules)
        planned = _updated(case, {}, event.after, details, is_healing=True)
    assert isinstance(planned, Plan)  # every column counts as changed
    return planned


class _Case:
    """A user's row after the change.

    ``whole``: its fields in Redis form. ``now``: the source's time of the change, so that a replay writes the same
    bytes. ``is_complete``: the row was sent whole, also if some of its columns are ``unreadable``.
    """

    __slots__ = ("_keys", "event", "is_complete", "now", "number", "rules", "table", "unreadable", "user", "whole")

    def __init__(self, event: ChangeEvent, after: RowImage, table: UserTable, user: UserId, rules: Rules) -> None:
        self.event = event
        self.table = table
        self.user = user
        self.rules = rules
        self.whole, self.unreadable, self.is_complete = read_image(after, table, event.schema)
        self.now = timestamp(event.position.ts_ms)
        self.number = str(user.id)
        self._keys = _keys(rules, table)

    @property
    def guard(self) -> str:
        """The key of the guard."""
        return self.number.join(self._keys.guard)

    @property
    def image(self) -> dict[str, str]:
        """The whole config hash without its time fields."""
        return {"id": self.number, "user_type": self.user.user_type, **self.table.constants, **self.whole}

    def upsert(self, changed: Fields, stamps: Fields) -> Upsert:
        """The write to the config hash. A row that was not sent whole does not create the hash."""
        whole = {**self.image, **stamps} if self.is_complete else {}
        return Upsert(self.number.join(self._keys.config), {**changed, **stamps}, whole)

    def balance(self) -> Put | None:
        value = self.whole.get(self.rules.balance_field)
        if value is None:
            return None
        return Put(self.number.join(self._keys.balance), value, self.rules.balance_ttl_s)

    def portfolio(self, follows: _Follows, fields: Fields) -> Update | None:
        if not follows.mirrored:
            return None
        mirrored = {name: fields.get(name, self.now) for name in follows.mirrored}
        return Update(self.number.join(self._keys.portfolio), mirrored)


class _Keys(NamedTuple):
    """The keys of the users of one table: the texts before and after the id."""

    guard: tuple[str, ...]
    config: tuple[str, ...]
    balance: tuple[str, ...]
    portfolio: tuple[str, ...]


@lru_cache(maxsize=64)
def _keys(rules: Rules, table: UserTable) -> _Keys:
    names = rules.names
    templates = (names.guard, names.config, names.balance, names.portfolio)
    return _Keys(*(parts_around_id(each, table.user_type) for each in templates))


class _Follows(NamedTuple):
    """What follows from a change of a set of columns, in the mapping's order.

    ``stamps``: the time fields of the config hash. ``mirrored``: fields of the portfolio hash: changed fields and time
    fields. ``reasons``: the names of rules and columns.
    """

    stamps: tuple[str, ...]
    mirrored: tuple[str, ...]
    clears: tuple[str, ...]
    channels: tuple[str, ...]
    reasons: tuple[str, ...]
    is_financial: bool
    is_money_only: bool


@lru_cache(maxsize=4096)
def _following(fields: tuple[str, ...], outside: tuple[str, ...], rules: Rules) -> _Follows:
    """Computed once for each set of columns: the changes of a system have only a few different sets."""
    profile = tuple(name for name in fields if name not in rules.financial)
    pairs = [(rules.profile, profile)]
    pairs += [(each, tuple(name for name in fields if name in each.fields)) for each in rules.consequences]
    pairs.append((rules.outside, outside))
    pairs = [(rule, columns) for rule, columns in pairs if columns]
    return _Follows(
        stamps=_each_once((*(rule.stamps for rule, _ in pairs), ("last_admin_update", "last_updated"))),
        mirrored=_each_once((*columns, *rule.portfolio_stamps) for rule, columns in pairs if rule.portfolio),
        clears=_each_once(rule.clears for rule, _ in pairs),
        channels=_each_once(rule.channels for rule, _ in pairs),
        reasons=tuple(f"{rule.name}: {', '.join(columns)}" for rule, columns in pairs),
        is_financial=not rules.financial.isdisjoint(fields),
        is_money_only=rules.financial.issuperset(fields) and not outside,
    )


def _each_once(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))


def _updated(
    case: _Case, before: RowImage, after: RowImage, details: Mapping[str, object], *, is_healing: bool = False
) -> Plan | Nothing:
    rules = case.rules
    between = () if is_healing else case.event.between
    found = _differences((before, *between, after), case)
    if not found.fields and not found.outside:
        return Nothing("no mapped column changed", case.unreadable)
    follows = _following(tuple(found.fields), found.outside, rules)
    changed = {name: _last_known(name, change, case) for name, change in found.fields.items()}
    stamps = dict.fromkeys(follows.stamps, case.now)
    return Plan(
        user=case.user,
        table=case.table.table,
        guard=case.guard,
        version=Version.of(case.event, rules.epoch),
        extent=Extent.WHOLE if is_healing else Extent.CHANGED if case.is_complete else Extent.PART,
        config=case.upsert(case.image if is_healing else changed, stamps) if changed else None,
        balance=case.balance() if rules.balance_field in changed else None,
        update=case.portfolio(follows, changed),
        cleared=Invalidate.of(case.user, follows.clears),
        messages=_messages(case, found, changed, follows, details if follows.is_financial else _NO_DETAILS),
        reasons=follows.reasons,
        unreadable=case.unreadable,
    )


def _differences(images: tuple[RowImage, ...], case: _Case) -> Diff:
    """Every difference between two neighbouring row images, as one."""
    table, schema = case.table, case.event.schema
    if len(images) == 2:
        return diff(*images, table, schema)
    return reduce(Diff.then, (diff(*pair, table, schema) for pair in pairwise(images)))


def _last_known(name: str, change: Change, case: _Case) -> str:
    """The field's new value in Redis. If the last image does not contain it, the value of an earlier image is used."""
    text = case.whole.get(name, change.new)
    if text is not None:
        return text
    return next((column.default or "" for column in case.table.columns if column.field == name), "")


def _messages(
    case: _Case, found: Diff, changed: Fields, follows: _Follows, details: Mapping[str, object]
) -> tuple[Publish, ...]:
    """One message for each channel, whatever the number of rules that name the channel."""
    rules = case.rules
    event_type = "balance_change" if follows.is_money_only else "admin_user_update"
    group = None
    change = found.fields.get(rules.group_field)
    if change is not None and not (change.old_known and change.old == change.new):
        group = Group((change.old or "") if change.old_known else None, changed[rules.group_field])
    general = body(case.event, case.user, event_type, changed, group, details)
    of_groups = rules.names.group_channel
    if group is None or of_groups not in follows.channels:
        return tuple([Publish(channel, general) for channel in follows.channels if channel != of_groups])
    of_group = body(case.event, case.user, "user_group_change", changed, group, details)
    return tuple([Publish(channel, of_group if channel == of_groups else general) for channel in follows.channels])


def _appeared(case: _Case) -> Plan:
    """The plan for an insert or a snapshot read: it writes the whole image. A read is not published."""
    event, rules = case.event, case.rules
    is_read = event.op is Operation.READ
    stamps = {"last_updated": case.now} if is_read else {"last_admin_update": case.now, "last_updated": case.now}
    messages: tuple[Publish, ...] = ()
    if not is_read:
        messages = (Publish(rules.names.lifecycle_channel, body(event, case.user, "user_created", case.image)),)
    return Plan(
        user=case.user,
        table=case.table.table,
        guard=case.guard,
        version=Version.of(event, rules.epoch),
        mode=Mode.FILL if event.is_incremental else Mode.CHANGE,
        extent=Extent.WHOLE if case.is_complete else Extent.PART,
        config=case.upsert(case.image, stamps),
        balance=case.balance(),
        update=None if event.is_incremental else case.portfolio(_following(tuple(case.whole), (), rules), case.whole),
        cleared=Invalidate.of(case.user, rules.derived()) if is_read else Invalidate(),
        messages=messages,
        reasons=("snapshot read" if is_read else "user created",),
        unreadable=case.unreadable,
    )


def _deleted(event: ChangeEvent, table: UserTable, user: UserId, rules: Rules) -> Plan:
    names = rules.names
    return Plan(
        user=user,
        table=table.table,
        guard=render(names.guard, user),
        version=Version.of(event, rules.epoch),
        extent=Extent.WHOLE,
        removed=Remove(tuple(render(each, user) for each in (names.config, names.balance, names.portfolio))),
        cleared=Invalidate.of(user, rules.derived()),
        # No fields: the admin app writes the fields into the hash, and would create the user again.
        messages=(Publish(names.lifecycle_channel, body(event, user, "user_deleted", {})),),
        reasons=("user deleted",),
    )
