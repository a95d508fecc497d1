"""Commands that leave nothing half done do not wait for a server for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.e2e.process import command
from tests.e2e.replaying import DEPOSIT, Ground, of_user
from tests.support.stack import Stack
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("ways", [(), ("--dry-run", "--rebuild"), ("--dry-run", "--workers", "2")])
def test_a_dry_run_without_redis_ends_and_says_why(
    stack: Stack, redis_client: redis.Redis, topic_prefix: str, tmp_path: Path, ways: tuple[str, ...]
) -> None:
    environment = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_REDIS__URL": f"redis://127.0.0.1:{Ports().take('nobody')}/0",
    }
    ground = Ground(stack, redis_client, environment, tmp_path)
    ground.make("live_users")
    ground.send([of_user(DEPOSIT, 7, 100)])
    ran = command(environment, "replay", "--from", "beginning", "--to", "end", *ways, seconds=120)
    assert ran.returncode == 1, ran.stderr
    said, advice = ran.stderr.splitlines()[-2:]
    assert "a dry run waits only 10 s" in said
    assert advice.startswith("  what to do: start Redis")
