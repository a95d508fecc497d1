"""Every command in the README runs in a test: here, or where the table says. An unknown command fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import PROJECT, blocks

README = PROJECT / "README.md"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

# Cheap ones, run here as they stand.
HERE = {
    "make help",
    ".venv/bin/cdc-consumer plan demo/recordings/trading.jsonl.gz",
}
# The module that the target must run, and the file that runs that module.
TARGETS = {
    "make demo": ("demo", "tests/demo"),
    "make live": ("demo.live", "tests/demo"),
    "make live ARGS=--exit": ("demo.live", "tests/demo"),
    "make test": ("pytest", ".ci/run"),
}
INSTALL = ["python3 -m venv .venv", ".venv/bin/pip install --constraint constraints.txt '.[api,codecs,mysql]'"]
# Run on the real servers by test_readme_for_real.py; `run` by the end-to-end tests too.
FOR_REAL = {
    ".venv/bin/cdc-consumer grants mysql | mysql --user=root --password",
    ".venv/bin/cdc-consumer connect apply connect/mysql.json",
    ".venv/bin/cdc-consumer run",
    ".venv/bin/cdc-consumer status",
    ".venv/bin/cdc-consumer replay --rebuild",
    ".venv/bin/cdc-consumer audit",
    ".venv/bin/cdc-consumer explain live:123",
    ".venv/bin/cdc-consumer explain live:123 --from 1h",
    ".venv/bin/cdc-consumer api",
    'curl --header "Authorization: Bearer $CDC_API__TOKEN" http://localhost:8080/api/redis-health/user/123/consistency',
    'redis-cli HGETALL "user:{live:123}:config"',
    'redis-cli GET "user_balance:live:123"',
    "redis-cli SUBSCRIBE user_updates balance_updates admin_user_updates group_updates",
}
# Run by tests/deploy/test_compose.py where there is an engine (`make compose-test`). test_compose.py beside this file
# checks the file; here, that the services and accounts exist, and test_readme_for_real.py that MySQL takes the INSERT.
INSERT = (
    "INSERT INTO live_users (id, name, email, password, wallet_balance) "
    "VALUES (123, 'Ada', 'ada@example.com', 'hash', 10000.50)"
)
DOCKER = {
    "docker compose up --build --detach",
    f'docker compose exec mysql mysql -utrading_app -ponly-for-development trading --execute="{INSERT}"',
    'docker compose exec redis redis-cli HGETALL "user:{live:123}:config"',
    "docker compose logs consumer",
    "docker compose exec consumer cdc-consumer audit",
    "docker compose down --volumes",
}


def commands(text: str) -> list[str]:
    """The command lines of a block, without comments."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def in_this_environment(command: str) -> list[str]:
    """The words of a command, with the environment that the tests run in for the README's ``.venv``."""
    program, *rest = shlex.split(command)
    if program.startswith(".venv/bin/"):
        program = str(Path(sys.executable).parent / program.removeprefix(".venv/bin/"))
    return [program, *rest]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_no_command_is_unknown() -> None:
    found = [command for text in blocks(README, "sh") for command in commands(text)]
    known = HERE | TARGETS.keys() | set(INSTALL) | FOR_REAL | DOCKER
    assert [command for command in found if command not in known and not command.startswith("export ")] == []
    assert known - set(found) == set(), "no longer in the README"


def test_no_other_language_hides_commands() -> None:
    assert set(re.findall(r"^```(\w+)$", README.read_text(), re.MULTILINE)) <= {"sh", "text", "mermaid"}


@pytest.mark.parametrize("command", sorted(HERE))
def test_a_cheap_command_ends_well(command: str) -> None:
    ran = _run(in_this_environment(command))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


