"""Compares a user's keys in Redis with the plan that would rebuild them: which keys would change, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consumer.errors import InvalidValue
from consumer.events.position import Origin
from consumer.events.value import Kind, canonical
from consumer.guard.version import Verdict, Version, compare
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode

Row = Mapping[str, str | None]

SPELLING = "same value, written another way"
"""The kind of a difference in form only: ``10000.5`` instead of ``10000.50``, or ``true`` instead of ``1``."""
_SPELLED = (Kind.MONEY, Kind.INTEGER, Kind.BITS)


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose content in Redis is wrong.

    ``fields``: the wrong fields among those that the program owns, each with its name, its value in Redis, and the
    right value.
    """

    kind: str
    key: str
    fields: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """What Redis holds at the keys of a plan.

    ``config``, ``update``: the fields that the plan names; None if there is no hash. ``present``: the existing keys
    that the plan removes. ``others``: the keys that have another type than expected.
    """

    version: str = ""
    config: Row | None = None
    balance: str | None = None
    update: Row | None = None
    present: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def would_apply(plan: Plan, stored: StoredKeys) -> bool:
    """Whether the guard would accept a plan."""
    if plan.expected is not None:
        return plan.expected == stored.version
    verdict = compare(plan.version, version_of(stored))
    if verdict is Verdict.STALE:
        return overwrites_newer_version(plan, stored)
    return verdict is Verdict.NEWER or plan.mode is Mode.REBUILD


def overwrites_newer_version(plan: Plan, stored: StoredKeys) -> bool:
    """Whether a rebuild writes although the guard has a newer version.

    It does so if the rebuild has already read the record of that version, and one of two things is true: the record is
    an incremental snapshot read, or the config hash is gone.
    """
    version = version_of(stored)
    if version is None or plan.known_below is None or plan.shape.removed:
        return False
    mine = plan.version
    if (version.epoch, version.topic, version.partition) != (mine.epoch, mine.topic, mine.partition):
        return False
    is_gone = bool(plan.shape.whole) and stored.config is None and plan.key(plan.shape.config) not in stored.others
    return version.offset < plan.known_below and (version.origin is Origin.INCREMENTAL or is_gone)


def differences(plan: Plan, stored: StoredKeys) -> Iterator[Difference]:
    """What a rebuild would change if the guard accepts it, key by key."""
    is_again = compare(plan.version, version_of(stored)) is Verdict.DUPLICATE or overwrites_newer_version(plan, stored)
    only_fills = plan.version.origin is Origin.INCREMENTAL and plan.expected is None and not is_again
    for key in stored.others:
        yield Difference("another type", key)
    for key in stored.present:
        yield Difference("deleted but present", key)
    if (config := plan.config) is not None and config.key not in stored.others:
        if stored.config is None:
            if config.whole:
                yield Difference("missing hash", config.key, _fields({}, config.whole))
        elif fields := _fields(stored.config, dict(config.changed) | dict.fromkeys(config.gone), only_fills):
            yield Difference("field differs", config.key, fields)
    if (balance := plan.balance) is not None and stored.balance not in (None, balance.value) and not only_fills:
        yield Difference("balance differs", balance.key, (("", stored.balance, balance.value),))
    if (update := plan.update) is not None and stored.update is not None:
        owned = update.fields if config is None else {name: config.changed.get(name) for name in config.changed}
        wanted = {name: value for name, value in update.fields.items() if name in owned}
        if fields := _fields(stored.update, wanted, only_fills):
            yield Difference("field differs" if update.is_kept else "portfolio differs", update.key, fields)


def differences_from_database(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> Iterator[Difference]:
    """How Redis differs from the database, as audit, API and ``explain`` report it. ``plan``: the rebuild of the row.

    As :func:`differences`, with two exceptions. Fields with the same value in another form are a separate difference of
    the kind :data:`SPELLING`. Fields that a portfolio hash lacks are no difference: the hash belongs to another
    service, and this program does not promise these fields.
    """
    portfolio = plan.update.key if plan.update is not None else ""
    for each in differences(plan, stored):
        if not each.fields:
            yield each
            continue
        kept = [found for found in each.fields if each.key != portfolio or found[1] is not None]
        spelled = [found for found in kept if is_same_value(*found, table, rules)]
        if others := tuple(found for found in kept if found not in spelled):
            yield Difference(each.kind, each.key, others)
        if spelled:
            yield Difference(SPELLING, each.key, tuple(spelled))


def is_same_value(name: str, there: str | None, wanted: str | None, table: UserTable, rules: Rules) -> bool:
    """Whether a field has the same value in Redis and in the database. ``name``: "" for the balance string."""
    if there == wanted or there is None or wanted is None:
        return there == wanted
    field = name or rules.balance_field
    column = next((each for each in table.columns if each.field == field), None)
    if column is None or column.kind not in _SPELLED:
        return False
    try:
        return canonical(there, column.kind, column.scale) == wanted
    except InvalidValue:
        return False


def version_of(stored: StoredKeys) -> Version | None:
    """The version in the guard; None if there is none, or if it can't be read."""
    return Version.known(stored.version)


def _fields(
    there: Row, wanted: Mapping[str, str | None], only_missing: bool = False
) -> tuple[tuple[str, str | None, str | None], ...]:
    return tuple(
        (name, there.get(name), value)
        for name, value in wanted.items()
        if there.get(name) != value and not (only_missing and there.get(name) is not None)
    )
