"""A Redis master with a replica, and three sentinels that watch them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import redis as client
from redis.sentinel import Sentinel

from tests.support.stack import redis
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.nodes import Nodes
from tests.support.stack.redis import Redis
from tests.support.stack.server import Server

SERVICE = "trading"
SENTINELS = 3
QUORUM = 2
# A test takes all servers away for longer than this; who is the master afterwards is not what it is about.
DOWN_AFTER_MS = 60_000
SETTINGS = {"repl-diskless-sync-delay": "0"}


class RedisSentinel(Server):
    """The service; faults hit all of its servers at once."""

    name = "redis-sentinel"

    def __init__(self, nodes: Sequence[Redis], sentinels: Sequence[Redis]) -> None:
        super().__init__(Nodes([*nodes, *sentinels]), nodes[0].host, nodes[0].port)
        self._nodes = nodes
        self._sentinels = sentinels

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.address for each in self._sentinels)}/{SERVICE}/0"

    def connect(self) -> client.Redis:
        """A client of the master, that answers with text."""
        asked = Sentinel([(each.host, each.port) for each in self._sentinels], decode_responses=True)
        master: client.Redis = asked.master_for(SERVICE)
        return master

    def master_address(self) -> tuple[str, int]:
        """Host and port of the master there is now."""
        asked = Sentinel([(each.host, each.port) for each in self._sentinels])
        host, port = asked.discover_master(SERVICE)
        return host, port

    def ping(self) -> None:
        for server in (*self._nodes, *self._sentinels):
            server.ping()
        if self._set_up_done and not self._is_whole():
            raise ConnectionError("the sentinels do not agree yet")

    def set_up(self) -> None:
        master, replica = self._nodes
        with replica.connect() as connection:
            connection.replicaof(master.host, master.port)
        self._set_up_done = True
        # A sentinel that the machine did not let run for two seconds does nothing for the next thirty (its "tilt").
        self.wait_until_answers(180.0)

    def _is_whole(self) -> bool:
        """Whether each sentinel knows the others and the replica, and the replica has what the master has."""
        for sentinel in self._sentinels:
            with sentinel.connect() as connection:
                known = connection.sentinel_master(SERVICE)
            if (known["num-slaves"], known["num-other-sentinels"]) != (1, SENTINELS - 1):
                return False
        with self.connect() as master:
            return bool(master.info("replication").get("slave0", {}).get("state") == "online")

    def exports(self) -> dict[str, str]:
        return {"CDC_REDIS__URL": self.url}


def native(place: Place) -> RedisSentinel:
    nodes = [_server(place, f"redis-sentinel-node-{number}", SETTINGS) for number in (1, 2)]
    watched = {
        f"sentinel monitor {SERVICE}": f"{place.host} {nodes[0].port} {QUORUM}",
        f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
    }
    return RedisSentinel(
        nodes, [_sentinel(place, f"redis-sentinel-{number + 1}", watched) for number in range(SENTINELS)]
    )


def _server(place: Place, name: str, settings: dict[str, str]) -> Redis:
    port = place.ports.take(name)
    server = Redis(Process(place, name, lambda: Launch(redis.command(place, name, port, settings))), place.host, port)
    server.name = name
    return server


def _sentinel(place: Place, name: str, watched: dict[str, str]) -> Redis:
    """It writes what it learns into its file, and goes on with that after a restart."""
    port = place.ports.take(name)

    def prepare() -> Launch:
        file = Path(place.directory(name)) / "sentinel.conf"
        if not file.exists():
            lines = {"bind": place.host, "port": str(port), "dir": str(file.parent), **watched}
            file.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return Launch([redis.redis_server(place), str(file), "--sentinel"])

    server = Redis(Process(place, name, prepare), place.host, port)
    server.name = name
    return server
