"""Debezium Server with its Redis sink: a peer for the plain transport of row changes.

It reads the database and not Kafka, and appends each change to a stream as it is: nothing is decided, guarded, cleared
or published. So its number says what moving such envelopes costs in one Java process, with the reading of the binlog.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.meter import CONSUMER, REDIS, Meter, NotDone, Rate, calls, emptied
from benchmarks.system import System, end
from tests.support.stack import StackError
from tests.support.stack.archive import unpack_tar
from tests.support.stack.cache import Cache
from tests.support.stack.child import Children
from tests.support.stack.java import properties
from tests.support.stack.maven import Maven
from tests.support.stack.mysql import MySql
from tests.support.stack.port import Ports

VERSION = "3.6.1.Final"
_ARTIFACT = f"io.debezium:debezium-server-dist:{VERSION}:tar.gz"
_OLDEST_JAVA = 21
_USERS = 2500
_START_S = 90.0


class Unavailable(Exception):
    """It can't be had or run on this machine; the text says why."""


def java() -> str:
    """A Java that is new enough.

    Raises:
        Unavailable: there is none.

    """
    homes = [*filter(None, [os.environ.get("JAVA_HOME")]), *map(str, sorted(Path("/usr/lib/jvm").glob("*")))]
    found = [Path(home, "bin", "java") for home in homes] + [Path(path) for path in [shutil.which("java")] if path]
    for each in found:
        if each.exists() and _version(each) >= _OLDEST_JAVA:
            return str(each)
    raise Unavailable(f"Debezium Server needs Java {_OLDEST_JAVA} or later")


def _version(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    number = said.partition('"')[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


def installed(logs: Path) -> Path:
    """Its folder, downloaded once into the cache of the stack: 780 MB.

    Raises:
        Unavailable: it can't be downloaded.

    """
    cache, children = Cache(), Children()

    def fill(into: Path) -> None:
        print(f"downloading Debezium Server {VERSION} ...", flush=True)
        unpack_tar(Maven(cache, children, logs).archive(_ARTIFACT, into), into)

    try:
        return cache.entry(f"debezium-server-{VERSION}", fill) / "debezium-server"
    except StackError as error:
        raise Unavailable(f"Debezium Server can't be downloaded: {error}") from None
    finally:
        children.close()


def measure(system: System, count: int) -> Rate:
    """Over ``count`` changes that lie in the binlog when it starts.

    Raises:
        Unavailable: it can't be had or run here.
        NotDone: it came to no end.

    """
    with tempfile.TemporaryDirectory(prefix="cdc-") as name:
        folder, binary = Path(name), java()
        home, mysql = installed(folder), system.stack.mysql
        _configure(folder, system, mysql)
        with mysql.connect() as connection, connection.cursor() as cursor:
            _insert(cursor)
            emptied(system.redis)
            with _running(folder, home, binary):
                _follows(system, cursor)
            emptied(system.redis)
            for _ in range(count // _USERS):
                cursor.execute("UPDATE trading.live_users SET wallet_balance = wallet_balance + 1")
        with _running(folder, home, binary) as process:
            pids = {CONSUMER: [process.pid], REDIS: system.servers[REDIS]}
            meter = Meter(pids, lambda: calls(system.redis, "xadd"), lambda: process.poll() is None)
            whole = count // _USERS * _USERS
            return meter.rate(whole // 3, whole)


def _insert(cursor: object) -> None:
    rows = [(user, "f288cc9194638234bc812bbc5bb003c8", "b1ae768187fb7f26437a357653e6c0e0") for user in range(1, _USERS)]
    cursor.executemany(  # type: ignore[attr-defined]
        "INSERT INTO trading.live_users (id, name, email, password) VALUES (%s, %s, %s, '')",
        [*rows, (_USERS, "n", "e")],
    )


def _follows(system: System, cursor: object) -> None:
    """Wait until it streams: a change that is made now arrives, and its place in the binlog is kept."""
    deadline = time.monotonic() + _START_S
    while not calls(system.redis, "xadd"):
        if time.monotonic() > deadline:
            raise NotDone("Debezium Server did not begin to follow")
        cursor.execute("UPDATE trading.live_users SET margin = margin + 1 WHERE id = 1")  # type: ignore[attr-defined]
        time.sleep(1.0)


def _configure(folder: Path, system: System, mysql: MySql) -> None:
    login = mysql.logins.debezium
    source = {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "0",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(folder / "history"),
        "database.hostname": mysql.host,
        "database.port": str(mysql.port),
        "database.user": login.user,
        "database.password": login.password,
        "database.server.id": str(10_000 + secrets.randbelow(2_000_000_000)),
        "topic.prefix": "bench",
        "table.include.list": "trading.live_users",
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "snapshot.mode": "no_data",
        "poll.interval.ms": "10",
    }
    settings = {
        "debezium.sink.type": "redis",
        "debezium.sink.redis.address": system.stack.redis.address,
        "debezium.format.schemas.enable": "false",
        "quarkus.http.port": str(Ports().take("debezium-server")),
        **{f"debezium.source.{name}": value for name, value in source.items()},
    }
    (folder / "config").mkdir()
    properties(folder / "config" / "application.properties", settings)


@contextmanager
def _running(folder: Path, home: Path, binary: str) -> Iterator[subprocess.Popen[bytes]]:
    (runner,) = home.glob("debezium-server-*runner.jar")
    classes = ":".join(map(str, (runner, home / "config" / "lib", home / "lib" / "*")))
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(
            [binary, "-Xmx512m", "-cp", classes, "io.debezium.server.Main"], cwd=folder, stdout=log, stderr=log
        )
        try:
            yield process
        except NotDone as error:
            log.seek(0)
            said = log.read()[-2000:].decode(errors="replace")
            raise NotDone(f"Debezium Server: {error}\n{said}") from None
        finally:
            end(process)