@pytest.mark.parametrize("command", sorted(TARGETS))
def test_a_target_runs_what_is_tested_elsewhere(command: str) -> None:
    module, tested_in = TARGETS[command]
    ran = _run([*shlex.split(command), "--dry-run"])
    assert ran.returncode == 0, ran.stderr
    assert re.search(rf"(-m |bin/){re.escape(module)}( |$)", ran.stdout, re.MULTILINE)
    where = PROJECT / tested_in
    files = [where] if where.is_file() else sorted(where.glob("test_*.py"))
    mentions = re.compile(
        rf'"{re.escape(module)}"|-m {re.escape(module)}\b|\b{re.escape(command.partition(" ARGS")[0])}\b'
    )
    assert any(mentions.search(file.read_text()) for file in files), f"{tested_in} does not run {module}"


@pytest.mark.parametrize(
    ("marker", "program", "times"),
    [
        ("publish group_updates", [".venv/bin/cdc-consumer", "plan", "demo/recordings/trading.jsonl.gz"], None),
        ("heard balance_updates", [".venv/bin/python", "-m", "demo"], _TIME),
    ],
)
def test_what_the_readme_shows_is_what_is_printed(
    marker: str, program: list[str], times: re.Pattern[str] | None
) -> None:
    """What follows " ..." is left out of the comparison. ``times``: those that are other ones in every run."""

    def compared(line: str) -> str:
        return times.sub("TIME", line) if times is not None else line

    printed = _run(in_this_environment(shlex.join(program))).stdout
    (shown,) = (text for text in blocks(README, "text") if all(word in text for word in marker.split()))
    lines = [compared(line.rstrip()) for line in printed.splitlines()]
    wanted = [compared(line) for line in shown.splitlines()]
    assert wanted[0] in lines
    for want, line in zip(wanted, lines[lines.index(wanted[0]) :], strict=False):
        is_as_shown = line.startswith(want.removesuffix(" ...")) if want.endswith(" ...") else line == want
        assert is_as_shown, f"README shows {want!r}, printed was {line!r}"


def test_docker_commands_name_what_is_in_the_file() -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    for command in DOCKER:
        words = shlex.split(command)
        if words[2] == "exec":
            assert re.search(rf"^  {words[3]}:$", text, re.MULTILINE)
    assert "MYSQL_USER: trading_app" in text
    assert "MYSQL_PASSWORD: ${MYSQL_PASSWORD:-only-for-development}" in text
    assert "MYSQL_DATABASE: trading" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_installation_in_the_readme_gives_a_program_that_works(programs: Path, tmp_path: Path) -> None:
    """The built package, in an environment of its own: not the source tree that the other tests see."""
    recording = PROJECT / "demo" / "recordings" / "trading.jsonl.gz"
    ran = _there(programs, tmp_path, "plan", "--json", str(recording))
    assert ran.returncode == 0, ran.stderr
    script = "import importlib.resources as r; r.files('consumer.sink').joinpath('apply.lua').read_text()"
    subprocess.run([str(programs / "python"), "-c", script], cwd=tmp_path, check=True, timeout=60)
    # The SQL is in the package; postgres was not asked for, and is one sentence.
    grants = _there(programs, tmp_path, "grants", "mysql", CDC_MYSQL_PASSWORD="p", CDC_READER_PASSWORD="q")
    assert grants.returncode == 0, grants.stderr
    assert "IDENTIFIED BY 'q'" in grants.stdout
    audit = _there(programs, tmp_path, "audit", CDC_DATABASE__URL="postgresql://a:b@127.0.0.1:1/c")
    assert (audit.returncode, audit.stderr.count("\n")) == (2, 1), audit.stderr
    assert "psycopg is not installed" in audit.stderr


def installed(folder: Path) -> Path:
    """Where the programs of a fresh environment are, made in ``folder`` by the README's own lines."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "PYTHON"))}
    for line in INSTALL:
        words = shlex.split(line.replace(".venv", str(folder / ".venv"), 1))
        subprocess.run(words, cwd=PROJECT, check=True, timeout=800, env=own, capture_output=True)
    return folder / ".venv" / "bin"


def _there(programs: Path, folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "PYTHON"))}
    program = [str(programs / "cdc-consumer"), *arguments]
    return subprocess.run(
        program, cwd=folder, env=own | settings, capture_output=True, text=True, timeout=120, check=False
    )
