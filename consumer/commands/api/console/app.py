"""The console as an application of its own, below ``/console``: its pages, files and headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from consumer.commands.api.console import (
    check_page,
    letters_page,
    login_page,
    mapping_page,
    overview_page,
    user_page,
)
from consumer.commands.api.console.desk import Desk
from consumer.commands.api.console.failures import FAILURES, said
from consumer.commands.api.console.page import BASE, HEADERS
from consumer.observability import log

_log = structlog.get_logger(__name__)
_STATIC_HEADERS = {**HEADERS, "Cache-Control": "max-age=300"}


def console(desk: Desk) -> FastAPI:
    """All pages. Those that ask servers block, so each runs in a thread of the server's pool."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.desk = desk
    for each in (login_page, overview_page, user_page, letters_page, check_page, mapping_page):
        app.include_router(each.router)
    app.mount("/static", StaticFiles(packages=[("consumer.commands.api.console", "static")]))
    for kind, answer in FAILURES.items():
        app.add_exception_handler(kind, answer)
    app.middleware("http")(_secured)
    return app


async def _secured(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Set the headers of every answer, also of files, and answer a bug with a page."""
    try:
        response = await call_next(request)
    except Exception as error:  # its text may contain anything
        _log.error("a bug in this program", action="console.failed", **log.bug_of(error))
        response = said(request, 500, "This is a bug in this program", "The log has its place under this request's id.")
    is_file = request.url.path.startswith(f"{BASE}/static/") and response.status_code == 200
    response.headers.update(_STATIC_HEADERS if is_file else HEADERS)
    return response
