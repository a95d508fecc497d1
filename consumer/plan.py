"""A change event and the rules to a plan: the decision core. Pure: the same event always gives the same plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consumer.diff import Diff, diff, whole_image
from consumer.effect import Fields, Invalidate, Mode, Plan, Publish, Put, Remove, Update, Upsert
from consumer.errors import InvalidValue, MissingColumn, UnknownTable, Unsupported
from consumer.event import ChangeEvent, Operation, RowImage
from consumer.keys import UserId, render
from consumer.message import Group, body
from consumer.position import Origin, Version
from consumer.rules import Consequence, Rules, UserTable
from consumer.value import timestamp

_LONGEST_ID = 20


@dataclass(frozen=True, slots=True)
class Nothing:
    """A change from which nothing follows, and why."""

    reason: str


def plan(event: ChangeEvent, rules: Rules) -> Plan | Nothing:
    """What follows from ``event``.

    Raises:
        UnknownTable: no rule names the table.
        MissingColumn, InvalidValue: the row image can't be used; the error names the column.

    """
    table = rules.table(event.table)
    if table is None:
        raise UnknownTable(
            f"no rule names the table {event.table!r}",
            field="source.table",
            advice="name it in the mapping, or leave its topic out",
        )
    if event.op is Operation.DELETE:
        return _deleted(event, table, rules)
    assert event.after is not None  # the envelope's parser refuses every other op without it
    user = _user(event.after, table)
    whole = whole_image(event.after, table, event.schema)
    if event.op is Operation.UPDATE:
        if event.before is None:
            raise Unsupported(
                f"an update of {event.table} without the old row image",
                field="before",
                advice="binlog_row_image=FULL on MySQL and MariaDB, REPLICA IDENTITY FULL on PostgreSQL",
            )
        return _updated(event, table, rules, user, whole, event.before, event.after)
    return _appeared(event, table, rules, user, whole)


@dataclass(frozen=True, slots=True)
class _Followed:
    """A rule, and the columns whose change called for it."""

    rule: Consequence
    columns: tuple[str, ...]


def _updated(
    event: ChangeEvent,
    table: UserTable,
    rules: Rules,
    user: UserId,
    whole: Fields,
    before: RowImage,
    after: RowImage,
) -> Plan | Nothing:
    found = diff(before, after, table, event.schema)
    if not found.fields and not found.outside:
        return Nothing("no column that matters changed")
    now = timestamp(event.position.ts_ms)
    follows = _follow(found, rules)
    changed = {name: whole[name] for name in found.fields}
    stamps = {stamp: now for each in follows for stamp in each.rule.stamps}
    stamps |= {"last_admin_update": now, "last_updated": now}
    config = None
    if changed:
        config = Upsert(
            render(rules.names.config, user), changed | stamps, _identity(user, table) | dict(whole) | stamps
        )
    return Plan(
        user=user,
        table=table.table,
        guard=render(rules.names.guard, user),
        version=_version(event, rules),
        config=config,
        balance=_balance(user, whole, rules) if rules.balance_field in changed else None,
        portfolio=_portfolio(user, changed, now, rules),
        cleared=_cleared(user, (template for each in follows for template in each.rule.clears)),
        messages=_messages(event, user, found, changed, follows, rules),
        reasons=tuple(f"{each.rule.name}: {', '.join(each.columns)}" for each in follows),
    )


def _follow(found: Diff, rules: Rules) -> tuple[_Followed, ...]:
    """The rules that a diff calls for, in the mapping's order."""
    profile = tuple(name for name in found.fields if name not in rules.financial)
    follows = [_Followed(rules.profile, profile)]
    follows += [
        _Followed(each, tuple(name for name in found.fields if name in each.fields)) for each in rules.consequences
    ]
    follows.append(_Followed(rules.outside, found.outside))
    return tuple(each for each in follows if each.columns)


