"""The overview, and the events that keep it up to date in the browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from consumer.commands.api.console.desk import AtDesk, Desk, InSession, Onlooker, TooMany
from consumer.commands.api.console.overview import LOOK_S
from consumer.commands.api.console.page import HEADERS, page, rendered
from consumer.commands.api.console.session import Session, Sessions, id_of

router = APIRouter()
_STREAMS = 6
_EVERY_STREAM = 200
_MEMBERS = 50
_STOP_LOOK_S = 0.5


@router.get("/")
def overview(request: Request, desk: AtDesk, session: InSession) -> Response:
    """The picture of the flow, charts, members, the last audit."""
    return page(request, "overview.html", session, **_told(desk))


@router.get("/members")
def members(
    request: Request, desk: AtDesk, session: InSession, number: Annotated[int, Query(alias="page", ge=1)] = 1
) -> Response:
    """Those that the overview has no room for."""
    told = _told(desk)
    every = told["seen"].members
    shown = every[(number - 1) * _MEMBERS : number * _MEMBERS]
    pages = max(1, -(-len(every) // _MEMBERS))
    return page(request, "members.html", session, shown=shown, count=len(every), number=number, pages=pages, **told)


@router.get("/events")
async def events(request: Request, desk: AtDesk, session: Onlooker) -> Response:
    """The overview again and again, until the session ends. These events do not make it last longer."""
    if session.streams >= _STREAMS or desk.sessions.streams >= _EVERY_STREAM:
        raise TooMany(int(LOOK_S))
    return _Events(desk, session, id_of(request))


class _Events(StreamingResponse):
    """The events of one open page. It counts from here on, and not from its first event."""

    def __init__(self, desk: Desk, session: Session, name: str) -> None:
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        super().__init__(_stream(desk, name), 200, headers, media_type="text/event-stream")
        self._counts: tuple[Session, Sessions] = (session, desk.sessions)
        for each in self._counts:
            each.streams += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also if the browser has left before the first event
            for each in self._counts:
                each.streams -= 1


async def _stream(desk: Desk, name: str) -> AsyncIterator[str]:
    last = ""
    while not desk.stop():
        if desk.sessions.find(name, is_seen=False) is None:
            yield "event: ended\ndata: {}\n\n"
            return
        html = await run_in_threadpool(lambda: rendered("_overview.html", **_told(desk)))
        # An unchanged page is not sent again, but a line that says that the connection lives.
        yield ": alive\n\n" if html == last else f"event: overview\ndata: {json.dumps({'html': html})}\n\n"
        last = html
        for _ in range(int(LOOK_S / _STOP_LOOK_S)):
            if desk.stop():
                return
            await asyncio.sleep(_STOP_LOOK_S)


def _told(desk: Desk) -> dict[str, Any]:
    kafka, seen = desk.settings.kafka, desk.overview.look()
    return {"seen": seen, "group": kafka.group_id, "prefix": kafka.topic_prefix, "most_members": _MEMBERS}
