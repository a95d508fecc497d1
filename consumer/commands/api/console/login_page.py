"""Log in with a token, and log out."""

from __future__ import annotations

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from consumer.commands.api.access import Forbidden, Unauthorized
from consumer.commands.api.console.desk import AtDesk, Form, InSession, TooMany
from consumer.commands.api.console.form import read_form
from consumer.commands.api.console.page import BASE, HEADERS, page
from consumer.commands.api.console.session import clear_cookie, id_of, set_cookie

_log = structlog.get_logger(__name__)
router = APIRouter()
_PAGE = re.compile(rf"{BASE}/[A-Za-z0-9/_.-]*(\?[A-Za-z0-9_.~%&=+:@\[\]-]*)?")


@router.get("/login")
def show(request: Request, desk: AtDesk, wanted: Annotated[str, Query(alias="next")] = "") -> Response:
    """The form; or the page that is wanted, if the visitor has logged in already."""
    if desk.sessions.of(request) is not None:
        return RedirectResponse(_allowed(wanted), 303, HEADERS)
    return page(request, "login.html", problem="", wanted=_allowed(wanted))


@router.post("/login")
async def log_in(request: Request, desk: AtDesk) -> Response:
    """Open a session. A session that the browser had before ends, so that its id can't be planted."""
    form = await read_form(request)
    refused = desk.refused_logins.of(request.client.host if request.client is not None else "")
    if wait_s := refused.ask_s():
        raise TooMany(wait_s)
    try:
        visitor = desk.access.visitor(form.get("token", "").strip())
    except (Unauthorized, Forbidden) as error:
        refused.wait_s()
        is_known = isinstance(error, Forbidden)
        _log.warning("a login was refused", action="console.login_refused", error=type(error).__name__)
        problem = "This token has no role here." if is_known else "This is not a valid token."
        status = 403 if is_known else 401
        return page(request, "login.html", status=status, problem=problem, wanted=_allowed(form.get("next", "")))
    desk.sessions.close(id_of(request))
    _log.info("logged in", action="console.login", who=visitor.name, role=str(visitor.role))
    response = RedirectResponse(_allowed(form.get("next", "")), 303, HEADERS)
    set_cookie(response, request, desk.sessions.open(visitor))
    return response


@router.post("/logout")
def log_out(request: Request, desk: AtDesk, session: InSession, form: Form) -> Response:
    """End the session."""
    desk.sessions.close(id_of(request))
    _log.info("logged out", action="console.logout", who=session.visitor.name)
    response = RedirectResponse(f"{BASE}/login", 303, HEADERS)
    clear_cookie(response, request)
    return response


def _allowed(wanted: str) -> str:
    """The page to open after the login: one of this console, else the overview."""
    return wanted if _PAGE.fullmatch(wanted) else f"{BASE}/"
