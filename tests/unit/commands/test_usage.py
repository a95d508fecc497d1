"""Wrong usage, as a person meets it: one sentence of this program's own, and exit code 2."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from consumer.commands import cli
from tests.e2e.process import command

NOWHERE = {"CDC_DATABASE__URL": "mysql://reader:hunter2@127.0.0.1:1/trading", "CDC_API__TOKEN": "t" * 40}
NO_REDIS = {"CDC_REDIS__URL": "redis://127.0.0.1:1/0"}
# How click, typer, pydantic, tomllib, gzip and json speak.
LIBRARIES = re.compile(
    r"Input should|valid integer|valid boolean|unable to parse|Value error|Invalid value|No such option|No such command"
    r"|Got unexpected|Missing (option|argument|command|parameter)|does not match the format|String should"
    r"|Field required"
    r"|requires an argument|does not take a value|Extra inputs|error parsing|Expected '|at line \d+, column|\[Errno"
    r"|Invalid JSON|Not a gzipped|Usage: |not in the range|is not a valid"
)


Here: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The program in this process, with nothing in the environment but what is given."""
    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)

    def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as given:
            for name, value in environment.items():
                given.setenv(name, value)
            given.setattr(sys, "argv", ["cdc-consumer", *arguments])
            handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            try:
                with pytest.raises(SystemExit) as end:
                    cli.main()
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                # A child inherits what is blocked, and then SIGINT does not end it.
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(str(end.value.code or 0)), said.out, said.err)

    return run


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    """What the program said: one line, in its own words."""
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert ran.stderr.startswith("cdc-consumer: "), ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert LIBRARIES.search(ran.stderr) is None, ran.stderr
    return ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audti",), "audti: no such command (fix: audit)"),
        (("xyz",), "xyz: no such command (allowed: "),
        (("dead-letters", "lsit"), "lsit: no such command (fix: list)"),
        (("run", "--worker", "2"), "--worker: no such option (fix: --workers)"),
        (("run", "--frobnicate"), "--frobnicate: no such option (fix: see cdc-consumer run --help)"),
        (("run", "--workers"), "--workers: a value is missing (allowed: whole numbers from 1)"),
        (("run", "--workers", "many"), "--workers: not a whole number (allowed: whole numbers from 1)"),
        (("run", "--workers", "0"), "--workers: out of range (allowed: whole numbers from 1)"),
        (("run", "--metrics-port", "http"), "--metrics-port: not a whole number"),
        (("run", "extra"), "cdc-consumer: extra: no argument is expected here (fix: see cdc-consumer run --help)"),
        (("run", "a", "b"), "cdc-consumer: a b: no argument is expected here (fix: see cdc-consumer run --help)"),
        (("replay", "--to", "end"), "--from: missing"),
        (("explain",), "USER: missing"),
        (("replay", "--rebuild=yes"), "--rebuild: takes no value"),
        (("connect", "status", "--wait-s", "soon"), "--wait-s: not a number (allowed: numbers from 0)"),
        (("audit", "--sample", "-1"), "--sample: out of range (allowed: whole numbers from 0)"),
        (("record", "t"), "--to: missing"),
    ],
)
def test_the_command_line_is_refused_in_own_words(here: Here, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(here({}, *arguments))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CDC_METRICS__PORT", "http", "not a whole number (allowed: whole numbers from 0 to 65535)"),
        ("CDC_METRICS__PORT", "70000", "out of range (allowed: whole numbers from 0 to 65535)"),
        ("CDC_DEAD_LETTERS__SHARE", "much", "not a number (allowed: numbers from 0 to 1)"),
        ("CDC_AUDIT__SETTLE_S", "0", "out of range (allowed: numbers above 0)"),
        ("CDC_REDIS__TRACKING", "perhaps", "neither true nor false (allowed: true, false)"),
        ("CDC_LOG__LEVEL", "loud", "not an allowed value (allowed: debug, info, warning, error)"),
        ("CDC_KAFKA__GROUP_ID", "", "empty (allowed: text of 1 character or more)"),
        ("CDC_KAFKA__INSTANCE_ID", "a b", "characters that are not allowed (allowed: letters, digits, . _ and -)"),
        ("CDC_KAFKA__BOOTSTRAP_SERVERS", "localhost", "not an address (allowed: host:port, comma separated)"),
        ("CDC_KAFKA__SECURITY__PROTOCOL", "SASL_SSL", "SASL_SSL needs a user and a password (fix: "),
        ("CDC_REGISTRY__URL", "ftp://x", "not a URL of this form (allowed: http:// or https://, without a password)"),
        ("CDC_KAFKA", "nothing", "not a JSON object (fix: set CDC_KAFKA__… one by one)"),
    ],
)
def test_a_wrong_setting_is_refused_in_own_words(here: Here, name: str, value: str, said: str) -> None:
    printed = refused(here({name: value}, "check"))
    assert printed.startswith(f"cdc-consumer: {name.removesuffix('__PROTOCOL')}"), "two settings that go together"
    assert said in printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("= no TOML", ": not TOML, at line 1"),
        ('[kafka]\ngroup_id = "a"\ngroup_id = "b"\n', ": not TOML, at line 3"),
        ("kafka = 3\n", "CDC_KAFKA: not a table of settings"),
        ("[metrics]\nport = 1.5\n", "CDC_METRICS__PORT: not a whole number"),
        ("[kakfa]\n", "CDC_KAKFA: no such setting (fix: CDC_KAFKA)"),
    ],
)
def test_a_file_of_settings_is_refused_in_own_words(here: Here, text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "cdc.toml"
    file.write_text(text)
    assert said in refused(here({}, "check", "--config", str(file)))


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("CDC_KAFKA_TOPIC_PREFIX", "CDC_KAFKA__TOPIC_PREFIX"),
        ("CDC_KAFKA__TOPCIS", "CDC_KAFKA__TOPICS"),
        ("CDC_KAKFA__TOPICS", "CDC_KAFKA__TOPICS"),
        ("CDC_REDIS_URL", "CDC_REDIS__URL"),
        ("CDC_REDIS_URL_FILE", "CDC_REDIS__URL_FILE"),
        ("CDC_MAPING", "CDC_MAPPING"),
        ("CDC_MYSQL_HOTS", "CDC_MYSQL_HOST"),
        ("CDC_TOPIC_PREFIXES", "CDC_TOPIC_PREFIX"),
    ],
)
def test_a_variable_that_is_nobodys_is_named_with_the_nearest_right_name(here: Here, name: str, fix: str) -> None:
    assert refused(here({name: "a"}, "mapping")) == f"cdc-consumer: {name}: no such setting (fix: {fix})\n"


