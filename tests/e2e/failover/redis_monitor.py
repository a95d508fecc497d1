"""Every write of users' keys, in the order in which Redis did them: from its command MONITOR, which shows a script's
commands too.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import redis

from tests.e2e.failover.ledger import GONE, State, state_of
from tests.support.redis_view import eventually
from tests.support.stack.redis_cluster import RedisCluster
from tests.support.stack.stack import AnyRedis

_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CONFIG = re.compile(r"user:\{live:(\d+)\}:config")
_BALANCE = re.compile(r"\{?user_balance:live:(\d+)")


class Writes:
    """The states that each key of a user went through. Redis is empty at the beginning."""

    def __init__(self) -> None:
        self.states: dict[str, list[State]] = defaultdict(list)

    def add(self, command: Sequence[str]) -> None:
        """Take one command of a client or of a script; commands that write no user's state change nothing."""
        name, arguments = command[0].upper(), command[1:]
        if name in ("DEL", "UNLINK"):
            for key in arguments:
                if self._is_there(key):
                    self.states[key].append(GONE)
        elif name in ("HSET", "HMSET", "HSETNX") and _CONFIG.fullmatch(arguments[0]):
            fields = dict(zip(arguments[1::2], arguments[2::2], strict=True))
            if "net_profit" in fields and (name != "HSETNX" or not self._is_there(arguments[0])):
                self.states[arguments[0]].append(state_of(fields["net_profit"]))
        elif name == "SET" and _BALANCE.fullmatch(arguments[0]):
            is_fill = "NX" in (word.upper() for word in arguments[2:])
            if not is_fill or not self._is_there(arguments[0]):
                self.states[arguments[0]].append(state_of(arguments[1]))

    def of_users(self) -> Mapping[int, Mapping[str, Sequence[State]]]:
        """By user, then by key."""
        found: dict[int, dict[str, list[State]]] = defaultdict(dict)
        for key, states in self.states.items():
            if match := _CONFIG.fullmatch(key) or _BALANCE.fullmatch(key):
                found[int(match[1])][key] = list(states)
        return found

    def _is_there(self, key: str) -> bool:
        return bool(self.states.get(key)) and self.states[key][-1] != GONE


class RedisMonitor:
    """Listens to each master from now on, in a thread for each."""

    def __init__(self, server: AnyRedis) -> None:
        self.writes = Writes()
        nodes = server.nodes if isinstance(server, RedisCluster) else (server,)
        self._clients = [node.connect() for node in nodes]
        self._seen: set[str] = set()
        self._monitors = [client.monitor() for client in self._clients]
        self._threads = [threading.Thread(target=self._read, args=(each,), daemon=True) for each in self._monitors]
        for monitor in self._monitors:
            monitor.__enter__()  # MONITOR is on when this returns
        for thread in self._threads:
            thread.start()

    def caught_up(self) -> Writes:
        """Everything that was written before this call."""
        marks = {secrets.token_hex(8) for _ in self._clients}
        for client, mark in zip(self._clients, marks, strict=True):
            client.echo(mark)
        eventually(lambda: marks <= self._seen, 60, "MONITOR shows nothing")
        return self.writes

    def close(self) -> None:
        for client in self._clients:
            client.echo("end")
        for thread in self._threads:
            thread.join(30)
        for monitor, client in zip(self._monitors, self._clients, strict=True):
            monitor.__exit__(None, None, None)
            client.close()

    def _read(self, monitor: redis.client.Monitor) -> None:
        while True:
            line = monitor.connection.read_response(timeout=None)  # Redis may be idle for long
            command = _ARGUMENT.findall(line if isinstance(line, str) else line.decode())
            if command[0].upper() == "ECHO":
                self._seen.add(command[1])
                if command[1] == "end":
                    return
            else:
                self.writes.add(command)
