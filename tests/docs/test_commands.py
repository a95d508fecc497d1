"""Options are alike in all commands, and docs/commands.md has them all."""

from __future__ import annotations

import pytest

from consumer.commands.shared.usage import OLD_NAMES, renamed
from tests.docs.commands import PAGE, parameters, table

ALL = parameters()
# What they mean depends on the command: bounds in the topics, times of letters, a file; audits, or a screen.
TWO_MEANINGS = {"--from", "--to", "--watch"}
FOLLOWERS = ("api", "audit", "check", "explain", "plan", "replay", "run", "snapshot", "tail")
SERVERS = {"--bootstrap-servers", "--topic-prefix", "--topics", "--group-id", "--redis-url", "--mapping", "--config"}


def _options(command: str) -> set[str]:
    return {each.name for each in ALL if each.command == command and each.is_option}


def test_the_page_has_the_options_in_force() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith("\n\n" + table()), "python -m tests.docs.commands"


def test_an_option_has_one_help_in_all_commands() -> None:
    helps: dict[str, set[str]] = {}
    for each in ALL:
        if each.is_option:
            assert each.help, each
            helps.setdefault(each.name, set()).add(each.help)
    assert {name for name, texts in helps.items() if len(texts) > 1} == TWO_MEANINGS


def test_every_command_takes_a_file_of_settings() -> None:
    assert [each for each in {each.command for each in ALL} if "--config" not in _options(each)] == []


@pytest.mark.parametrize("command", FOLLOWERS)
def test_a_command_about_followed_tables_takes_the_same_servers(command: str) -> None:
    assert SERVERS - _options(command) == set()


def test_whoever_reads_the_database_may_be_told_where() -> None:
    readers = {"api", "audit", "explain", "grants", "init", "snapshot"}
    assert {each.command for each in ALL if each.name == "--database-url"} == readers


def test_whoever_asks_kafka_connect_may_be_told_where() -> None:
    asking = {"api", "check", "connect apply", "connect diff", "connect status", "connect watch", "status"}
    assert {each.command for each in ALL if each.name == "--connect-url"} == asking


def test_old_names_work_and_are_nobodys_else() -> None:
    for path, names in OLD_NAMES.items():
        options = _options(" ".join(path))
        for old, new in names.items():
            assert new in options
            assert old not in options
            kept, said = renamed([*path, old, "x", f"{old}=y", "--", old])
            assert kept == [*path, new, "x", f"{new}=y", "--", old]
            assert said == [f"{old} is now {new}; the next version will remove the old name"] * 2


def test_names_of_other_commands_are_left_alone() -> None:
    assert renamed(["snapshot", "--where", "--url"]) == (["snapshot", "--where", "--url"], [])
    assert renamed([]) == ([], [])
