"""The HTTP layer of the health API: paths, checks, envelopes, headers. OpenAPI describes every answer."""

# No postponed evaluation of annotations: the parameters' types depend on the mapping.
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from consumer import __version__
from consumer.commands.api.access import Access, Forbidden, Unauthorized
from consumer.commands.api.contract import ClusterInfo, Consistency, Envelope, Failure, Refresh, Status
from consumer.commands.api.health import Conflict, Health, UnknownUser
from consumer.commands.api.limit import Limit
from consumer.errors import CdcError, ConfigError, RecordError, ServerError
from consumer.observability import log

_log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Money is written with all its digits.
_encoder = msgspec.json.Encoder(decimal_format="number")
_ALWAYS = {
    401: "no token, or a wrong token",
    403: "a JWT without the role",
    500: "a bug in this program",
}
_OF_USER = {
    400: "userType or userId is not valid",
    404: "the database has no such user",
    409: "the row, or the user's keys in Redis, can't be used: the message says why",
    503: "the database or Redis can't answer now",
}


def application(health: Health, access: Access, limit: Limit, console: FastAPI | None = None) -> FastAPI:
    """The whole API. Its calls block, so each runs in a thread of the server's pool.

    ``limit``: of refreshes. ``console``: is served below ``/console``.
    """
    app = FastAPI(
        title="cdc-consumer health API",
        version=__version__,
        docs_url=None,
        # A redirect would be an answer without an envelope.
        redirect_slashes=False,
        redoc_url=None,
        description="Whether Redis agrees with the database, for each user, and a call that corrects Redis.",
    )
    bearer = HTTPBearer(auto_error=False, description="CDC_API__TOKEN, or a JWT")
    types = health.user_types
    default_type = "live" if "live" in types else types[0]

    def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        access.check(credentials.credentials if credentials is not None else None)

    UserType = Annotated[  # noqa: N806  # a type
        str, Query(alias="userType", pattern=f"^({'|'.join(types)})$", json_schema_extra={"enum": list(types)})
    ]
    Id = Annotated[str, Path(alias="userId", pattern="^[1-9][0-9]{0,17}$", description="a positive integer")]  # noqa: N806
    common: dict[str, Any] = {"dependencies": [Depends(caller)]}

    @app.get("/api/redis-health/status", responses=_described(Status, {503: "unhealthy"}, Envelope[Status]), **common)
    def status() -> Response:
        """Whether Redis answers, and whether a write, a read and a delete work."""
        data = health.status()
        is_healthy = data["status"] == "healthy"
        return _answer(200 if is_healthy else 503, f"Redis is {data['status']}", data, success=is_healthy)

    @app.get("/api/redis-health/user/{userId}/consistency", responses=_described(Consistency, _OF_USER), **common)
    def consistency(user_id: Id, user_type: UserType = default_type, details: bool = False) -> Response:
        """The values of a user in the database and in Redis. ``details``: every difference, key by key."""
        data = health.consistency(user_type, int(user_id))
        if not details:
            del data["differences"]
        message = "Redis agrees with the database" if data["is_consistent"] else "Redis differs from the database"
        return _answer(200, message, data)

    @app.post(
        "/api/redis-health/user/{userId}/force-refresh",
        responses=_described(Refresh, {**_OF_USER, 429: "too many refreshes: try again after Retry-After seconds"}),
        **common,
    )
    def force_refresh(user_id: Id, user_type: UserType = default_type, publish: bool = False) -> Response:
        """Write the database's row of a user to Redis. ``publish``: publish a message, if that changed anything."""
        if wait_s := limit.wait_s():
            return _failed(429, "too many refreshes", {"Retry-After": str(wait_s)})
        data = health.refresh(user_type, int(user_id), publishes=publish)
        message = "refreshed" if data["refreshed_fields"] else "Redis has a newer change: nothing was written"
        return _answer(200, message, data)

    @app.get("/api/redis-health/cluster-info", responses=_described(ClusterInfo, {503: _OF_USER[503]}), **common)
    def cluster_info() -> Response:
        """The number of keys on each node; for large nodes an estimate."""
        return _answer(200, "counted", health.cluster_info())

    if console is not None:
        app.mount("/console", console)
        # A person types the address without the last slash.
        app.add_api_route("/console", _to_console, include_in_schema=False)
    _add_failures(app)
    app.middleware("http")(_log_request)
    return app


