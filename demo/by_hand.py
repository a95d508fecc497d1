"""Commands for a person who wants to change rows and watch Redis, with the addresses of the running servers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TRY = "UPDATE live_users SET wallet_balance = wallet_balance + 1 WHERE id = 7"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers are. ``password`` is that of an account made up for this run."""

    host: str
    mysql_port: int
    user: str
    password: str
    database: str
    redis_port: int
    metrics_port: int


def commands(at: Addresses, channels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What it does, and the line to type."""
    python = os.path.relpath(sys.executable)
    if client := shutil.which("mysql"):
        login = ["-h", at.host, "-P", str(at.mysql_port), "-u", at.user, f"-p{at.password}", at.database]
        yield "change a row", shlex.join([Path(client).name, *login, "-e", _TRY])
    else:
        url = f"mysql://{at.user}:{at.password}@{at.host}:{at.mysql_port}/{at.database}"
        yield "change a row", shlex.join([python, "-m", "demo.sql", url, _TRY])
    if shutil.which("redis-cli"):
        redis = ["redis-cli", "-p", str(at.redis_port)]
        yield "read the user", shlex.join([*redis, "HGETALL", "user:{live:7}:config"])
        yield "hear messages", shlex.join([*redis, "SUBSCRIBE", *channels])
    else:
        client = f"import redis; r = redis.Redis(port={at.redis_port}, decode_responses=True)"
        yield "read the user", shlex.join([python, "-c", f"{client}; print(r.hgetall('user:{{live:7}}:config'))"])
        listen = f"{client}; p = r.pubsub(); p.subscribe(*{list(channels)!r}); [print(m) for m in p.listen()]"
        yield "hear messages", shlex.join([python, "-c", listen])
    yield "see metrics", f"curl http://{at.host}:{at.metrics_port}/metrics"
