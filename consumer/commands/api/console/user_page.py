"""One user: the database beside Redis, the timeline, and a refresh from the database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from consumer.commands.api.console.desk import AtDesk, Desk, InKafkaSlot, InSession, OperatorsForm, TooMany, slot
from consumer.commands.api.console.failures import is_of_settings
from consumer.commands.api.console.page import BASE, HEADERS, page
from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.line import counted, fields
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.present_values import present_values
from consumer.commands.shared.explain.run import timeline
from consumer.commands.shared.explain.timeline import Timeline, Window
from consumer.commands.shared.explain.topics import ReadLimits
from consumer.commands.shared.explain.user_values import Value
from consumer.commands.shared.options import bound_of, user_of
from consumer.errors import ConfigError
from consumer.mapping.keys import UserId, render
from consumer.source.bounds import check_order

_log = structlog.get_logger(__name__)
router = APIRouter()
_MOST_RECORDS = 500_000
_MOST_OF_USER = 20_000
"""130,000 changes of one user took 800 MB."""
_LONGEST_S = 20.0
_PAGE = 50
_LONGEST = 40

Text = Annotated[str, Query(max_length=_LONGEST)]
From = Annotated[str, Query(alias="from", max_length=_LONGEST)]


@dataclass(frozen=True, slots=True)
class Key:
    """One of the user's keys in Redis, with its values beside the database's. ``more``: what else is known of it."""

    name: str
    key: str
    exists: bool
    values: Sequence[Value]
    more: str = ""


@router.get("/user")
def user(
    request: Request, desk: AtDesk, session: InSession, user: Text = "", begin: From = "1h", to: Text = "end"
) -> Response:
    """Search for a user, or show the one that was found."""
    text = user.strip()
    told: dict[str, Any] = {"text": text, "begin": begin, "end": to, "known": None, "several": (), "problem": ""}
    if not text:
        return page(request, "user.html", session, **told)
    try:
        with slot(desk.slots):
            found = [present_values(_asked(desk, each)) for each in _wanted(desk, text)]
    except ConfigError as error:
        if error.field != "user":
            raise
        return page(
            request, "user.html", session, status=400, **told | {"problem": f"{error.problem}; {error.allowed}"}
        )
    known = [each for each in found if not each.is_nobody or _has_anything(each)]
    if len(found) > 1 and len(known) != 1:
        several = [(str(each.user), each.is_nobody) for each in found]
        return page(request, "user.html", session, **told | {"several": several})
    shown = (known or found)[0]
    return page(request, "user.html", session, **told | {"known": shown, "keys": list(_keys(shown))})


@router.get("/user/timeline", dependencies=[InKafkaSlot])
def history(
    request: Request,
    desk: AtDesk,
    session: InSession,
    user: Text,
    begin: From = "1h",
    to: Text = "end",
    number: Annotated[int, Query(alias="page", ge=1)] = 1,
    part: bool = False,
) -> Response:
    """What happened to a user in a range, the newest first. ``part``: only this, for a page that has the rest."""
    template = "_timeline.html" if part else "timeline.html"
    told: dict[str, Any] = {"text": user, "begin": begin, "end": to, "problem": "", "found": None}
    try:
        found = _timeline(desk, user, begin, to)
    except ConfigError as error:
        if is_of_settings(error):
            raise
        problem = f"{error.field}: {error.problem}; {error.fix or error.allowed}"
        return page(request, template, session, status=200 if part else 400, **told | {"problem": problem})
    steps = found.steps[::-1]
    return page(
        request,
        template,
        session,
        **told | {"found": found},
        lines=[(each, fields(each)) for each in steps[(number - 1) * _PAGE : number * _PAGE]],
        outcomes=counted(steps),
        pending=sum(each.outcome is ChangeOutcome.PENDING for each in steps),
        number=number,
        pages=max(1, -(-len(steps) // _PAGE)),
    )


@router.get("/user/refresh")
def confirm(request: Request, desk: AtDesk, session: InSession, user: Text) -> Response:
    """Ask whether to refresh."""
    session.check_role()
    return page(request, "refresh.html", session, user=_user(desk, user))


@router.post("/user/refresh", dependencies=[InKafkaSlot])
def refresh(desk: AtDesk, session: InSession, form: OperatorsForm) -> Response:
    """Write the user from the database, and show the user again."""
    if wait_s := desk.refreshes.wait_s():
        raise TooMany(wait_s)
    user, publishes = _user(desk, form.get("user", "")), form.get("publish") == "yes"
    who = session.visitor.name
    _log.info("a refresh was asked for", action="console.refresh", who=who, user=str(user), publishes=publishes)
    data = desk.health.refresh(user.user_type, user.id, publishes=publishes)
    is_written = bool(data["refreshed_fields"])
    session.notice = (
        ("ok", f"{user} was written from the database.")
        if is_written
        else ("warning", f"Redis has a newer change of {user}: nothing was written.")
    )
    return RedirectResponse(f"{BASE}/user?user={user}", 303, HEADERS)


def _asked(desk: Desk, user: UserId) -> Asked:
    return Asked(desk.settings, desk.rules, desk.schemas, user)


def _user(desk: Desk, text: str) -> UserId:
    return user_of(text, "user", desk.rules)


def _wanted(desk: Desk, text: str) -> list[UserId]:
    """The user; of a number alone, one of each type.

    Raises:
        ConfigError: the text is no user.
    """
    if text.isdecimal():
        return [_user(desk, f"{table.user_type}:{text}") for table in desk.rules.tables]
    return [_user(desk, text)]


def _timeline(desk: Desk, user: str, begin: str, end: str) -> Timeline:
    window = Window(bound_of(begin or "1h", "from"), bound_of(end or "end", "to"))
    check_order(window.begin, window.end)
    asked, until = _asked(desk, _user(desk, user)), time.monotonic() + _LONGEST_S

    def check() -> None:
        if time.monotonic() > until:
            text = f"to read this range takes longer than {_LONGEST_S:.0f} s"
            raise ConfigError("range", text, fix="choose a shorter one")

    with slot(desk.timelines):
        return timeline(asked, window, ReadLimits(_MOST_RECORDS, _MOST_OF_USER, check))


def _has_anything(known: Explanation) -> bool:
    """Whether Redis has a key of the user; without a database nobody is known to be nobody."""
    stored = known.stored_user
    return stored.config is not None or stored.balance is not None or bool(stored.guard.versions)


def _keys(known: Explanation) -> Iterator[Key]:
    """What differs is the first of its key."""
    stored, values, names = known.stored_user, known.user_values, known.names
    config = sorted(values.config, key=lambda each: not each.is_wrong)
    yield Key("config hash", render(names.config, known.user), stored.config is not None, config)
    ttl = f"expires in {stored.ttl_s} s" if stored.ttl_s is not None else ""
    balance = [] if values.balance is None else [values.balance]
    yield Key("balance string", render(names.balance, known.user), stored.balance is not None, balance, ttl)
    portfolio = sorted(values.portfolio, key=lambda each: not each.is_wrong)
    yield Key("portfolio hash", render(names.portfolio, known.user), stored.portfolio is not None, portfolio)
