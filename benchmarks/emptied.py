"""Seconds until Redis is whole again after FLUSHALL: ``python -m benchmarks.emptied [--users 100000] [--members 1]``.

Members of one group follow a topic of so many users, with ``CDC_REDIS__WHEN_EMPTIED=rebuild``. Redis is emptied, and
watched: when the first log line tells of it, when ``/readyz`` does, and when every user is as before. Messages are
counted: there must be none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import redis

from benchmarks.envelopes import TABLE, changes
from benchmarks.system import System, end, started
from tests.support.stack.port import Ports

_PATIENCE_S = 1800.0


def main() -> int:
    """Print one line for each step; answers 1 if a user differs or a message went out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emptied", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=3, help="of each user, on average")
    parser.add_argument("--members", type=int, default=1)
    options = parser.parse_args()
    with started() as system:
        records = options.users * options.changes
        prefix = system.backlog(changes(records, options.users, 12), partitions=12)
        print(f"{records:,} changes of {options.users:,} users lie in 12 partitions", flush=True)
        return measured(system, prefix, options.users, records, options.members)


def measured(system: System, prefix: str, users: int, records: int, members: int) -> int:
    """The run itself."""
    client = system.redis
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")} | {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": system.stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": prefix,
        "CDC_REDIS__URL": system.stack.redis.url,
        "CDC_REDIS__WHEN_EMPTIED": "rebuild",
        "CDC_LOG__FORMAT": "json",
    }
    command = [str(Path(sys.executable).with_name("cdc-consumer")), "run"]
    with ExitStack() as exits:
        logs, ports = [], [Ports().take(f"metrics {number}") for number in range(members)]
        for port in ports:
            log = Path(exits.enter_context(tempfile.NamedTemporaryFile()).name)
            logs.append(log)
            with log.open("ab") as out:
                process = subprocess.Popen(command, env=environment | {"CDC_METRICS__PORT": str(port)}, stderr=out)
            exits.callback(end, process)
        until("followed", lambda: offsets(client) == records and all(ready(port) == "ok" for port in ports))
        before, sent = stored(client, users), published(client)
        began = time.monotonic()
        client.flushall()
        until("the first log line", lambda: any("redis.emptied" in log.read_text() for log in logs), began)
        until("/readyz", lambda: any(ready(port).startswith("Redis was emptied") for port in ports), began)
        until("ready again", lambda: all(ready(port) == "ok" for port in ports), began)
        differ = sum(one != other for one, other in zip(before, stored(client, users), strict=True))
        told = published(client) - sent
    print(f"{users:,} users, {differ} of them differ; {told} messages")
    return int(bool(differ or told))


def until(what: str, holds: Callable[[], bool], began: float | None = None) -> None:
    """Wait, and print how long that took."""
    since = time.monotonic() if began is None else began
    while not holds():
        if time.monotonic() - since > _PATIENCE_S:
            raise SystemExit(f"{what}: not within {_PATIENCE_S:g} s")
        time.sleep(0.02)
    print(f"{time.monotonic() - since:8.2f} s  {what}", flush=True)


def offsets(client: redis.Redis) -> int:
    """How many records are done, by what Redis remembers."""
    return sum(int(offset) for offset in client.hvals("cdc:offsets:cdc-consumer"))


def stored(client: redis.Redis, users: int) -> list[object]:
    """The hash, the balance and the version of every user."""
    found: list[object] = []
    for first in range(0, users, 1000):
        pipeline = client.pipeline(transaction=False)
        for user in range(first + 1, min(first + 1000, users) + 1):
            pipeline.hgetall(f"user:{{live:{user}}}:config")
            pipeline.get(f"user_balance:live:{user}")
            pipeline.hget(f"cdc:{{live:{user}}}", TABLE)
        found += pipeline.execute()
    return found


def published(client: redis.Redis) -> int:
    """How often Redis has carried out PUBLISH, in scripts too."""
    return int(client.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"])


def ready(port: int) -> str:
    """What ``/readyz`` says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as error:
        return error.read().decode().strip()
    except (urllib.error.URLError, ConnectionError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