def _to_console() -> Response:
    return RedirectResponse("/console/", 303)


def _described(data: type, failures: dict[int, str], failed: type = Failure) -> dict[int | str, dict[str, Any]]:
    """The answers of one call, for OpenAPI; ``failed``: the envelope of the call's own failures."""
    described: dict[int | str, dict[str, Any]] = {200: {"model": Envelope[data], "description": "answered"}}  # type: ignore[valid-type]
    for model, codes in ((Failure, _ALWAYS), (failed, failures)):
        described |= {code: {"model": model, "description": text} for code, text in codes.items()}
    return described


def _answer(
    code: int, message: str, data: dict[str, object], *, success: bool = True, headers: dict[str, str] | None = None
) -> Response:
    content = _encoder.encode({"success": success, "message": message, "data": data})
    return Response(content, code, headers, media_type="application/json")


def _failed(code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _answer(code, message, {}, success=False, headers=headers)


def _add_failures(app: FastAPI) -> None:
    """Register the answer for each exception. No answer contains the request's values, a row, or an address."""

    def unauthorized(_: Request, error: Exception) -> Response:
        return _failed(401, "no valid bearer token", {"WWW-Authenticate": "Bearer"})

    def forbidden(_: Request, error: Exception) -> Response:
        return _failed(403, "the token does not contain the role")

    def invalid(_: Request, error: RequestValidationError) -> Response:
        fields = sorted({str(each["loc"][-1]) for each in error.errors()})
        return _failed(400, f"not valid: {', '.join(fields)}")

    def unknown(_: Request, error: UnknownUser) -> Response:
        return _failed(404, "no such user" + ("; the user's keys were removed from Redis" if error.was_removed else ""))

    def http(_: Request, error: HTTPException) -> Response:
        return _failed(error.status_code, str(error.detail), dict(error.headers or {}))

    def unavailable(_: Request, error: CdcError) -> Response:
        _log.warning("a server can't answer", action="api.unavailable", error=str(error), advice=error.advice)
        # The text of a client library may contain a server's address.
        cause = getattr(error, "cause", "")
        return _failed(503, f"{error.server}: {cause}" if isinstance(error, ServerError) and cause else str(error))

    def conflict(_: Request, error: Exception) -> Response:
        _log.warning("a user can't be compared or refreshed", action="api.conflict", error=str(error))
        return _failed(409, str(error))

    answers: dict[type[Exception], Any] = {
        Unauthorized: unauthorized,
        Forbidden: forbidden,
        RequestValidationError: invalid,
        UnknownUser: unknown,
        HTTPException: http,
        ServerError: unavailable,
        ConfigError: unavailable,
        RecordError: conflict,
        Conflict: conflict,
    }
    for kind, answer in answers.items():
        app.add_exception_handler(kind, answer)


async def _log_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give the request an id, set the answer's headers, and log one line."""
    given = request.headers.get("x-request-id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    began = time.monotonic()
    with structlog.contextvars.bound_contextvars(request=request_id):
        try:
            response = await call_next(request)
        except Exception as error:  # its text may contain anything
            _log.error("a bug in this program", action="api.failed", **log.bug_of(error))
            response = _failed(500, "a bug in this program; the log has its place under this request's id")
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)  # the console has its own
        response.headers["X-Request-ID"] = request_id
        route = request.scope.get("route")
        _log.info(
            "answered",
            action="api.answered",
            method=request.method,
            path=request.scope.get("root_path", "") + getattr(route, "path", ""),
            status=response.status_code,
            ms=round((time.monotonic() - began) * 1000),
        )
    return response
