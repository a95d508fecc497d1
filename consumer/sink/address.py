"""The address of Redis in ``CDC_REDIS__URL``: one server, the nodes of a cluster, or the sentinels of a service.

``redis://user:password@host:port/db``, ``redis+cluster://user:password@host1:port,host2/`` and
``redis+sentinel://user:password@host1:port,host2/service/db``; ``rediss…`` for TLS. User and password are those of the
Redis servers, not of the sentinels. Options of the connections follow after a ``?``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_FORM = re.compile(r"(rediss?)\+(cluster|sentinel)://(?:([^@/?]*)@)?([^@/?]+)(/[^?]*)?(\?.*)?")
_OTHER_PATH = re.compile(r"rediss?://[^/?]*/(?![0-9]*/?(\?|$))")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+)(?::([0-9]{1,5}))?")


class Kind(StrEnum):
    """What the URL names."""

    ONE = "one server"
    CLUSTER = "a cluster"
    SENTINEL = "a service of sentinels"


_DEFAULT_PORTS = {Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. ``hosts``: nodes or sentinels. ``whole``: the URL if it is of one server, else ""."""

    kind: Kind
    whole: str = ""
    scheme: str = "redis"
    login: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    db: int = 0
    options: str = ""

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Parse a URL. Raises ValueError; its text quotes nothing of the URL, which may contain a password."""
        if not re.match(r"rediss?\+", url):
            if _OTHER_PATH.match(url):  # the client would use database 0, or another number
                raise ValueError("the database is no number")
            return cls(Kind.ONE, url)
        found = _FORM.fullmatch(url)
        if found is None:
            raise ValueError("not a URL of a cluster or of sentinels")
        scheme, form, login, hosts, path, options = found.groups()
        kind = Kind.CLUSTER if form == "cluster" else Kind.SENTINEL
        service, db = _service(kind, (path or "/")[1:])
        return cls(
            kind,
            scheme=scheme,
            login=login or "",
            hosts=tuple(_host(each, _DEFAULT_PORTS[kind]) for each in hosts.split(",")),
            service=service,
            db=db,
            options=options or "",
        )

    def of(self, host: str, port: int) -> str:
        """The URL of one node or one sentinel."""
        account = f"{self.login}@" if self.login else ""
        name = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{account}{name}:{port}/{self.db}{self.options}"


def _service(kind: Kind, path: str) -> tuple[str, int]:
    if kind is Kind.CLUSTER:
        if path not in ("", "0"):
            raise ValueError("a cluster has no databases")
        return "", 0
    service, slash, db = path.partition("/")
    if not service or not (db.isdecimal() if slash and db else not db):
        raise ValueError("the service's name is missing, or the database is no number")
    return service, int(db or 0)


def _host(text: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text.strip())
    if found is None or int(found[2] or 1) > 65535:
        raise ValueError("should be host or host:port, comma separated")
    return found[1].strip("[]"), int(found[2] or default_port)