def _messages(
    event: ChangeEvent,
    user: UserId,
    found: Diff,
    changed: Fields,
    follows: tuple[_Followed, ...],
    rules: Rules,
) -> tuple[Publish, ...]:
    """Each channel once, whatever the number of rules that named it."""
    money_only = rules.financial.issuperset(changed) and not found.outside
    event_type = "balance_change" if money_only else "admin_user_update"
    group = None
    if (change := found.fields.get(rules.group_field)) is not None:
        group = Group((change.old or "") if change.old_known else None, changed[rules.group_field])
    general = body(event, user, event_type, changed, group)
    of_group = body(event, user, "user_group_change", changed, group)
    channels = dict.fromkeys(channel for each in follows for channel in each.rule.channels)
    return tuple(Publish(name, of_group if name == rules.names.group_channel else general) for name in channels)


def _appeared(event: ChangeEvent, table: UserTable, rules: Rules, user: UserId, whole: Fields) -> Plan:
    """An insert or a snapshot read: the whole image counts. A read is no news, so nobody is told."""
    now = timestamp(event.position.ts_ms)
    is_read = event.op is Operation.READ
    image = _identity(user, table) | dict(whole)
    stamps = {"last_updated": now} if is_read else {"last_admin_update": now, "last_updated": now}
    messages: tuple[Publish, ...] = ()
    if not is_read:
        messages = (Publish(rules.names.lifecycle_channel, body(event, user, "user_created", image)),)
    return Plan(
        user=user,
        table=table.table,
        guard=render(rules.names.guard, user),
        version=_version(event, rules),
        mode=Mode.FILL if event.position.origin is Origin.INCREMENTAL else Mode.CHANGE,
        config=Upsert(render(rules.names.config, user), image | stamps, image | stamps),
        balance=_balance(user, whole, rules),
        portfolio=_portfolio(user, whole, now, rules),
        cleared=_cleared(user, rules.derived()) if is_read else Invalidate(),
        messages=messages,
        reasons=("snapshot read" if is_read else "user created",),
    )


def _deleted(event: ChangeEvent, table: UserTable, rules: Rules) -> Plan:
    user = _user(event.before or event.key, table)
    names = rules.names
    keys = tuple(render(template, user) for template in (names.config, names.balance, names.portfolio))
    return Plan(
        user=user,
        table=table.table,
        guard=render(names.guard, user),
        version=_version(event, rules),
        removed=Remove(keys),
        cleared=_cleared(user, rules.derived()),
        # No fields: the admin app writes them into the hash, and would bring the user back.
        messages=(Publish(names.lifecycle_channel, body(event, user, "user_deleted", {})),),
        reasons=("user deleted",),
    )


def _user(row: RowImage, table: UserTable) -> UserId:
    if table.key not in row:
        raise MissingColumn(f"the key is not in the row image of {table.table}", field=table.key)
    number = row[table.key]
    if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) <= _LONGEST_ID:
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 10**_LONGEST_ID:
        raise InvalidValue("a user id is a whole number that is not negative", field=table.key)
    return UserId(table.user_type, number)


def _identity(user: UserId, table: UserTable) -> dict[str, str]:
    return {"id": str(user.id), "user_type": user.user_type, **table.constants}


def _portfolio(user: UserId, fields: Fields, now: str, rules: Rules) -> Update | None:
    mirrored: dict[str, str] = {}
    for each in rules.consequences:
        if each.portfolio and (present := {name: fields[name] for name in fields if name in each.fields}):
            mirrored |= present | dict.fromkeys(each.portfolio_stamps, now)
    return Update(render(rules.names.portfolio, user), mirrored) if mirrored else None


def _balance(user: UserId, whole: Fields, rules: Rules) -> Put | None:
    if rules.balance_field not in whole:
        return None
    return Put(render(rules.names.balance, user), whole[rules.balance_field], rules.balance_ttl_s)


def _cleared(user: UserId, templates: Iterable[str]) -> Invalidate:
    names = [render(template, user) for template in dict.fromkeys(templates)]
    return Invalidate(
        keys=tuple(name for name in names if not name.endswith("*")),
        prefixes=tuple(name[:-1] for name in names if name.endswith("*")),
    )


def _version(event: ChangeEvent, rules: Rules) -> Version:
    position, place = event.position, event.place
    return Version(
        epoch=rules.epoch,
        origin=position.origin,
        lineage=position.lineage,
        order=position.order,
        ts_ms=position.ts_ms,
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
    )
