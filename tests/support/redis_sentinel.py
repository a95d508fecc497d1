"""A real service of sentinels: a master, its replica, and the sentinel that watches them."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.support.redis_server import RedisServer
from tests.support.redis_view import eventually

SERVICE = "trading"
_WATCHER = "watcher"
_ACCOUNTS = f"user default on nopass ~* &* +@all\nuser {_WATCHER} on >{_WATCHER} ~* &* +@all\n"


class TestSentinel:
    """``nodes`` begin as master and replica; which is which changes."""

    __test__ = False

    def __init__(self, binary: str, folder: Path, down_after_ms: int = 5000) -> None:
        folder.mkdir(exist_ok=True)
        fast = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        names = [f"node-{number}" for number in range(2)]
        self.nodes = [RedisServer(binary, folder / name, _ACCOUNTS, settings=fast) for name in names]
        (folder / "sentinel").mkdir()
        self._file = folder / "sentinel" / "sentinel.conf"
        self._file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.nodes[0].port} 1\n"
            f"sentinel auth-user {SERVICE} {_WATCHER}\nsentinel auth-pass {SERVICE} {_WATCHER}\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}\nsentinel failover-timeout {SERVICE} 3000\n"
        )
        self.sentinel = RedisServer(binary, folder / "sentinel", sentinel=self._file)

    @property
    def url(self) -> str:
        """The first sentinel named does not exist."""
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/{SERVICE}/0"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        with self.nodes[1].connect() as replica:
            replica.replicaof("127.0.0.1", self.nodes[0].port)
        self.sentinel.start()
        eventually(self.is_whole, 30, "the sentinel does not know the replica")

    def end(self) -> None:
        for server in (self.sentinel, *self.nodes):
            server.end()

    def connect(self) -> redis.Redis:
        """A client of the master there is now, that answers with text."""
        return self.master().connect()

    def master(self) -> RedisServer:
        with self.sentinel.connect() as client:
            (told,) = (each for each in client.sentinel_masters().values() if each["name"] == SERVICE)
        return next(node for node in self.nodes if node.port == told["port"])

    def cut_off(self, node: RedisServer) -> None:
        """The sentinel gets no answers from ``node`` any more, as in a partition; everybody else does."""
        with node.connect() as client:
            client.execute_command("ACL", "SETUSER", _WATCHER, "-@all")

    def is_whole(self) -> bool:
        """Whether the master has its replica and the sentinel knows both."""
        with self.sentinel.connect() as client, self.master().connect() as master:
            known = client.sentinel_master(SERVICE)["num-slaves"] == 1
            return bool(known and master.info("replication").get("slave0", {}).get("state") == "online")
