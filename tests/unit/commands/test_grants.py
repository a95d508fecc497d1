"""The grants, filled: what stands in the SQL, and what is refused."""

from __future__ import annotations

import pytest

from consumer.commands.connectors.grants import Server, filled
from consumer.errors import ConfigError
from tests.docs.markdown import PROJECT
from tests.e2e.process import command

PASSWORDS = {"READER": "it's \\o/", "OWN": 'a"b`c'}


def _filled(server: Server, **values: str) -> str:
    text = (PROJECT / "connect" / "grants" / f"{server}.sql").read_text()
    kind = server.upper()
    given = {f"CDC_{kind}_PASSWORD": PASSWORDS["OWN"], "CDC_READER_PASSWORD": PASSWORDS["READER"]}
    return filled(text, server, given | values)


@pytest.mark.parametrize("server", list(Server))
def test_nothing_is_left_to_fill(server: Server) -> None:
    sql = _filled(server)
    assert "${" not in sql
    literal = "'it''s \\o/'" if server is Server.POSTGRES else "'it''s \\\\o/'"
    assert literal in sql
    assert "'a\"b`c'" in sql


@pytest.mark.parametrize("server", list(Server))
@pytest.mark.parametrize("value", ["x' OR '1'='1", "a b", 'a"b', "a`b", "", "x" * 64])
def test_a_name_that_would_break_out_of_its_place_is_refused(server: Server, value: str) -> None:
    if not value:  # as in a shell, empty is not set
        assert "cdc_reader" in _filled(server, CDC_READER_USER=value)
        return
    with pytest.raises(ConfigError, match=r"^CDC_READER_USER: "):
        _filled(server, CDC_READER_USER=value)


def test_a_password_of_several_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^CDC_READER_PASSWORD: ") as refusal:
        _filled(Server.MYSQL, CDC_READER_PASSWORD="a\nb")
    assert "a\nb" not in str(refusal.value)


@pytest.mark.parametrize(
    ("server", "environment", "said"),
    [
        ("mysql", {"CDC_READER_PASSWORD": "p"}, "CDC_MYSQL_PASSWORD"),
        ("mysql", {"CDC_MYSQL_PASSWORD": "", "CDC_READER_PASSWORD": "p"}, "CDC_MYSQL_PASSWORD"),
        ("postgres", {"CDC_POSTGRES_PASSWORD": "p", "CDC_READER_PASSWORD": ""}, "CDC_READER_PASSWORD"),
        ("oracle", {}, "SERVER: there are no grants for 'oracle' (allowed: mysql, mariadb, postgres)"),
    ],
)
def test_an_empty_secret_is_refused_by_name(server: str, environment: dict[str, str], said: str) -> None:
    ran = command(environment, "grants", server)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"cdc-consumer: {said}")
    assert ran.stderr.count("\n") == 1


def test_the_command_takes_the_reader_from_the_database_url() -> None:
    url = {"CDC_DATABASE__URL": "mysql://me:p%40w@h:3306/shop", "CDC_MYSQL_PASSWORD": "q"}
    ran = command(url, "grants", "mysql")
    assert ran.returncode == 0, ran.stderr
    assert "CREATE USER 'me'@'%' IDENTIFIED BY 'p@w';" in ran.stdout
    assert "`shop`.live_users TO 'me'@'%'" in ran.stdout
