"""Which topics and which database are followed, decided from what there is."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.errors import ConfigError
from consumer.mapping.reference import reference
from consumer.settings.sections import Kafka
from consumer.source.topic_selection import Known, Row, Selection, is_routed, refused, select, to_look_at

TABLES = reference().captured()
LIVE, RESTORED = "p.trading.live_users", "p.trading_restore.live_users"
ROUTED = "cdc.users"


def names(*databases: str) -> frozenset[str]:
    return frozenset(databases)


def selected(*present: str, topics: tuple[str, ...] = (), **known: Any) -> Selection:
    settings = Kafka(topic_prefix="p", topics=topics)
    return select(Known(dict.fromkeys(present, 2), **known), settings, TABLES)


def row(topic: str, database: str, table: str = "live_users") -> Row:
    return Row(topic, table, database)


def test_the_only_database_is_followed_and_later_topics_of_it_alone() -> None:
    found = selected(LIVE, "p.trading.demo_users", "q.trading.live_users", "p.trading.other")
    assert found.topics == ("p.trading.demo_users", LIVE)
    assert found.databases == names("trading")
    assert (found.refused, found.lacking) == ((), "")
    assert selected(LIVE, "p.trading.money_requests").pattern == found.pattern
    assert "trading_restore" not in found.pattern


@pytest.mark.parametrize(
    ("present", "known"),
    [
        ((LIVE, RESTORED), {"explicit": names("trading")}),
        ((LIVE, RESTORED), {"explicit": names("trading"), "remembered": names("trading_restore")}),
        ((LIVE, RESTORED), {"remembered": names("trading")}),
        ((LIVE, RESTORED), {"remembered": names("trading"), "committed": names(LIVE, RESTORED)}),
        ((LIVE, RESTORED), {"committed": names(LIVE)}),
        ((LIVE, RESTORED), {"committed": names(LIVE, "p.trading.demo_users", "elsewhere")}),
        ((LIVE, RESTORED, "p.trading_restore.money_requests"), {"committed": names(LIVE)}),
    ],
)
def test_of_several_databases_the_one_that_was_followed_before(present: tuple[str, ...], known: dict[str, Any]) -> None:
    found = selected(*present, **known)
    assert found.topics == (LIVE,)
    assert found.databases == names("trading")
    assert set(found.refused) == set(present) - {LIVE}


@pytest.mark.parametrize("known", [{}, {"committed": names(LIVE, RESTORED)}])
def test_where_nothing_says_which_it_is_a_wrong_setting(known: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"CDC_SOURCE__DATABASE: more than one database .*trading, trading_restore"):
        selected(LIVE, RESTORED, **known)


def test_tables_that_are_spread_over_databases_need_both_settings() -> None:
    by_slot = ("p.live.live_users", "p.demo.demo_users")
    with pytest.raises(ConfigError, match=r"CDC_SOURCE__DATABASE.*CDC_KAFKA__TOPICS"):
        selected(*by_slot)
    with pytest.raises(ConfigError, match="CDC_KAFKA__TOPICS"):
        selected(*by_slot, explicit=names("live", "demo"))
    found = selected(*by_slot, topics=by_slot, explicit=names("live", "demo"))
    assert set(found.topics) == set(by_slot)
    assert selected(*by_slot, topics=by_slot).databases == names("live", "demo"), "their names say it too"


def test_a_database_without_topics_is_waited_for() -> None:
    found = selected(RESTORED, explicit=names("trading"))
    assert (found.topics, found.refused) == ((), (RESTORED,))
    assert found.lacking == "topics like p.trading.<captured table>"
    assert selected().lacking == "topics like p.<db or schema>.<captured table>"


def test_a_name_with_other_characters_is_as_debezium_writes_it() -> None:
    found = selected("p.my_db.live_users", explicit=names("my db"))
    assert found.topics == ("p.my_db.live_users",)
    assert found.databases == names("my db")


@pytest.mark.parametrize(
    ("table", "topic"),
    [("new users", "p.shop.new_users"), ("ünï_users", "p.shop._n__users"), ("vip.users", "p.shop.vip.users")],
)
def test_a_table_whose_name_no_topic_may_have(table: str, topic: str) -> None:
    """Debezium writes such a table's rows to a topic with ``_`` in place of each other character."""
    tables = (*TABLES, table)
    found = select(Known(dict.fromkeys((topic, "p.old.new_users"), 2), names("shop")), Kafka(topic_prefix="p"), tables)
    assert found.topics == (topic,)
    assert found.tables.of(topic) == (table,)
    assert found.tables.database(topic, table) == "shop"
    assert not is_routed(topic, tables)


