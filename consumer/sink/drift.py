"""What stands in Redis of a user against the plan that would rebuild them: which keys would change, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consumer.errors import InvalidValue
from consumer.events.position import Origin
from consumer.events.value import Kind, canonical
from consumer.guard.version import Verdict, Version, compare
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Mode, Plan

Row = Mapping[str, str | None]

SPELLING = "same value, written another way"
"""The kind of a difference that is none in value: ``10000.5`` for ``10000.50``, or ``true`` for ``1``."""
_SPELLED = (Kind.MONEY, Kind.INTEGER, Kind.BITS)


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of Redis that is not what it should be. ``fields`` are owned ones: name, what is there, what should be."""

    kind: str
    key: str
    fields: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """What was read of the keys that a plan is about.

    ``config`` and ``update`` are the fields that the plan names, None where there is no hash. ``present`` are those of
    the keys it removes, ``others`` those that are of another type.
    """

    version: str = ""
    config: Row | None = None
    balance: str | None = None
    update: Row | None = None
    present: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def would_apply(plan: Plan, stored: StoredKeys) -> bool:
    """Whether the guard would let a plan through."""
    if plan.expected is not None:
        return plan.expected == stored.version
    verdict = compare(plan.version, version_of(stored))
    if verdict is Verdict.STALE:
        return is_known(plan, stored)
    return verdict is Verdict.NEWER or plan.mode is Mode.REBUILD


def is_known(plan: Plan, stored: StoredKeys) -> bool:
    """Whether a rebuild writes although a newer version stands there, which is that of a record that it has read: of a
    row that was only read in the database, or of one whose hash is gone.
    """
    version = version_of(stored)
    if version is None or plan.known_below is None or plan.removed is not None:
        return False
    mine = plan.version
    if (version.epoch, version.topic, version.partition) != (mine.epoch, mine.topic, mine.partition):
        return False
    is_missing = plan.config is not None and bool(plan.config.whole) and stored.config is None
    is_gone = is_missing and (plan.config is None or plan.config.key not in stored.others)
    return version.offset < plan.known_below and (version.origin is Origin.INCREMENTAL or is_gone)


def differences(plan: Plan, stored: StoredKeys) -> Iterator[Difference]:
    """What a rebuild that the guard lets through would change, key by key."""
    is_again = compare(plan.version, version_of(stored)) is Verdict.DUPLICATE or is_known(plan, stored)
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
    if plan.balance is not None and stored.balance not in (None, plan.balance.value) and not only_fills:
        yield Difference("balance differs", plan.balance.key, (("", stored.balance, plan.balance.value),))
    if (update := plan.update) is not None and stored.update is not None:
        owned = update.fields if config is None else {name: config.changed.get(name) for name in config.changed}
        wanted = {name: value for name, value in update.fields.items() if name in owned}
        if fields := _fields(stored.update, wanted, only_fills):
            yield Difference("field differs" if update.is_kept else "portfolio differs", update.key, fields)


def compared(plan: Plan, stored: StoredKeys, table: UserTable, rules: Rules) -> Iterator[Difference]:
    """How Redis differs from the database, of whose row ``plan`` is the rebuild: what audit, API and ``explain`` tell.

    As :func:`differences`, with two things apart. Fields that have the same value and are written another way are a
    difference of their own, of the kind :data:`SPELLING`. And fields that a portfolio hash does not have are none: it
    is its owner's, so they were never promised.
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
    """Whether Redis' and the database's text of a field are one value; the ``name`` of the balance string is ""."""
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
    """The version that stands there; None where none does, or somebody made one that can't be read.

    To write is refused then, and says so.
    """
    try:
        return Version.from_text(stored.version) if stored.version else None
    except ValueError:
        return None


def _fields(
    there: Row, wanted: Mapping[str, str | None], only_missing: bool = False
) -> tuple[tuple[str, str | None, str | None], ...]:
    return tuple(
        (name, there.get(name), value)
        for name, value in wanted.items()
        if there.get(name) != value and not (only_missing and there.get(name) is not None)
    )
