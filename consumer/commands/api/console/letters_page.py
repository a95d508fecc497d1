"""Dead letters: the list, one of them, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from consumer.commands.api.console.desk import AtDesk, InKafkaSlot, InSession, OperatorsForm
from consumer.commands.api.console.letters import Action, place_of
from consumer.commands.api.console.page import BASE, HEADERS, page
from consumer.commands.shared.dead_letters.redacted import visible
from consumer.commands.shared.options import time_of
from consumer.pipeline.letter_state import Choice

_log = structlog.get_logger(__name__)
router = APIRouter(dependencies=[InKafkaSlot])
_PAGE = 50

Text = Annotated[str, Query(max_length=300)]
Number = Annotated[int, Query(alias="page", ge=1)]
From = Annotated[str, Query(alias="from", max_length=40)]


@router.get("/letters")
def letters(
    request: Request,
    desk: AtDesk,
    session: InSession,
    reason: Text = "",
    table: Text = "",
    begin: From = "",
    number: Number = 1,
) -> Response:
    """Open dead letters by reason, table and time, the newest first."""
    states = desk.letters.states()
    every = states.open()
    choice = Choice(
        reasons=frozenset({reason} - {""}), tables=frozenset({table} - {""}), since_ms=time_of(begin or None, "from")
    )
    chosen = sorted(choice.of(every), key=lambda each: each.last.written_ms, reverse=True)
    return page(
        request,
        "letters.html",
        session,
        shown=chosen[(number - 1) * _PAGE : number * _PAGE],
        count=len(chosen),
        every=len(every),
        reasons=Counter(each.last.reason for each in every),
        tables=Counter(name for each in every for name in each.last.tables),
        reason=reason,
        table=table,
        begin=begin,
        number=number,
        pages=max(1, -(-len(chosen) // _PAGE)),
        query=urlencode({"reason": reason, "table": table, "from": begin}),
        topic=desk.settings.dead_letter_topic,
        has_topic=states.has_topic,
    )


@router.get("/letters/one")
def one(request: Request, desk: AtDesk, session: InSession, place: Text) -> Response:
    """One letter, decoded; values of columns that the mapping does not use are hidden."""
    found = desk.letters.one(place_of(place))
    record = visible(found.record, found.last.tables, desk.rules, desk.schemas)
    return page(request, "letter.html", session, found=found, record=record)


@router.get("/letters/confirm")
def confirm(request: Request, desk: AtDesk, session: InSession, place: Text, action: Text) -> Response:
    """Say what would happen, and ask whether to do it."""
    session.check_role()
    wanted = Action.from_text(action)
    expected = desk.letters.expect(place_of(place), wanted)
    return page(request, "act.html", session, expected=expected, action=wanted, is_replay=wanted is Action.REPLAY)


@router.post("/letters/act")
def act(desk: AtDesk, session: InSession, form: OperatorsForm) -> Response:
    """Apply the record again, or discard it."""
    place, action = place_of(form.get("place", "")), Action.from_text(form.get("action", ""))
    who = session.visitor.name
    _log.info("an action was asked for", action="console.letter", who=who, what=str(action), place=str(place))
    result = desk.letters.act(place, action, is_silent=form.get("silent") == "yes")
    _log.info("an action ended", action="console.letter_done", who=who, place=str(place), outcome=str(result.outcome))
    why = f": {result.why}" if result.why else ""
    session.notice = ("ok" if result.is_done else "failure", f"{result.unapplied.place}: {result.outcome}{why}")
    query = urlencode({"place": str(place)})
    return RedirectResponse(f"{BASE}/letters" if result.is_done else f"{BASE}/letters/one?{query}", 303, HEADERS)
