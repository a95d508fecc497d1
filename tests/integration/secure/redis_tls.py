"""Real Redis servers with TLS, each with another certificate, or another wish."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from consumer.mapping.reference import reference
from consumer.sink.rights import wanted
from tests.integration.secure.authority import HOST, Authority, Issued
from tests.support.redis_server import RedisServer
from tests.support.stack.port import Ports

USER, PASSWORD = "alice", "r3dis%s3cret"
LOGIN = "alice:r3dis%25s3cret"


class RedisServers:
    """``good``, ``mutual`` (wants a certificate), ``expired`` and ``elsewhere`` (of another host), started when asked
    for. Each listens in plain text too. USER has the least rights that are said to be enough.
    """

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._running: dict[str, tuple[RedisServer, int]] = {}

    def url(self, name: str, scheme: str = "rediss", login: str = LOGIN) -> str:
        return f"{scheme}://{login}@{HOST}:{self._get(name)[1]}/0"

    def plain(self, name: str, scheme: str = "redis", login: str = LOGIN) -> str:
        """The port without TLS."""
        return f"{scheme}://{login}@{HOST}:{self._get(name)[0].port}/0"

    def server(self, name: str) -> RedisServer:
        return self._get(name)[0]

    def show(self, name: str, certificate: Issued) -> None:
        """Let it show another certificate from the next connection on, and break those that there are."""
        with self.server(name).connect() as client:
            client.execute_command(
                "CONFIG", "SET", "tls-cert-file", str(certificate.certificate), "tls-key-file", str(certificate.key)
            )
        self.cut(name)

    def set_password(self, name: str, password: str) -> None:
        """Of USER, who has to log in again."""
        with self.server(name).connect() as client:
            client.execute_command("ACL", "SETUSER", USER, "resetpass", f">{password}")
        self.cut(name)

    def cut(self, name: str) -> None:
        """Break all connections."""
        with self.server(name).connect() as client:
            client.execute_command("CLIENT", "KILL", "USER", USER)

    def end(self) -> None:
        for server, _ in self._running.values():
            server.end()

    def _get(self, name: str) -> tuple[RedisServer, int]:
        if name not in self._running:
            self._running[name] = self._start(name)
        return self._running[name]

    def _start(self, name: str) -> tuple[RedisServer, int]:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("no redis-server with TLS: apt-get install redis-server")
        days, host = (-1 if name == "expired" else 1), ("elsewhere.test" if name == "elsewhere" else HOST)
        issued = self._authority.issue(f"redis-{name}", host, days=days)
        folder = self._folder / name
        folder.mkdir()
        server, port = RedisServer(binary, folder), Ports().take("redis-tls")
        server.start(
            tls_port=str(port),
            tls_cert_file=str(issued.certificate),
            tls_key_file=str(issued.key),
            tls_ca_cert_file=str(self._authority.file),
            tls_auth_clients="yes" if name == "mutual" else "no",
        )
        with server.connect() as client:
            rights = wanted(reference(), "", has_functions=True).split()
            client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rights)
        return server, port