def test_variables_of_connector_files_and_of_kubernetes_are_somebodys(here: Here) -> None:
    known = {
        "CDC_MYSQL_HOST": "db",
        "CDC_POSTGRES_SLOT": "s",
        "CDC_MASK_SALT": "x",
        "CDC_READER_PASSWORD": "x",
        # What Kubernetes adds for a Service called cdc-consumer.
        "CDC_CONSUMER_SERVICE_HOST": "10.0.0.1",
        "CDC_CONSUMER_SERVICE_PORT": "9108",
        "CDC_CONSUMER_PORT": "tcp://10.0.0.1:9108",
        "CDC_CONSUMER_PORT_9108_TCP_ADDR": "10.0.0.1",
    }
    assert here(known, "mapping").returncode == 0


@pytest.mark.parametrize("command", ["mapping", "check"])
def test_a_mapping_that_can_not_be_read_is_named_as_it_was_given(here: Here, command: str) -> None:
    assert refused(here({}, command, "--mapping", "absent.toml")).startswith(
        "cdc-consumer: --mapping: absent.toml: No such"
    )
    said = refused(here({"CDC_MAPPING": "absent.toml"}, command))
    assert said.startswith("cdc-consumer: CDC_MAPPING: absent.toml: No such")


def test_an_empty_name_of_a_file_counts_as_not_given(here: Here) -> None:
    """As a script's ``--mapping "$MAPPING"``; and ``.`` is the folder that it says."""
    ran = here({"CDC_MAPPING": "", "CDC_CONFIG": ""}, "mapping", "--config", "", "--mapping", "")
    assert (ran.returncode, ran.stdout) == (0, here({}, "mapping").stdout)
    assert "--mapping: .: Is a directory" in refused(here({}, "mapping", "--mapping", "."))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dead-letters", "show", "x"), "PLACE: 'x' should look like"),
        (("dead-letters", "show", "a[0]@x"), "PLACE: 'a[0]@x' should look like"),
        (("dead-letters", "replay", "x"), "PLACE: 'x' should look like"),
        (("snapshot", "foo"), "TABLE: no rule names the table 'foo' (allowed: "),
        (("snapshot", "--stop", "foo"), "TABLE: no rule names the table 'foo' (allowed: "),
    ],
)
def test_an_argument_is_refused_before_a_server_is_asked(here: Here, arguments: tuple[str, ...], said: str) -> None:
    """No server answers: the command would wait, and then say that."""
    assert said in refused(here({"CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", **NO_REDIS}, *arguments))


