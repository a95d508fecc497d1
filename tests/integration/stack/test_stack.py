"""The stack itself: it starts, takes faults, fails with words, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.stack import Stack, StackError, StartFailed
from tests.support.stack.child import Children
from tests.support.stack.login import PROJECT
from tests.support.stack.trading import Trading

pytestmark = pytest.mark.stack

UP = """
import sys, time
from pathlib import Path
from tests.support.stack import Stack
with Stack.start(kind="native", logs=Path(sys.argv[1])) as stack:
    print(stack._place.data, *(server.runtime.pid for server in stack.servers.values()), flush=True)
    time.sleep(600)
"""


def _gone(pids: list[int], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_a_killed_parent_leaves_no_process_and_no_data(stack: Stack, tmp_path: Path) -> None:
    """A kill -9 runs no cleanup in the parent; the guards do it. ``stack`` comes first for its skip."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    data, *pids = parent.stdout.readline().split()
    children = [int(pid) for pid in pids]
    assert len(children) == len({"kafka", "mysql", "redis", "connect"})
    assert all(psutil.pid_exists(pid) for pid in children)

    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert _gone(children, within_s=5.0)
    assert not Path(data).exists()


def test_a_guard_that_is_killed_takes_its_command_along(tmp_path: Path) -> None:
    children = Children()
    child = children.spawn(["sleep", "600"], tmp_path / "log")
    guard = psutil.Process(child.pid).parent()
    assert guard is not None
    guard.kill()
    assert _gone([child.pid], within_s=5.0)
    children.close()


def test_nothing_starts_in_a_closed_stack(tmp_path: Path) -> None:
    """A download that ends while the stack closes must not start a server after it."""
    children = Children()
    children.close()
    with pytest.raises(StackError):
        children.spawn(["sleep", "600"], tmp_path / "log")


def test_a_failed_start_names_the_server_its_log_and_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(StartFailed) as failure:
        Stack.start((), kind="native", redis_settings={"no-such-directive": "1"}, logs=tmp_path)
    assert failure.value.server == "redis"
    assert str(tmp_path / "redis.log") in str(failure.value)
    assert "no-such-directive" in str(failure.value)
    assert (tmp_path / "redis.log").exists()


def test_redis_comes_back_on_its_port_after_a_kill(stack: Stack) -> None:
    stack.redis.kill()
    assert not stack.redis.runtime.running
    stack.redis.start()
    with stack.redis.connect() as client:
        assert client.ping()


def test_a_frozen_redis_answers_nothing_until_it_is_thawed(stack: Stack) -> None:
    stack.redis.freeze()
    try:
        with pytest.raises(Exception, match=r"[Tt]imeout"):
            stack.redis.ping()
    finally:
        stack.redis.thaw()
    stack.redis.wait_until_answers()


def test_mysql_keeps_its_data_over_a_kill(stack: Stack, trading: Trading) -> None:
    trading.insert("live_users", id=7, name="n")
    stack.mysql.kill()
    stack.mysql.start()
    with stack.mysql.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM live_users WHERE id = 7")
        assert cursor.fetchall() == (("n",),)


def test_the_consumers_account_reads_no_secret_and_writes_nothing(stack: Stack) -> None:
    with stack.mysql.connect(stack.mysql.logins.reader) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, wallet_balance, `group` FROM live_users")
        for statement in (
            "SELECT name FROM live_users",
            "SELECT password FROM demo_users",
            "SELECT metadata FROM user_transactions",
            "DELETE FROM live_users",
        ):
            with pytest.raises(Exception, match="denied"):
                cursor.execute(statement)
