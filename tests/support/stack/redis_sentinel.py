"""A Redis master with a replica, and three sentinels that watch them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis as client
from redis.sentinel import Sentinel

from tests.support.redis_view import eventually
from tests.support.stack import redis, redis_replicas
from tests.support.stack.gate import SERVERS_HOST
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.nodes import Nodes
from tests.support.stack.redis import Redis
from tests.support.stack.redis_replicas import Pair, is_master, pairs
from tests.support.stack.server import Server

SERVICE = "trading"
SENTINELS = 3
QUORUM = 2
# A test takes all servers away for longer than this; who is the master afterwards is not what it is about.
DOWN_AFTER_MS = 60_000
# A master that is to fail over is given up after this. A replica that lost its master before may become the master for
# ten times as long.
SOON_MS = 3_000
WITHIN_S = 180.0


class _Sentinel(Sentinel):
    """Finds masters at their own ports."""

    def __init__(self, sentinels: Sequence[Redis], announced: Mapping[int, int]) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            [(each.host, each.port) for each in sentinels], decode_responses=True
        )
        self._announced = announced

    def discover_master(self, service_name: str) -> tuple[str, int]:
        host, port = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        return host, self._announced.get(port, port)


class RedisSentinel(Server):
    """The service; faults hit all of its servers at once, a single one of ``nodes`` has its own."""

    name = "redis-sentinel"

    def __init__(self, nodes: Sequence[Redis], sentinels: Sequence[Redis]) -> None:
        super().__init__(Nodes([*nodes, *sentinels]), nodes[0].host, nodes[0].port)
        self.nodes = tuple(nodes)
        self.announced: dict[int, int] = {}
        """Ports of nodes by the ports under which the sentinels know them, where these are others."""
        self._sentinels = sentinels

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.address for each in self._sentinels)}/{SERVICE}/0"

    def url_through(self, addresses: Sequence[str]) -> str:  # the sentinels tell them
        """The URL for who reaches the nodes at other addresses, once these are announced."""
        return self.url

    def connect(self) -> client.Redis:
        """A client of the master, that answers with text."""
        master: client.Redis = _Sentinel(self._sentinels, self.announced).master_for(SERVICE)  # type: ignore[no-untyped-call]
        return master

    def listening_address(self) -> tuple[str, int]:
        """Host and port of a server that passes on what anybody publishes: the master."""
        return _Sentinel(self._sentinels, self.announced).discover_master(SERVICE)

    def ping(self) -> None:
        for server in (*self.nodes, *self._sentinels):
            server.ping()
        if self._set_up_done and not self.is_whole():
            raise ConnectionError("the sentinels do not agree yet")

    def set_up(self) -> None:
        self._set_up_done = True
        self.announce({})

    def announce(self, ports: Mapping[int, int]) -> None:
        """Have sentinels and nodes know nodes by other ports than their own: ``ports`` are these, by their own."""
        master = next((master for master, _ in self.pairs()), self.nodes[0])
        self.announced = {announced: port for port, announced in ports.items()}
        for node in self.nodes:
            with node.connect() as connection:
                connection.config_set("replica-announce-port", ports.get(node.port, 0))
                if node is not master:
                    connection.replicaof(self.host, ports.get(master.port, master.port))
                connection.config_rewrite()
        for sentinel in self._sentinels:
            with sentinel.connect() as connection:
                if any(each == SERVICE for each in connection.sentinel_masters()):
                    connection.sentinel_remove(SERVICE)
                connection.sentinel_monitor(SERVICE, self.host, ports.get(master.port, master.port), QUORUM)
                connection.sentinel_set(SERVICE, "failover-timeout", 10_000)
        self._give_up_after(DOWN_AFTER_MS)
        # A sentinel that the machine did not let run for two seconds does nothing for the next thirty (its "tilt").
        self.wait_until_answers(WITHIN_S)

    def pairs(self) -> list[Pair]:
        return pairs(self.nodes, self.announced)

    def promote(self, pair: Pair) -> None:
        """Have the sentinels elect the replica of a master that is gone, and return when all of them follow it."""
        self._give_up_after(SOON_MS)
        eventually(lambda: self._all_know(pair[1]) and is_master(pair[1]), WITHIN_S, "the sentinels elect no master")
        self._give_up_after(DOWN_AFTER_MS)

    def is_whole(self) -> bool:
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

    def _all_know(self, master: Redis) -> bool:
        for sentinel in self._sentinels:
            with sentinel.connect() as connection:
                port = int(connection.sentinel_master(SERVICE)["port"])
            if self.announced.get(port, port) != master.port:
                return False
        return True

    def _give_up_after(self, milliseconds: int) -> None:
        for sentinel in self._sentinels:
            with sentinel.connect() as connection:
                connection.sentinel_set(SERVICE, "down-after-milliseconds", milliseconds)


def native(place: Place, settings: Mapping[str, str] | None = None) -> RedisSentinel:
    """``settings`` are lines of redis.conf of the master and the replica."""
    lines = redis_replicas.SETTINGS | {"replica-announce-ip": place.host} | dict(settings or {})
    nodes = []
    for number in (1, 2):
        name = f"redis-sentinel-node-{number}"
        nodes.append(redis.with_file(place, name, place.ports.take(name), lines))
    return RedisSentinel(nodes, [_sentinel(place, f"redis-sentinel-{number + 1}") for number in range(SENTINELS)])


def _sentinel(place: Place, name: str) -> Redis:
    """It writes what it learns into its file, and goes on with that after a restart."""
    port = place.ports.take(name)

    def prepare() -> Launch:
        file = place.directory(name) / "sentinel.conf"
        if not file.exists():
            lines = {"bind": place.host, "bind-source-addr": SERVERS_HOST, "port": str(port), "dir": str(file.parent)}
            lines |= {"sentinel announce-ip": place.host}
            file.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return Launch([redis.redis_server(place), str(file), "--sentinel"])

    server = Redis(Process(place, name, prepare), place.host, port)
    server.name = name
    return server
