"""What a guard's hash says, as apply.lua writes it."""

from __future__ import annotations

from msgspec import structs

from consumer.errors import Place
from consumer.events.position import Origin
from consumer.guard.state import GuardState
from consumer.guard.version import Version

VERSION = Version(0, Origin.STREAMED, 1_000_007, 1_000_000, "t.live_users", 2, 50)


def test_versions_marks_and_kept_fields_are_told_apart() -> None:
    found = GuardState.read(
        {
            "live_users": VERSION.to_text(),
            "!live_users": "t.live_users|2|51",
            "+last_transaction_id": "TX1",
            ">live_users": f"1|{VERSION.to_text()}",
        }
    )
    assert found == GuardState(
        {"live_users": VERSION},
        frozenset(),
        {"live_users": Place("t.live_users", 2, 51)},
        {"last_transaction_id": "TX1"},
    )


def test_a_deleted_users_version_says_so() -> None:
    found = GuardState.read({"live_users": f"{VERSION.to_text()}|d"})
    assert found.versions == {"live_users": VERSION}
    assert found.deleted == {"live_users"}


def test_a_version_of_release_0_1_is_read_with_the_sources_time_for_kafkas() -> None:
    before = "0|f|postgresql:0|00000000000000000940/00000000000000001000|1000000|t.live_users|2|50"
    found = GuardState.read({"live_users": before})
    assert found.versions == {"live_users": structs.replace(VERSION, written_ms=1_000_000)}


def test_what_cannot_be_read_is_left_out() -> None:
    assert GuardState.read({"live_users": "7", "!demo_users": "here"}) == GuardState()
