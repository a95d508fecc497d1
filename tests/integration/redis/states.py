"""States that a real Redis can be brought into, in which it serves no plan and will again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import redis

from tests.support.redis_server import RedisServer
from tests.support.redis_view import eventually

USER, PASSWORD = "consumer", "open-sesame"
_RIGHTS = "allkeys allchannels +@all"
ACCOUNTS = f"user default on nopass {_RIGHTS}\nuser {USER} on >{PASSWORD} {_RIGHTS}\n"
Enter = Callable[[RedisServer, redis.Redis], AbstractContextManager[None]]


@dataclass(frozen=True)
class State:
    """How to bring a server into a state, for the length of a ``with`` block; in it nothing is written unless said so.

    ``serves_nothing``: it answers no command at all, a PING neither. ``is_restarted``: connections do not live through
    it. ``may_write_late``: what was sent in it is carried out when it ends. ``stops_inside``: it refuses one command
    of the script, so plans without it are applied, and one with it may stand there in
    part until it is tried again.
    """

    enter: Enter
    serves_nothing: bool = False
    is_restarted: bool = False
    may_write_late: bool = False
    stops_inside: bool = False


@contextmanager
def down(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.save()
    server.end()
    yield
    server.start()


@contextmanager
def hung(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)
    eventually(client.ping)


@contextmanager
def loading(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    """It reads its file slowly, 0.1 s a key, and listens after every 2 MB: so the keys are large."""
    client.config_set("rdbcompression", "no")
    fillers = {f"filler:{number}": "x" * 2_200_000 for number in range(20)}
    client.mset(fillers)
    client.save()
    server.end()
    server.launch(key_load_delay="100000")

    def is_loading() -> bool:
        try:
            return bool(client.info("persistence")["loading"])
        except redis.ConnectionError:
            return False

    eventually(is_loading)
    yield
    eventually(lambda: not client.info("persistence")["loading"])
    client.delete(*fillers)


@contextmanager
def read_only(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.replicaof("127.0.0.1", 1)
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def without_master(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("replica-serve-stale-data", "no")
    with read_only(server, client):
        yield
    client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def out_of_memory(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "100kb")
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def busy(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    """Another client's script runs until it is killed."""
    client.config_set("lua-time-limit", 10)

    def endless() -> None:
        with server.connect() as other:
            try:
                other.eval("while true do end", 0)
            except redis.ResponseError:
                return

    def is_busy() -> bool:
        try:
            return not client.ping()
        except redis.ResponseError as error:
            return str(error).startswith("BUSY")

    thread = threading.Thread(target=endless)
    thread.start()
    eventually(is_busy)
    yield
    client.script_kill()
    thread.join()


@contextmanager
def unable_to_save(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    """A folder stands where its file should be."""
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    client.config_set("save", "3600 1000000")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    in_the_way.rmdir()
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def with_another_password(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.acl_setuser(USER, enabled=True, reset_passwords=True, passwords=["+another"])
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    client.acl_setuser(USER, enabled=True, passwords=["-another", f"+{PASSWORD}"])


@contextmanager
def with_the_account_off(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.acl_setuser(USER, enabled=False)
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    client.acl_setuser(USER, enabled=True)


@contextmanager
def with_the_account_gone(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.acl_deluser(USER)
    yield
    allow(client)


@contextmanager
def full_of_clients(server: RedisServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("maxclients", 1)
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    client.config_set("maxclients", 1000)


def without_the_right(*rules: str) -> Enter:
    """The account may no longer do what ``rules`` take away."""

    @contextmanager
    def enter(server: RedisServer, client: redis.Redis) -> Iterator[None]:
        client.execute_command("ACL", "SETUSER", USER, *rules)
        yield
        allow(client)

    return enter


def allow(client: redis.Redis) -> None:
    """Make the account anew, or give it back what it had."""
    client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *_RIGHTS.split())


STATES = {
    "down": State(down, serves_nothing=True, is_restarted=True),
    "hung": State(hung, serves_nothing=True, may_write_late=True),
    "loading": State(loading, serves_nothing=True, is_restarted=True),
    "read-only": State(read_only),
    "a replica without its master": State(without_master),
    "out of memory": State(out_of_memory),
    "busy with another's script": State(busy, serves_nothing=True),
    "unable to save": State(unable_to_save),
    "another password": State(with_another_password, serves_nothing=True),
    "the account is off": State(with_the_account_off, serves_nothing=True),
    "the account is gone": State(with_the_account_gone, serves_nothing=True),
    "full of clients": State(full_of_clients, serves_nothing=True),
    "no scripts": State(without_the_right("-@scripting")),
    "no keys": State(without_the_right("resetkeys")),
    "no HSET": State(without_the_right("-hset")),
    "no UNLINK": State(without_the_right("-unlink"), stops_inside=True),
    "no PUBLISH": State(without_the_right("-publish"), stops_inside=True),
}
