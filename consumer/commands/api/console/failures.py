"""The page for each exception. None contains a row, a server's address or a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse

from consumer.commands.api.access import Forbidden, Unauthorized
from consumer.commands.api.console.desk import TooMany, desk_of
from consumer.commands.api.console.form import NotAForm
from consumer.commands.api.console.page import BASE, HEADERS, page
from consumer.commands.api.console.session import LoggedOut, NotAllowed
from consumer.commands.api.health import Conflict, UnknownUser
from consumer.errors import ConfigError, RecordError, ServerError

_log = structlog.get_logger(__name__)


def said(request: Request, status: int, title: str, text: str, advice: str = "") -> Response:
    """A page that says what went wrong."""
    session = desk_of(request).sessions.of(request)
    return page(request, "error.html", session, status=status, title=title, text=text, advice=advice)


def _logged_out(request: Request, error: Exception) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{BASE}/login?{urlencode({'next': wanted})}", 303, HEADERS)
    return Response("log in first", 401, HEADERS, media_type="text/plain")


def _not_allowed(request: Request, error: Exception) -> Response:
    session = desk_of(request).sessions.of(request)
    who = session.visitor.name if session is not None else ""
    _log.warning("a request was refused", action="console.refused", who=who, method=request.method, error=str(error))
    return said(request, 403, "Not allowed", str(error))


def _too_many(request: Request, error: TooMany) -> Response:
    answer = said(request, 429, "Too many requests", f"Try again in {error.wait_s} s.")
    answer.headers["Retry-After"] = str(error.wait_s)
    return answer


def _not_a_form(request: Request, error: Exception) -> Response:
    return said(request, 400, "Not valid", str(error))


def _invalid(request: Request, error: RequestValidationError) -> Response:
    fields = sorted({str(each["loc"][-1]) for each in error.errors()})
    return said(request, 400, "Not valid", f"not valid: {', '.join(fields)}")


def _left(request: Request, error: Exception) -> Response:
    """The browser went away before it had sent its form; nobody reads the answer."""
    return Response(status_code=400)


def _http(request: Request, error: HTTPException) -> Response:
    answer = said(request, error.status_code, str(error.detail), "")
    answer.headers.update(error.headers or {})
    return answer


def is_of_settings(error: ConfigError) -> bool:
    """Whether a server refuses this program's settings; then what the visitor sent is not at fault."""
    return error.field.startswith("CDC_")


def _wrong(request: Request, error: ConfigError) -> Response:
    if is_of_settings(error):
        _log.warning("a server refuses the settings", action="console.unavailable", error=str(error))
        text = f"A server refuses {error.field}. The log has the reason under this request's id."
        return said(request, 503, "A server refuses this program's settings", text)
    return said(request, 400, "Not valid", f"{error.field}: {error.problem}", error.fix or error.allowed)


def _unavailable(request: Request, error: ServerError) -> Response:
    """The text of a client library may contain a server's address, so only the log has it."""
    _log.warning("a server can't answer", action="console.unavailable", error=str(error), advice=error.advice)
    text = error.cause or "The log has the reason under this request's id."
    return said(request, 503, f"{error.server} can't answer now", text, error.advice)


def _conflict(request: Request, error: Exception) -> Response:
    return said(request, 409, "This can't be done", str(error))


def _unknown(request: Request, error: UnknownUser) -> Response:
    text = "The user's keys were removed from Redis." if error.was_removed else ""
    return said(request, 404, "The database has no such user", text)


FAILURES: Mapping[type[Exception], Any] = {
    LoggedOut: _logged_out,
    Unauthorized: _logged_out,
    NotAllowed: _not_allowed,
    Forbidden: _not_allowed,
    TooMany: _too_many,
    NotAForm: _not_a_form,
    ClientDisconnect: _left,
    RequestValidationError: _invalid,
    HTTPException: _http,
    ConfigError: _wrong,
    ServerError: _unavailable,
    RecordError: _conflict,
    Conflict: _conflict,
    UnknownUser: _unknown,
}
