"""A plan: what one change of one user does in Redis. Its effects, each one Redis action, are shown as data.

The type of an effect decides its order: first state, then invalidations, then messages. So a subscriber that computes
its data again at once reads the new state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, TypeAlias

import msgspec
from msgspec.structs import replace

from consumer.guard.version import Version
from consumer.mapping.keys import UserId, render
from consumer.planning.message import with_details
from consumer.planning.shape import TIME, Assigned, Channel, Extent, Mode, PlanShape, changed_shape

Fields: TypeAlias = Mapping[str, str]


class Upsert(msgspec.Struct, frozen=True):
    """Write ``changed`` to the hash at ``key`` if it exists, ``whole`` if it does not.

    ``whole``: empty if the change did not contain every field; then a missing hash is not created. ``gone``: fields
    that the hash must not have.
    """

    key: str
    changed: Fields
    whole: Fields
    gone: tuple[str, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """Write ``fields`` to the hash at ``key`` only if it exists. Something else creates this hash.

    ``is_kept``: store the fields in the guard too, beside the version. They are added to the user's config hash when it
    is created.
    """

    key: str
    fields: Fields
    is_kept: bool = False


class Put(msgspec.Struct, frozen=True):
    """Set the string at ``key`` with a TTL of ``ttl_s`` seconds."""

    key: str
    value: str
    ttl_s: int


class Remove(msgspec.Struct, frozen=True):
    """The user was deleted: delete these keys of the user."""

    keys: tuple[str, ...]


class Invalidate(msgspec.Struct, frozen=True):
    """Delete derived keys, and every key that begins with one of ``prefixes``."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Publish(msgspec.Struct, frozen=True):
    """Send ``body`` to the subscribers of ``channel``, and add it to ``stream``, as :class:`Channel` says."""

    channel: str
    body: str
    stream: str = ""
    maxlen: int = 0
    is_published: bool = True

    @classmethod
    def of(cls, channel: Channel, body: str) -> Self:
        """Send ``body`` to where ``channel`` says."""
        return cls(channel.name, body, channel.stream, channel.maxlen, channel.is_published)

    def channel_at(self, at: int) -> Channel:
        """Where it is sent, as the message at the place ``at`` of a plan."""
        return Channel(self.channel, at, self.stream, self.maxlen, self.is_published)


class Nothing(msgspec.Struct, frozen=True):
    """A change without effects, and the reason. ``unreadable``: as in :class:`Plan`."""

    reason: str
    unreadable: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, gc=False):
    """The effects of one change on one user.

    ``values``: by name, as :class:`PlanShape` names them. ``time``: the source's time of the change, as text, so that a
    replay writes the same bytes. ``bodies``: the messages. ``is_repeated``: the plan was applied before, and part of
    the result may be lost. ``expected``: set if the data was read from the database. The plan is applied only if the
    guard still holds this version, as text ("": no version); the version stays there. ``unreadable``: optional columns
    whose value can't be read; their fields do not change. ``known_below``: a rebuild has read its partition up to this
    offset, so it has seen every version below. ``is_of_letter``: the record was a dead letter, so it may be from before
    its topic was created again (:func:`consumer.guard.version.compare_letter`).

    The properties show the same as effects, for people and for comparisons.
    """

    user: UserId
    shape: PlanShape
    version: Version
    values: Fields = {}
    time: str = ""
    bodies: tuple[str, ...] = ()
    is_repeated: bool = False
    expected: str | None = None
    known_below: int | None = None
    unreadable: tuple[str, ...] = ()
    is_of_letter: bool = False

    @property
    def table(self) -> str:
        """The user's table, or the linked table."""
        return self.shape.table

    @property
    def mode(self) -> Mode:
        """How the plan treats the data in Redis."""
        return self.shape.mode

    @property
    def extent(self) -> Extent:
        """How much of the user the plan writes."""
        return self.shape.extent

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules that caused the effects, for people."""
        return self.shape.reasons

    @property
    def guard(self) -> str:
        """The key of the guard."""
        return self.key(self.shape.guard)

    @property
    def config(self) -> Upsert | None:
        """The write to the config hash."""
        shape = self.shape
        if not shape.config:
            return None
        return Upsert(self.key(shape.config), self._fields(shape.changed), self._fields(shape.whole), shape.gone)

    @property
    def balance(self) -> Put | None:
        """The write to the balance string."""
        shape = self.shape
        if not shape.balance:
            return None
        return Put(self.key(shape.balance), self.values[shape.balance_value], shape.balance_ttl_s)

    @property
    def update(self) -> Update | None:
        """The write to a hash that something else creates."""
        shape = self.shape
        return Update(self.key(shape.update), self._fields(shape.updated), shape.is_kept) if shape.updated else None

    @property
    def removed(self) -> Remove | None:
        """The keys of a deleted user."""
        return Remove(tuple(map(self.key, self.shape.removed))) if self.shape.removed else None

    @property
    def cleared(self) -> Invalidate:
        """The derived keys."""
        keys = tuple(self.key(each) for each in self.shape.cleared if not each.endswith("*"))
        return Invalidate(keys, tuple(self.prefixes))

    @property
    def prefixes(self) -> Sequence[str]:
        """The prefixes of the derived keys that are cleared by prefix."""
        return [*map(str(self.user.id).join, self.shape.prefixes)]

    @property
    def messages(self) -> tuple[Publish, ...]:
        """One message for each channel."""
        return tuple(Publish.of(each, self.bodies[each.at]) for each in self.shape.channels)

    def key(self, template: str) -> str:
        """The user's key, from its template."""
        return render(template, self.user)

    def publishing(self, messages: Sequence[Publish]) -> Plan:
        """The plan with other messages."""
        channels = tuple(each.channel_at(at) for at, each in enumerate(messages))
        shape = changed_shape(self.shape, channels=channels)
        return replace(self, shape=shape, bodies=tuple(each.body for each in messages))

    def with_details(self, details: Mapping[str, object]) -> Plan:
        """The plan with details from linked rows in its messages, if it changes an amount of money."""
        if not details or not self.shape.is_financial:
            return self
        return replace(self, bodies=tuple(with_details(body, details) for body in self.bodies))

    def repeated(self) -> Plan:
        """The plan without its messages, for a plan that was applied before.

        Its entries of streams stay: a server that lost the plan lost them too, and a reader can still get them.
        """
        if not self.shape.has_streams:
            return replace(self.publishing(()), is_repeated=True)
        kept = [replace(each, is_published=False) for each in self.messages if each.stream]
        return replace(self.publishing(kept), is_repeated=True)

    def in_mode(self, mode: Mode) -> Plan:
        """The plan in another mode."""
        return replace(self, shape=changed_shape(self.shape, mode=mode))

    def _fields(self, assigned: Assigned) -> Fields:
        return {name: self.time if source == TIME else self.values[source] for name, source in assigned}
