"""Commands that a server, an account or a proxy refuses, in words of its own: FUNCTION, FCALL and INFO."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from consumer.commands.shared.check.run import check
from consumer.mapping.reference import reference
from consumer.settings.sections import Guard
from consumer.settings.sources import load
from consumer.sink.client import Server, ask, connect
from consumer.sink.keyspace import keyspace, runs
from consumer.sink.redis_sink import RedisSink
from consumer.sink.script import refusal_of_functions
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import BALANCE, apply, plan_of
from tests.support.redis_server import RedisServer, program

# Of KeyDB, Dragonfly, Envoy's proxy and managed services: error replies without a code that Redis itself has.
WORDS = [
    "ERR unknown command `FUNCTION`, with args beginning with: `LOAD`, `REPLACE`, ",
    "ERR Unknown subcommand or wrong number of arguments for 'LOAD'. Try FUNCTION HELP.",
    "ERR unsupported command 'FUNCTION'",
    "ERR Command is not available: 'FUNCTION'. See the documentation of this service",
    "ERR This operation is not allowed",
    "NOTSUPPORTED functions are not part of this plan",
]
NAMES = {
    "FUNCTION": "called by EVALSHA, because the server refuses functions",
    "FCALL": "called by EVALSHA",
    "INFO": "FCALL",
}


@contextmanager
def server(folder: Path, *refused: str) -> Iterator[RedisServer]:
    """A server without those commands."""
    folder.mkdir(exist_ok=True)
    (folder / "renamed.conf").write_text("".join(f'rename-command {name} ""\n' for name in refused))
    made = RedisServer(program("machine"), folder, settings={"include": str(folder / "renamed.conf")})
    try:
        made.start()
        yield made
    finally:
        made.end()


class Proxy:
    """What stands between, and answers some commands itself."""

    def __init__(self, behind: int, answers: dict[str, str]) -> None:
        self._behind = behind
        self._answers = {f"\r\n{name}\r\n".encode(): f"-{said}\r\n".encode() for name, said in answers.items()}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """One command after the other: the next one goes on when this one is answered."""
        with client, socket.create_connection(("127.0.0.1", self._behind)) as behind, client.makefile("rb") as asked:
            threading.Thread(target=self._back, args=(behind, client), daemon=True).start()
            while count := asked.readline():
                parts = [count]
                for _ in range(int(count[1:])):
                    size = asked.readline()
                    parts += [size, asked.read(int(size[1:]) + 2)]
                command = b"".join(parts)
                said = next((said for name, said in self._answers.items() if name in command[:40].upper()), None)
                (client if said else behind).sendall(said or command)

    def _back(self, behind: socket.socket, client: socket.socket) -> None:
        try:
            while data := behind.recv(65536):
                client.sendall(data)
        except OSError:
            pass


def works(url: str, account: str = "") -> None:
    """A change is applied, and one after the script was lost."""
    with closing(RedisSink(settings_of(url, account), Guard(), reference(), "g")) as sink:
        sink.reach()
        assert apply(sink, plan_of("A new live user", 1))[0].is_accepted
        with redis.Redis.from_url(
            url.replace("//", f"//{account}@" if account else "//"), decode_responses=True
        ) as own:
            own.script_flush()
            assert apply(sink, plan_of("A deposit", 2))[0].is_accepted
            assert own.get(BALANCE) == "10000.50"


def of_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """What `check` says of Redis."""
    monkeypatch.setenv("CDC_REDIS__URL", url)
    monkeypatch.setenv("CDC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found = []
    for each in check(load(), reference()):
        if not each.subject.startswith(("redis", "settings")):
            break
        found.append(f"{each.level} {each.subject}: {each.found}")
    return found


@pytest.mark.parametrize("redis_kind", ["machine"], indirect=True, scope="session")
@pytest.mark.parametrize("words", WORDS)
def test_functions_refused_in_any_words(redis_url: str, client: redis.Redis, words: str) -> None:
    with closing(Proxy(client.get_connection_kwargs()["port"], {"FUNCTION": words})) as proxy:
        assert refusal_of_functions(connect(settings_of(proxy.url))) in (words, words.partition(" ")[2])
        works(proxy.url)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_without_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path / "redis", name) as made:
        works(made.url)
        said = of_redis(made.url, monkeypatch)
    assert any(line.startswith("ok redis script") and NAMES[name] in line for line in said), said
    assert not any(line.startswith("failure") for line in said), said


@pytest.mark.parametrize("rule", ["-function", "-fcall", "-info"])
def test_an_account_that_may_not(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(tmp_path / "redis") as made, made.connect() as admin:
        admin.execute_command("ACL", "SETUSER", "narrow", "on", ">x", "+@all", "~*", "&*", rule)
        works(made.url, "narrow:x")
        said = of_redis(made.url.replace("//", "//narrow:x@"), monkeypatch)
    way = "called by FCALL" if rule == "-info" else "called by EVALSHA, because the server refuses functions"
    assert any(line.startswith("ok redis script") and way in line for line in said), said
    assert not any(line.startswith("failure") for line in said), said


def test_a_server_that_tells_nothing_of_itself(tmp_path: Path) -> None:
    with server(tmp_path / "redis", "INFO") as made:
        assert ask(made.connect()) == Server()
        with closing(keyspace(settings_of(made.url))) as keys:
            assert runs(keys) == ""


@pytest.mark.parametrize(
    "state", [lambda admin: admin.config_set("maxmemory", 1), lambda admin: admin.replicaof("127.0.0.1", 1)]
)
def test_what_passes_is_no_refusal(tmp_path: Path, state: Callable[[redis.Redis], object]) -> None:
    """Out of memory, or a replica for now: functions are not given up for that."""
    with server(tmp_path / "redis") as made, made.connect() as admin:
        state(admin)
        with pytest.raises(redis.ResponseError):
            refusal_of_functions(admin)
