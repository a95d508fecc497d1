"""The same servers as containers, where a Docker engine answers.

It takes the simple way, host networking on Linux, so that every server listens on the loopback address and port
that the native stack would use, with the same settings. docs/containers.md says where it was run, and on which images.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.stack import connect, java, kafka, mysql, redis
from tests.support.stack.connect import Connect
from tests.support.stack.errors import StackError
from tests.support.stack.images import IMAGES
from tests.support.stack.kafka import Kafka
from tests.support.stack.login import Login
from tests.support.stack.mysql import MySql
from tests.support.stack.native import Place
from tests.support.stack.redis import Redis
from tests.support.stack.server import Server

DATABASES = ("mysql",)
INSIDE = "/opt/cdc"
"""Where mounted files lie: below their own folders here, such as root's home, the container's user can't read them."""


def answers() -> bool:
    """Whether a Docker engine does."""
    import docker  # type: ignore[import-untyped]
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        client = docker.from_env(timeout=5)
        client.ping()
        client.close()
    except DockerException:
        refused = True
    else:
        refused = False
    with warnings.catch_warnings():  # the client leaves the socket open where nobody listens
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return not refused


class Container:
    """A ``Runtime`` that is a container. A stopped one keeps its file system, and so its data."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        mounts: Mapping[Path, str] | None = None,
    ) -> None:
        """``mounts``: files and folders of this machine, and where the container reads them."""
        from testcontainers.core.container import DockerContainer  # loads long, and most runs are native

        self._container = DockerContainer(IMAGES[name]).with_command(list(command))
        self._container.with_kwargs(network_mode="host")
        for key, value in environment.items():
            self._container.with_env(key, value)
        for path, inside in (mounts or {}).items():
            self._container.with_volume_mapping(str(path), inside, "ro")
        self._made = False

    @property
    def running(self) -> bool:
        if not self._made:
            return False
        self._docker.reload()
        return str(self._docker.status) in {"running", "paused"}

    @property
    def log(self) -> str:
        return f"docker logs {self._docker.short_id}" if self._made else "not there yet"

    def tail(self) -> str:
        return str(self._docker.logs(tail=15).decode(errors="replace")) if self._made else ""

    def start(self) -> None:
        if self._made:
            self._docker.start()
        else:
            self._container.start()
            self._made = True

    def stop(self, timeout_s: float) -> None:
        self._docker.stop(timeout=round(timeout_s))

    def kill(self) -> None:
        self._docker.kill()

    def freeze(self) -> None:
        if not self._paused:
            self._docker.pause()

    def thaw(self) -> None:
        """Nothing if it is not frozen: the engine refuses that, and SIGCONT of the native stack does not."""
        if self._paused:
            self._docker.unpause()

    @property
    def _paused(self) -> bool:
        self._docker.reload()
        return str(self._docker.status) == "paused"

    def discard(self) -> None:
        if self._made:
            self._container.stop()

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()


def servers(
    place: Place, databases: Sequence[str], redis_kinds: Sequence[str], registry: bool, flush_interval_ms: int
) -> list[Server]:
    """The servers that this module has, in an order in which each comes after those it waits for."""
    if set(databases) - set(DATABASES) or set(redis_kinds) - {"standalone"} or registry:
        raise StackError("the Docker stack has mysql, kafka, connect and a standalone redis; use --stack=native")
    broker = _kafka(place)
    found: list[Server] = [broker]
    if databases:
        found.append(_mysql(place))
    if redis_kinds:
        found.append(_redis(place))
    if databases:
        found.append(_connect(place, broker, databases, flush_interval_ms))
    return found


def _kafka(place: Place) -> Kafka:
    port, controller = place.ports.take("kafka"), place.ports.take("kafka-controller")
    settings = kafka.settings(place.host, port, controller, Path("/tmp/kafka"))
    environment = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in settings.items()}
    return Kafka(Container("kafka", [], environment), place.host, port)


def _mysql(place: Place) -> MySql:
    port, root = place.ports.take("mysql"), Login("root")
    options = mysql.BINLOG | mysql.GTID | mysql.COMMON | mysql.SMALL
    # The image's own default is every address, and these are addresses of this machine.
    options |= {"bind-address": place.host, "port": str(port), "mysqlx": "OFF"}
    command = [f"--{key}={value}" for key, value in options.items()]
    origin = {"host": place.host, "port": port, "user": root.user, "password": root.password}
    return MySql(Container("mysql", command, {"MYSQL_ROOT_PASSWORD": root.password}), place.host, port, origin)


def _redis(place: Place) -> Redis:
    port = place.ports.take("redis")
    lines = redis.DEFAULTS | {"bind": place.host, "port": str(port)}
    command = ["redis-server", *(word for key, value in lines.items() for word in (f"--{key}", value))]
    return Redis(Container("redis", command, {}), place.host, port)


def _connect(place: Place, broker: Kafka, databases: Sequence[str], flush_interval_ms: int) -> Connect:
    port, home = place.ports.take("connect"), place.directory("connect")
    plugins = {connect.plugin(place, database): f"{INSIDE}/plugins/{database}" for database in databases}
    settings = connect.settings(place.host, port, broker.bootstrap_servers, Path(INSIDE, "plugins"), flush_interval_ms)
    file, inside = java.properties(home / "connect.properties", settings), f"{INSIDE}/connect.properties"
    command = ["/opt/kafka/bin/connect-distributed.sh", inside]
    return Connect(Container("connect", command, {}, {file: inside, **plugins}), place.host, port)
