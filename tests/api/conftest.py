"""The running health API, on a real database and a real Redis that can be taken away from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.process import Process
from tests.redis_view import eventually
from tests.stack import Stack
from tests.stack.gate import Gate
from tests.stack.port import Ports

TOKEN = "tok-1f0c"
BASE = "/api/redis-health"


@dataclass(frozen=True)
class Served:
    """The API, and the only ways that it has to its servers."""

    client: httpx.Client
    process: Process
    database: Gate
    redis: Gate

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.get(f"{BASE}/{path}", params=parameters)

    def post(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.post(f"{BASE}/{path}", params=parameters)

    def consistency(self, user_id: int, **parameters: str) -> dict[str, Any]:
        return data(self.get(f"user/{user_id}/consistency", **parameters))

    def refresh(self, user_id: int, **parameters: str) -> dict[str, Any]:
        return data(self.post(f"user/{user_id}/force-refresh", **parameters))


def data(answer: httpx.Response) -> dict[str, Any]:
    """The data of a call that went well, its envelope checked."""
    assert answer.status_code == 200, answer.text
    envelope = answer.json()
    assert envelope.keys() == {"success", "message", "data"}
    assert envelope["success"] is True
    assert isinstance(envelope["message"], str)
    found: dict[str, Any] = envelope["data"]
    return found


def failed(answer: httpx.Response, code: int) -> str:
    """The message of a call that failed, its envelope checked."""
    assert answer.status_code == code, answer.text
    envelope = answer.json()
    assert envelope.keys() == {"success", "message", "data"}
    assert envelope["success"] is False
    message: str = envelope["message"]
    return message


@contextmanager
def serving(log: Path, environment: Mapping[str, str]) -> Iterator[tuple[httpx.Client, Process]]:
    """The API as a process of its own, once it listens."""
    port = Ports().take("api")
    own = {"CDC_API__TOKEN": TOKEN, "CDC_API__PORT": str(port), "CDC_API__REFRESHES_PER_MINUTE": "100000"}
    process = Process({**own, "CDC_API__CLUSTER_INFO_S": "0", **environment}, log, command="api")
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
            eventually(lambda: "api.serving" in process.said() or not process.running, 60)
            assert process.running, process.said()
            yield client, process
    finally:
        process.close()


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database, redis = Gate(stack.mysql.host, stack.mysql.port), Gate(stack.redis.host, stack.redis.port)
    environment = {
        "CDC_DATABASE__URL": stack.mysql.url.replace(stack.mysql.address, database.address),
        "CDC_REDIS__URL": stack.redis.url.replace(stack.redis.address, redis.address),
    }
    with serving(tmp_path_factory.mktemp("api") / "log", environment) as (client, process):
        yield Served(client, process, database, redis)
    database.close()
    redis.close()
