"""What the pages of the console work with, and the checks that every page makes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from consumer.commands.api.access import Access
from consumer.commands.api.console.form import CSRF, read_form
from consumer.commands.api.console.letters import Letters
from consumer.commands.api.console.overview import Overview
from consumer.commands.api.console.session import LoggedOut, Session, Sessions, id_of
from consumer.commands.api.health import Health
from consumer.commands.api.limit import Limit, Limits
from consumer.commands.shared.finding import Finding
from consumer.commands.shared.status.rounds import Survey
from consumer.events.avro import Schemas
from consumer.mapping.rules import Rules
from consumer.settings.sources import Settings

_REFUSED_PER_MINUTE = 10
"""So many logins from an address may be refused; then all of them are, also good ones, for a while."""

_SLOW_PAGES = 8
"""So many pages that ask servers may be made at once, and as many that ask Kafka: while it hangs, the values of a user
need not wait for it. The API needs threads of the same pool of 40."""


_TIMELINES = 2
"""So many timelines may be read at once: each keeps a core busy."""


class TooMany(Exception):
    """More requests than allowed; the next one is allowed in ``wait_s`` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__()
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that pages need. ``refreshes``: the limit that the API has too. ``stop``: whether to end."""

    settings: Settings
    rules: Rules
    schemas: Schemas
    access: Access
    health: Health
    sessions: Sessions
    overview: Overview
    checks: Survey[list[Finding]]
    letters: Letters
    refreshes: Limit
    stop: Callable[[], bool]
    slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_SLOW_PAGES))
    kafka_slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_SLOW_PAGES))
    timelines: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_TIMELINES))
    refused_logins: Limits = field(default_factory=lambda: Limits(_REFUSED_PER_MINUTE))


def desk_of(request: Request) -> Desk:
    """The desk of this application."""
    found = request.app.state.desk
    assert isinstance(found, Desk)  # noqa: S101  # set when the application was made
    return found


AtDesk: TypeAlias = Annotated[Desk, Depends(desk_of)]


def session_of(request: Request, desk: AtDesk) -> Session:
    """The visitor's session.

    Raises:
        LoggedOut: there is none.
        TooMany: it asks for too many pages.
    """
    found = desk.sessions.find(id_of(request))
    if found is None:
        raise LoggedOut
    if wait_s := found.pages.wait_s():
        raise TooMany(wait_s)
    return found


InSession: TypeAlias = Annotated[Session, Depends(session_of)]


def onlooker_of(request: Request, desk: AtDesk) -> Session:
    """The session of a browser that asks for events by itself: nobody has opened a page.

    Raises:
        LoggedOut: there is none.
    """
    found = desk.sessions.of(request)
    if found is None:
        raise LoggedOut
    return found


Onlooker: TypeAlias = Annotated[Session, Depends(onlooker_of)]


@contextmanager
def slot(slots: threading.Semaphore) -> Iterator[None]:
    """Room for a page that asks servers, until it is made.

    Raises:
        TooMany: many such pages are being made.
    """
    if not slots.acquire(blocking=False):
        raise TooMany(2)
    try:
        yield
    finally:
        slots.release()


def kafka_slot_of(desk: AtDesk, session: InSession) -> Iterator[None]:
    """As :func:`slot`, for a page that asks Kafka."""
    with slot(desk.kafka_slots):
        yield


InKafkaSlot = Depends(kafka_slot_of)
"""For a page that asks Kafka; for all pages of a router, if all do."""


async def form_of(request: Request, session: InSession) -> Mapping[str, str]:
    """A form of this session.

    Raises:
        NotAllowed: it is not of this session.
        NotAForm: there is none.
    """
    form = await read_form(request)
    session.check_form(form.get(CSRF, ""))
    return form


Form: TypeAlias = Annotated[Mapping[str, str], Depends(form_of)]


def operator_of(session: InSession, form: Form) -> Mapping[str, str]:
    """A form of this session, of a visitor who may change something.

    Raises:
        NotAllowed: a viewer.
    """
    session.check_role()
    return form


OperatorsForm: TypeAlias = Annotated[Mapping[str, str], Depends(operator_of)]
