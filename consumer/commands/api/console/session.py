"""Who has logged in to the console. A session is in the memory of this process; the browser has its random id."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from consumer.commands.api.access import Role, Visitor
from consumer.commands.api.limit import Limit

_LONGEST_S = 12 * 3600
_MOST_SESSIONS = 500
_MOST_OF_VISITOR = 20
"""So that one visitor, or all who share a token, can't end the sessions of others by logging in."""
_PAGES_PER_MINUTE = 120
_COOKIE = "cdc-console"
# A browser accepts this prefix only with Secure, without a domain, and for the whole host.
_SECURE_COOKIE = f"__Host-{_COOKIE}"


class LoggedOut(Exception):
    """There is no session, or it has ended."""


class NotAllowed(Exception):
    """The session's role may not do this, or the request did not come from a page of this session."""


@dataclass(slots=True)
class Session:
    """A visitor from log in to log out. ``csrf``: what each form of the session must send.

    ``notice``: what the next page says first. ``began``, ``seen``: by the clock of :class:`Sessions`.
    """

    visitor: Visitor
    began: float
    seen: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    notice: tuple[str, str] | None = None
    pages: Limit = field(default_factory=lambda: Limit(_PAGES_PER_MINUTE))
    streams: int = 0

    @property
    def may_act(self) -> bool:
        """Whether the visitor may change anything."""
        return self.visitor.role is Role.OPERATOR

    def check_form(self, sent: str) -> None:
        """Return if a form with this token is one of this session.

        Raises:
            NotAllowed: it is not.
        """
        if not hmac.compare_digest(sent.encode(), self.csrf.encode()):
            raise NotAllowed("the form is not of this session: open the page again")

    def check_role(self) -> None:
        """Return if the visitor may change anything.

        Raises:
            NotAllowed: a viewer.
        """
        if not self.may_act:
            raise NotAllowed("a viewer may look, and not change anything")

    def take_notice(self) -> tuple[str, str] | None:
        """The notice, once."""
        found, self.notice = self.notice, None
        return found


class Sessions:
    """All sessions. One ends ``idle_s`` seconds after its last page, 12 hours after it began, or with its JWT.

    ``streams``: how many live updates they have together.
    """

    def __init__(
        self, idle_s: float, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._idle_s = idle_s
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        # By a hash of the id: the look-up of a wrong id takes the same time whatever it is.
        self._by_hash: OrderedDict[bytes, Session] = OrderedDict()
        self.streams = 0

    def open(self, visitor: Visitor) -> str:
        """A new session; answers its id."""
        name, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            own = [key for key, each in self._by_hash.items() if each.visitor.name == visitor.name]
            if len(own) >= _MOST_OF_VISITOR:
                del self._by_hash[own[0]]
            self._by_hash[_hash(name)] = Session(visitor, now, now)
            if len(self._by_hash) > _MOST_SESSIONS:
                self._by_hash.popitem(last=False)
        return name

    def find(self, name: str, *, is_seen: bool = True) -> Session | None:
        """The session of this id, if it has not ended. ``is_seen``: the visitor opened a page, so it lasts longer."""
        key, now = _hash(name), self._clock()
        with self._lock:
            found = self._by_hash.get(key)
            if found is None:
                return None
            if self._has_ended(found, now):
                del self._by_hash[key]
                return None
            if is_seen:
                found.seen = now
                self._by_hash.move_to_end(key)
            return found

    def of(self, request: Request) -> Session | None:
        """The session of a request; the request does not make it last longer."""
        return self.find(id_of(request), is_seen=False)

    def close(self, name: str) -> None:
        """End the session."""
        with self._lock:
            self._by_hash.pop(_hash(name), None)

    def _has_ended(self, session: Session, now: float) -> bool:
        until_s = session.visitor.until_s
        return (
            now - session.seen >= self._idle_s
            or now - session.began >= _LONGEST_S
            or (until_s is not None and self._now() >= until_s)
        )


def is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, with this process or with a proxy before it.

    Anybody may send the header; then the browser keeps the cookie for TLS only, which opens nothing.
    """
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


def id_of(request: Request) -> str:
    """The id of the session that the browser sent, or ""."""
    return request.cookies.get(_SECURE_COOKIE if is_secure(request) else _COOKIE, "")


def set_cookie(response: Response, request: Request, name: str) -> None:
    """Give the id to the browser. It ends with the browser; the session itself may end earlier."""
    secure = is_secure(request)
    response.set_cookie(
        _SECURE_COOKIE if secure else _COOKIE, name, path="/", secure=secure, httponly=True, samesite="strict"
    )


def clear_cookie(response: Response, request: Request) -> None:
    """Take the id from the browser."""
    secure = is_secure(request)
    response.delete_cookie(
        _SECURE_COOKIE if secure else _COOKIE, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _hash(name: str) -> bytes:
    return sha256(name.encode()).digest()
