"""The streams of a mapping: off by default, one for each channel, and refused where an entry could not be written."""

from __future__ import annotations

import pytest

from consumer.errors import ConfigError
from consumer.mapping.file import parse, to_toml
from consumer.mapping.reference import reference
from consumer.mapping.streams import _OWN, Streams
from consumer.sink.rights import AUDIT, MEMBERS, OFFSETS, REPLAY_KEY

BEGINNING = 'extends = "reference"\n'


def test_without_the_table_there_are_none() -> None:
    assert reference().streams is None
    assert reference().stream_keys() == ()
    assert "[streams]" not in to_toml(reference())


def test_the_empty_table_is_enough() -> None:
    rules = parse(BEGINNING + "[streams]\n")
    assert rules.streams == Streams()
    assert rules.stream_keys() == tuple(f"cdc:stream:{channel}" for channel in rules.channels())
    assert parse(to_toml(rules)).streams == Streams()


def test_names_and_lengths_are_read_and_written() -> None:
    text = '[streams]\nkey = "{events}:<channel>:log"\nmaxlen = 5\nmaxlen_of = { group_updates = 1000000000 }\n'
    rules = parse(BEGINNING + text)
    assert "{events}:group_updates:log" in rules.stream_keys()
    assert rules.streams is not None
    assert [rules.streams.limit_of(each) for each in ("group_updates", "user_updates")] == [1_000_000_000, 5]
    assert parse(to_toml(rules)).streams == rules.streams


WRONG = {
    'key = "events"': "streams.key: 'events' does not name one stream for each channel",
    'key = "<channel>:<channel>"': "streams.key: '<channel>:<channel>' does not name one stream",
    'key = "<channel>:<type>"': "streams.key: '<channel>:<type>' does not name one stream",
    'key = "cdc:offsets:<channel>"': "streams.key: the program's own keys begin with cdc:offsets:",
    'key = "financial_summary:live:<channel>"': "is also a key of financial_summary:<type>:<id>:*",
    "key = 3": "streams.key: not text",
    "maxlen = 0": "streams.maxlen: not a number of entries that a stream can keep (allowed: 1 to 1,000,000,000)",
    "maxlen = 1000000001": "streams.maxlen: not a number of entries",
    "maxlen = true": "streams.maxlen: not a whole number",
    "maxlen_of = { user_updates = -1 }": "streams.maxlen_of.user_updates: not a number of entries",
    "maxlen_of = { users = 5 }": "streams.maxlen_of.users: nothing is published on users (allowed: admin_user_updates,",
    "length = 5": "streams.length: no such key (allowed: key, maxlen, maxlen_of)",
}


@pytest.mark.parametrize(("line", "said"), WRONG.items(), ids=WRONG)
def test_a_wrong_table_is_refused(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"{BEGINNING}[streams]\n{line}\n")
    assert said in str(refused.value)


def test_a_stream_that_is_also_a_users_key_is_refused() -> None:
    text = '[streams]\nkey = "user_balance:live:<channel>"\n[names]\nlifecycle_channel = "7"\n'
    with pytest.raises(ConfigError, match="user_balance:live:7 is also a key of user_balance:<type>:<id>"):
        parse(BEGINNING + text)


def test_a_channel_that_would_be_a_template_is_refused() -> None:
    text = '[streams]\n[names]\nlifecycle_channel = "of <id>"\n'
    with pytest.raises(ConfigError, match="the channel of <id> can't be part of a stream's name"):
        parse(BEGINNING + text)


def test_the_beginnings_of_the_programs_own_keys_are_known() -> None:
    assert {OFFSETS, REPLAY_KEY, MEMBERS, AUDIT} <= set(_OWN)
