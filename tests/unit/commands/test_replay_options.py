"""Options that can do nothing are refused, and what makes them the same replay again."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from consumer.commands.replay.options import ReplayOptions, check, check_resumable, identity
from consumer.errors import ConfigError
from consumer.mapping.reference import reference
from consumer.settings import sources as config
from consumer.settings.sections import Redis
from consumer.source.bounds import Beginning, End, parse_bound

RULES = reference()


@pytest.mark.parametrize(
    ("users", "tables"),
    [
        (("vip:1",), ()),
        (("live:007",), ()),
        (("live:1",), ("demo_users",)),
        (("live:1", "demo:1"), ("demo_users",)),
    ],
)
def test_a_user_whom_nothing_can_match_is_refused(users: tuple[str, ...], tables: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(ReplayOptions(Beginning(), End(), tables, users), RULES)
    assert refusal.value.field == "--user"


def test_a_user_whom_one_of_the_tables_can_match_is_not() -> None:
    check(ReplayOptions(Beginning(), End(), ("demo_users", "user_transactions"), ("live:7",)), RULES)
    check(ReplayOptions(Beginning(), End(), (), ("live:7", "demo:7")), RULES)


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://user:secret@host:1/3", "3"),
        ("redis://host", "0"),
        ("rediss://host/?db=4", "4"),
        ("redis+cluster://a:1,b:2/", "0"),
        ("redis+sentinel://:secret@a:1,b:2/service/5", "5"),
    ],
)
def test_of_redis_the_database_counts_and_no_address(url: str, database: str) -> None:
    settings = config.Settings.model_construct(**(dict(config.load({}, None)) | {"redis": Redis(url=SecretStr(url))}))
    found = identity(
        settings, RULES, ReplayOptions(Beginning(), End(), ("live_users",), ("live:2", "live:1")), "cluster 1"
    )
    assert found["the database of CDC_REDIS__URL"] == database
    assert "secret" not in str(found)
    assert (found["--user"], found["--from"], found["the Kafka cluster"]) == (
        "live:1, live:2",
        "beginning",
        "cluster 1",
    )


@pytest.mark.parametrize("text", ["10m", "03:00", "2d", "10:30:15Z"])
def test_a_time_that_the_next_start_takes_for_another_one_can_not_be_resumed(text: str) -> None:
    bound = parse_bound(text, "--from", 1_705_314_600_000)
    with pytest.raises(ConfigError, match=f"fix: give {bound}") as refusal:
        check_resumable(text, bound, "--from")
    assert refusal.value.field == "--from"
    check_resumable(str(bound), bound, "--from")


@pytest.mark.parametrize("text", ["", "beginning", "end", "2024-01-15", "2024-01-15T10:30:00Z", "a.b:0:1"])
def test_any_other_bound_can(text: str) -> None:
    check_resumable(text, parse_bound(text or "end", "--to", 0), "--to")
