"""Cookies and logins of the console: never a session that was not given out, and never one that has ended."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

from structlog.testing import capture_logs

from consumer.commands.api.access import Role
from consumer.commands.api.console.session import Sessions
from tests.fuzz.application import Answer, Application
from tests.fuzz.target import Broken, Plain
from tests.fuzz.targets.tokens import SECRET, any_jwt, public_key, token_of
from tests.unit.commands.console.desk import TOKEN, VIEWER, Built, built

_IDLE_S, _LONGEST_S = 1800.0, 12 * 3600.0
_FORM = (b"content-type", b"application/x-www-form-urlencoded")
_PLAIN = "cdc-console={0}"
# {0} is the id of a session.
_COOKIES = (
    *([_PLAIN] * 20),
    *("__Host-cdc-console={0}", "a=b; cdc-console={0}", "cdc-console=x; cdc-console={0}"),
    *(
        "cdc-console={0}; cdc-console=x",
        'cdc-console="{0}"',
        "cdc-console={0}x",
        "cdc-console=x{0}",
        "cdc-console= {0}",
    ),
    *(
        "cdc-console={0};",
        "CDC-CONSOLE={0}",
        "cdc-console=%7B0%7D{0}",
        "cdc-console",
        "cdc-console=",
        "=",
        ";;;",
        "{0}",
    ),
    *("cdc-console={0}\t", 'cdc-console="\\{0}"', "cdc-console=\xff", "cdc-console=" + "A" * 43, "cdc-console={0}{0}"),
    *("session={0}", "cdc-console[]={0}", "$Version=1; cdc-console={0}", "cdc-console={0}, cdc-console={0}", ""),
)


@dataclass
class _Known:
    """A session that was given out. ``seen``: a page of it surely came then. ``maybe_seen``: perhaps."""

    id: str
    role: Role
    began: float
    seen: float
    maybe_seen: float
    is_open: bool = True
    is_closed: bool = False

    def is_live(self, now: float) -> bool:
        """Whether it surely has not ended."""
        return self.is_open and now - self.seen < _IDLE_S and now - self.began < _LONGEST_S

    def may_live(self, now: float) -> bool:
        """Whether it has perhaps not ended."""
        return not self.is_closed and now - self.maybe_seen < _IDLE_S and now - self.began < _LONGEST_S


class Cookies:
    """Steps of a browser: logins with tokens of every kind, pages with cookies of every kind, logouts, waiting."""

    name = "cookies"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        pem = Path(self._folder.name) / "public.pem"
        pem.write_bytes(public_key())
        claims = {"audience": "cdc", "role": "operator", "viewer_role": "viewer"}
        self._parts: Built = built(None, jwt={"secret": SECRET, "public_key": str(pem), **claims})
        self._app = Application(self._parts.app)

    def make(self, chance: Random) -> Plain:
        """Some steps; the first one is mostly a login that works."""
        steps: list[dict[str, Any]] = [{"do": "login", "token": chance.choice([TOKEN, VIEWER])}]
        steps += [_step(chance) for _ in range(chance.randrange(1, 8))]
        return steps if chance.random() < 0.9 else steps[1:]

    def attempt(self, given: Plain) -> str:
        self._parts.desk.sessions.__init__(_IDLE_S, self._parts.clock)  # type: ignore[misc]  # those of the last input
        self._parts.clock.now = 1000.0
        known: list[_Known] = []
        done = set()
        with capture_logs() as lines:
            for step in given:
                done.add(self._do(step, known))
        if bug := next((each for each in lines if each.get("action") in ("api.failed", "console.failed")), None):
            raise Broken(f"a bug in the log {bug.get('error')} {bug.get('where')}: {bug}")
        ids = [each.id for each in known]
        if found := next((each for each in [*ids, TOKEN, VIEWER, SECRET] if each in repr(lines)), None):
            raise Broken(f"a log with a secret: {found}")
        return ", ".join(sorted(done))

    def close(self) -> None:
        self._app.close()
        self._folder.cleanup()

    def _do(self, step: dict[str, Any], known: list[_Known]) -> str:
        kind = step.get("do")
        if kind == "wait":
            self._parts.clock.now += step["seconds"]
            return "wait"
        cookie = _written(step.get("cookie", ""), step.get("of", 0), known)
        if kind == "login":
            return self._log_in(step.get("token", ""), cookie, step, known)
        if kind == "logout":
            return self._log_out(step, cookie, known)
        return self._visit(cookie, step, known)

    def _visit(self, cookie: str, step: dict[str, Any], known: list[_Known]) -> str:
        """Ask for a page that an operator may see, a viewer may not, and others are sent away from."""
        now, answer = self._parts.clock.now, self._call("GET", b"/console/user/refresh", cookie, step, b"user=live:7")
        role = {200: Role.OPERATOR, 403: Role.VIEWER}.get(answer.status)
        if role is None and answer.status not in (303, 401, 429):
            raise Broken(f"status {answer.status} for a cookie: {cookie!r}")
        meant = [each for each in known if each.id in cookie]
        allowed = [each for each in meant if each.role is role and each.may_live(now)]
        if role is not None and not allowed:
            raise Broken(f"a session that was not given out or has ended: {role} for {cookie!r}")
        is_plain = cookie in [_PLAIN.format(each.id) for each in meant] and not step.get("https")
        if is_plain and meant[0].is_live(now) and role is not meant[0].role:
            raise Broken(f"a session that has not ended is refused: {answer.status} for {cookie!r}")
        for each in meant:
            if role is not None and each.may_live(now):
                each.maybe_seen = now
                each.seen = now if is_plain else each.seen
        return f"visit {answer.status}"

    def _log_in(self, token: Any, cookie: str, step: dict[str, Any], known: list[_Known]) -> str:
        text, role = token_of(token)
        now = self._parts.clock.now
        answer = self._call("POST", b"/console/login", cookie, step, b"", urlencode({"token": text}).encode())
        given = [value for value in answer.cookies().values() if value]
        if not given:
            if role is not None and token in (TOKEN, VIEWER):
                raise Broken(f"a good token is refused: {answer.status}")
            if answer.status not in (400, 401, 403, 429):
                raise Broken(f"status {answer.status} for a token: {text[:300]!r}")
            return f"login {answer.status}"
        if role is None:
            raise Broken(f"a session for a wrong token: {text[:500]!r}")
        if any(each.id in given for each in known) or len(given[0]) != 43:
            raise Broken("a session's id that is given out again, or is short")
        for each in known:
            if each.id in cookie:  # a browser's old session ends
                each.is_open = False
        known.append(_Known(given[0], role, now, now, now))
        return "login"

    def _log_out(self, step: dict[str, Any], cookie: str, known: list[_Known]) -> str:
        at = step.get("csrf_of", 0)
        session = self._sessions.find(known[at].id, is_seen=False) if at < len(known) else None
        sent = session.csrf if session is not None else "x"
        answer = self._call("POST", b"/console/logout", cookie, step, b"", urlencode({"csrf": sent}).encode())
        meant = [each for each in known if each.id in cookie]
        if answer.status == 303 and not any(each is known[at] for each in meant):
            raise Broken("a session ended with the form of another one")
        for each in meant:
            each.maybe_seen = max(each.maybe_seen, self._parts.clock.now if each.may_live(self._parts.clock.now) else 0)
            if answer.status == 303 and each is known[at]:
                each.is_open, each.is_closed = False, True
        return f"logout {answer.status}"

    @property
    def _sessions(self) -> Sessions:
        return self._parts.desk.sessions

    def _call(
        self, method: str, path: bytes, cookie: str, step: dict[str, Any], query: bytes = b"", body: bytes = b""
    ) -> Answer:
        headers = [_FORM] if method == "POST" else []
        headers += [(b"cookie", cookie.encode("latin-1"))] if cookie else []
        headers += [(b"x-forwarded-proto", b"https")] if step.get("https") else []
        return self._app.call(method, path, query, headers, [body])


def _step(chance: Random) -> dict[str, Any]:
    kind = chance.random()
    found: dict[str, Any] = {"cookie": chance.choice(_COOKIES), "of": chance.choice([0, 0, 0, 0, 1, 2])}
    if chance.random() < 0.15:
        found["https"] = True
    if kind < 0.5:
        return {"do": "visit", **found}
    if kind < 0.6:
        return {"do": "wait", "seconds": chance.choice([1, 900, 1799, 1800, 1801, 43_200])}
    if kind < 0.75:
        return {"do": "logout", "csrf_of": chance.choice([0, 0, 0, 1, 2]), **found}
    token: Any = chance.choice([TOKEN, VIEWER, f" {TOKEN} ", TOKEN[:-1], TOKEN + "x", "", "\x00", "é", VIEWER.upper()])
    if chance.random() < 0.7:
        token = any_jwt(chance)
    cookie = {} if chance.random() < 0.6 else found
    return {"do": "login", "token": token, **cookie}


def _written(template: str, of: int, known: list[_Known]) -> str:
    return template.replace("{0}", known[of].id if of < len(known) else "B" * 43)