def test_the_rows_count_for_more_than_a_name() -> None:
    """A router has given the topic of all shards a name that looks like Debezium's."""
    with pytest.raises(ConfigError, match=r"CDC_KAFKA__TOPICS: p\.all\.live_users: the rows are of the database shard"):
        selected("p.all.live_users", rows=[row("p.all.live_users", "shard")])
    with pytest.raises(ConfigError, match="CDC_SOURCE__DATABASE"):
        selected("p.all.live_users", rows=[row("p.all.live_users", "shard1"), row("p.all.live_users", "shard2")])
    found = selected("p.all.live_users", topics=("p.all.live_users",), rows=[row("p.all.live_users", "shard")])
    assert found.databases == names("shard")


def test_a_routed_topic_tells_by_its_rows_what_it_carries() -> None:
    rows = [row(ROUTED, "trading"), row(ROUTED, "trading", "demo_users"), row(ROUTED, "trading", "other")]
    found = selected(ROUTED, LIVE, topics=(ROUTED,), rows=rows)
    assert (found.topics, found.databases, found.pattern) == ((ROUTED,), names("trading"), "")
    assert found.tables.of(ROUTED) == ("demo_users", "live_users")
    assert found.tables.database(ROUTED, "demo_users") == "trading"
    assert found.carrying(["demo_users"]) == [ROUTED]
    assert found.carrying(["money_requests"]) == []


def test_what_is_left_out_of_a_routed_topic_is_not_what_it_carries() -> None:
    rows = [row(ROUTED, "trading"), row(ROUTED, "trading_restore", "demo_users")]
    with pytest.raises(ConfigError, match="CDC_SOURCE__DATABASE"):
        selected(ROUTED, topics=(ROUTED,), rows=rows)
    for known in ({"explicit": names("trading")}, {"remembered": names("trading")}):
        found = selected(ROUTED, topics=(ROUTED,), rows=rows, **known)
        assert found.tables.of(ROUTED) == ("live_users",)


def test_a_routed_topic_without_a_row_waits_for_one() -> None:
    found = selected(ROUTED, topics=(ROUTED,))
    assert "a readable row in cdc.users" in found.lacking
    assert "CDC_SOURCE__DATABASE" in found.lacking
    assert selected(ROUTED, topics=(ROUTED,), explicit=names("trading")).lacking == ""
    assert selected(topics=(ROUTED,)).lacking == ROUTED


def test_two_topics_of_one_table_that_were_named_are_a_wrong_setting() -> None:
    both = ("p.a.live_users", "p.b.live_users")
    with pytest.raises(ConfigError, match="CDC_KAFKA__TOPICS: more than one topic contains the table live_users"):
        selected(*both, topics=both, explicit=names("a", "b"))
    with pytest.raises(ConfigError, match="more than one topic contains the table live_users"):
        selected(ROUTED, LIVE, topics=(ROUTED, LIVE), rows=[row(ROUTED, "trading")])


def test_partitions_that_differ() -> None:
    settings = Kafka(topic_prefix="p")
    present = {LIVE: 2, "p.trading.demo_users": 3, "p.trading_restore.live_users": 4}
    known = Known(present, remembered=names("trading"))
    assert select(known, settings, TABLES).uneven == {LIVE: 2, "p.trading.demo_users": 3}
    with pytest.raises(ConfigError, match="different members"):
        select(known, settings.model_copy(update={"uneven": "refuse"}), TABLES)


def test_what_comes_later_is_refused_by_name() -> None:
    settings = Kafka(topic_prefix="p")
    assert refused([LIVE, RESTORED, "p.dlq", ROUTED], settings, TABLES, names("trading")) == [RESTORED]
    assert refused([LIVE], settings, TABLES, names("trading")) == []
    assert refused([RESTORED], Kafka(topic_prefix="p", topics=(LIVE,)), TABLES, names("trading")) == []


def test_records_are_looked_at_only_where_it_is_needed() -> None:
    plain, named = Kafka(topic_prefix="p"), Kafka(topic_prefix="p", topics=(LIVE, ROUTED))
    present = dict.fromkeys((LIVE, RESTORED, ROUTED), 1)
    assert to_look_at(Known(present), plain, TABLES) == [LIVE, RESTORED]
    assert to_look_at(Known(present, committed=names(LIVE)), plain, TABLES) == [LIVE]
    assert to_look_at(Known(present, remembered=names("trading")), plain, TABLES) == []
    assert to_look_at(Known(present, explicit=names("trading")), named, TABLES) == [ROUTED]