def test_a_variable_that_a_connector_file_names_is_somebodys(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text('{"name": "own", "config": {"a": "${CDC_ORACLE_HOST}"}}')
    ran = here({"CDC_ORACLE_HOST": "db", "CDC_CONNECT__URL": "http://127.0.0.1:1"}, "connect", "diff", str(file))
    assert "CDC_ORACLE_HOST" not in ran.stderr
    assert ran.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "package", "extra"),
    [
        (("audit",), NOWHERE, "sqlalchemy", "mysql"),
        (("audit",), NOWHERE, "pymysql", "mysql"),
        (("audit",), {"CDC_DATABASE__URL": "postgresql://r:p@127.0.0.1:1/t"}, "psycopg", "postgres"),
        (("explain", "live:1"), NOWHERE, "pymysql", "mysql"),
        (("explain", "live:1"), {}, "sqlalchemy", "mysql"),
        (("api",), NOWHERE, "fastapi", "api"),
        (("api",), NOWHERE, "jwt", "api"),
        (("api",), NOWHERE, "uvicorn", "api"),
        (("api",), NOWHERE, "sqlalchemy", "mysql"),
        (("snapshot", "live_users", "--authoritative"), NOWHERE, "sqlalchemy", "mysql"),
        (("run",), {"CDC_TRACING__ENABLED": "true", "CDC_METRICS__PORT": "0"}, "opentelemetry", "otel"),
        (("run",), {"CDC_KAFKA__CLIENT": "confluent"}, "confluent_kafka", "confluent"),
        (
            ("replay", "--from", "beginning", "--to", "end"),
            {"CDC_KAFKA__CLIENT": "confluent"},
            "confluent_kafka",
            "confluent",
        ),
    ],
)
def test_a_missing_extra_is_one_sentence(
    here: Here,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    package: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in an environment that was installed without it."""
    monkeypatch.setitem(sys.modules, package, None)
    said = refused(here(environment, *arguments))
    assert package in said
    assert f"pip install '.[{extra}]'" in said, "from a checkout"
    assert f".whl[{extra}]'" in said, "from a wheel"
    assert "hunter2" not in said


@pytest.mark.parametrize("package", ["sqlalchemy", "pymysql"])
def test_an_import_that_fails_is_the_same_sentence(package: str, tmp_path: Path) -> None:
    """In a program of its own, where nothing has imported the package before."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    assert f"{package} is not installed" in refused(command({**NOWHERE, "PYTHONPATH": str(tmp_path)}, "audit"))


@pytest.mark.parametrize("path", ["no/such/folder/t.jsonl", "."])
def test_a_recording_that_can_not_be_written_is_refused(here: Here, path: str, tmp_path: Path) -> None:
    ran = here({"CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "record", "t", "--to", str(tmp_path / path))
    assert refused(ran).startswith(f"cdc-consumer: --to: {tmp_path / path}: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "--to", "end", "--from"),
        ("replay", "--from", "beginning", "--to"),
        ("explain", "live:1", "--from"),
        ("dead-letters", "list", "--from"),
        ("dead-letters", "list", "--to"),
        ("dead-letters", "replay", "--from"),
    ],
)
@pytest.mark.parametrize("text", ["yesterday 14:00", "2024-13-01", "25:00", "10 minutes"])
def test_a_time_that_is_none_is_refused_with_an_example(here: Here, arguments: tuple[str, ...], text: str) -> None:
    ran = here({**NOWHERE, "CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, *arguments, text)
    said = refused(ran)
    assert f"{arguments[-1]}: can't be read: {text!r}" in said
    assert "2024-01-15T10:30:00Z" in said
    assert "10m" in said


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:pa/ss@h/db",
        "mysql://h/db?user=x&passwd=secret",
        "postgresql://h/db?sslpassword=secret",
        "postgresql://h/db?user=x&PASSWORD=secret",
    ],
)
def test_no_form_of_a_password_is_taken_from_a_command_line(here: Here, url: str) -> None:
    said = refused(here({}, "init", "--database-url", url, "--to", os.devnull))
    assert "--database-url: contains a password" in said


def test_a_file_of_schemas_and_a_recording_are_refused_in_own_words(here: Here, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("[1")
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b\x08\x00cut")
    assert "--schemas" in refused(here({}, "plan", "--schemas", str(tmp_path / "s.json"), "/dev/null"))
    for text in ('{"6":"\x97"}', '{"6":' + "[" * 5000):
        (tmp_path / "s.json").write_text(text, encoding="latin-1")
        assert "--schemas" in refused(here({}, "plan", "--schemas", str(tmp_path / "s.json"), "/dev/null"))
    (tmp_path / "s.json").write_text('{"6": "\\"int\\"", "7": "{}"}')
    said = refused(here({}, "plan", "--schemas", str(tmp_path / "s.json"), "/dev/null"))
    assert "s.json: schema 7: a schema that is not Avro" in said
    assert "FILE" in refused(here({}, "plan", str(tmp_path / "cut.gz")))
    assert "FILE" in refused(here({}, "plan", str(tmp_path / "absent")))


def test_a_connector_file_is_refused_in_own_words(here: Here, tmp_path: Path) -> None:
    for text in ("{", '{"name": 3, "config": {}}', '{"name": "a"}', '{"name": "a", "config": {}, "x": 1}'):
        file = tmp_path / "c.json"
        file.write_text(text)
        assert str(file) in refused(here({}, "connect", "diff", str(file)))
