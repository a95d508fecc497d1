"""What requests are made of: the addresses of the API and the console, their fields, headers, and damage."""

from __future__ import annotations

from random import Random
from urllib.parse import quote

from tests.fuzz.damage import damaged_bytes
from tests.unit.commands.console.seen import EVIL

API = b"/api/redis-health/"
GETS: tuple[tuple[bytes, dict[str, str]], ...] = (
    (API + b"status", {}),
    (API + b"user/7/consistency", {"userType": "live", "details": "true"}),
    (API + b"cluster-info", {}),
    (b"/openapi.json", {}),
    (b"/console", {}),
    (b"/console/", {}),
    (b"/console/login", {"next": "/console/user"}),
    (b"/console/members", {"page": "2"}),
    (b"/console/events", {}),
    (b"/console/user", {"user": "live:7", "from": "1h", "to": "end"}),
    (b"/console/user/timeline", {"user": "live:7", "from": "1h", "to": "end", "page": "1", "part": "true"}),
    (b"/console/user/refresh", {"user": "live:7"}),
    (b"/console/letters", {"reason": "undecodable", "table": "live_users", "from": "1h", "page": "1"}),
    (b"/console/letters/one", {"place": "trading.trading.live_users[0]@1"}),
    (b"/console/letters/confirm", {"place": "trading.trading.live_users[0]@1", "action": "discard"}),
    (b"/console/check", {}),
    (b"/console/mapping", {}),
    (b"/console/static/console.css", {}),
)
POSTS: tuple[tuple[bytes, dict[str, str]], ...] = (
    (API + b"user/7/force-refresh", {"userType": "live", "publish": "true"}),
    (b"/console/login", {"token": "wrong", "next": "/console/letters?page=2"}),
    (b"/console/logout", {}),
    (b"/console/user/refresh", {"user": "live:7", "publish": "yes"}),
    (b"/console/letters/act", {"place": "trading.trading.live_users[0]@1", "action": "discard", "silent": "yes"}),
    (b"/console/mapping", {"mapping": 'extends = "reference"', "from": "1h", "to": "end"}),
)
WORDS = (
    *("", "0", "-1", "7", "9" * 18, "9" * 19, "9" * 5000, "१", "𝟙", "1e3", "live", "live:7", "live:0", "demo:9", "x:7"),
    *(EVIL, "\x00", "\n", "../../etc/passwd", "%", "end", "beginning", "2024-01-01", "9999999h", "1h", "-1h", "t[0]@1"),
    *("0001-01-01T00:00:00Z", "t[99999999999]@1", "//evil.invalid/", "/console/../x", "javascript:alert(1)", "\ud800"),
    *(
        "[",
        "[" * 3000,
        "a = " + "9" * 5000,
        'extends = "reference"\nbalance_ttl_s = 0',
        "é" * 41,
        "true",
        "2",
        "live:१",
    ),
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Accept", b"text/html"),
    (b"Accept", b"*/*"),
    (b"Accept", b"\xff"),
    (b"X-Request-ID", b"id-7"),
    (b"Host", b"["),
    (b"X-Request-ID", b"<script>"),
    (b"Origin", b"http://evil.invalid"),
    (b"Origin", b"http://["),
    (b"Origin", b"null"),
    (b"Sec-Fetch-Site", b"cross-site"),
    (b"X-Forwarded-Proto", b"https"),
    (b"Content-Type", b"application/json"),
    (b"Content-Type", b"multipart/form-data; boundary=x"),
    (b"Content-Length", b"-1"),
    (b"Host", b"127.0.0.1:8080"),
    (b"Authorization", b"Basic abc"),
    (b"Authorization", b"Bearer"),
    (b"Authorization", b"Bearer \xff"),
    (b"Range", b"x"),
    (b"If-Modified-Since", b"\xfe"),
    (b"Range", b"bytes=5-1,7-9"),
    (b"Host", b"a" * 300),
    (b"If-None-Match", b'"'),
)
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")


def damaged_path(path: bytes, chance: Random) -> bytes:
    """Another path, of the characters that a server for HTTP lets through."""
    if chance.random() < 0.4:
        parts = path.split(b"/")
        parts[chance.randrange(len(parts))] = quote(chance.choice(WORDS), errors="replace").encode()[:2000]
        path = b"/".join(parts)
    else:
        path = damaged_bytes(path, chance)
    return b"/" + only_ascii(path).replace(b"?", b"").replace(b"#", b"").removeprefix(b"/")


def only_ascii(data: bytes) -> bytes:
    """Only what a server for HTTP lets through in a path and a query."""
    return bytes(each for each in data if 32 < each < 127)


def some_headers(chance: Random) -> list[tuple[bytes, bytes]]:
    """None, or some that mean something here."""
    return [chance.choice(HEADERS) for _ in range(chance.choice([0, 0, 1, 1, 2, 4]))]


def chunks(body: bytes, chance: Random) -> list[bytes]:
    """The body in the parts in which it arrives."""
    if chance.random() < 0.02:
        return [b"mapping=" + b"x" * 300_000, b"x" * 300_000]
    at = chance.randrange(len(body) + 1)
    return chance.choice([[body], [body[:at], body[at:]], [body, b""], [b"", body]])
