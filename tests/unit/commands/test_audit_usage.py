"""Wrong usage of `audit` and `explain` is said before any server is asked."""

from __future__ import annotations

import pytest

from tests.e2e.process import command

NOWHERE = {"CDC_DATABASE__URL": "mysql://reader:hunter2@127.0.0.1:1/trading"}


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("audit",), {}, "CDC_DATABASE__URL"),
        (("audit", "--table", "nobodys"), NOWHERE, "not a user table: nobodys"),
        (("audit", "--user", "7"), NOWHERE, "should look like live:123"),
        (("audit", "--user", "vip:7"), NOWHERE, "no table holds users of the type vip"),
        (("audit", "--user", "demo:7", "--table", "live_users"), NOWHERE, "demo:7 is in none of the tables of --table"),
        (("audit", "--user", "live:7", "--sample", "5"), NOWHERE, "one of --user and --sample"),
        (("audit", "--seed", "7"), NOWHERE, "--seed: there is no sample"),
        (("explain", "live:-7"), NOWHERE, "should look like live:123"),
        (("explain", "live:7", "--from", "yesterday"), NOWHERE, "can't be read: 'yesterday'"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], environment: dict[str, str], said: str) -> None:
    ran = command(environment, *arguments)
    assert ran.returncode == 2, ran.stderr
    assert said in ran.stderr
    assert "hunter2" not in ran.stderr


def test_a_database_that_is_away_is_one_sentence() -> None:
    ran = command(NOWHERE, "audit")
    assert ran.returncode == 1
    assert "database: " in ran.stderr
    assert "hunter2" not in ran.stderr
