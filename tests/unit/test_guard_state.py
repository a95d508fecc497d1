"""What a guard's hash says, as apply.lua writes it."""

from __future__ import annotations

from consumer.guard_state import GuardState

from consumer.errors import Place
from consumer.guard.version import Version
from consumer.position import Origin

VERSION = Version(0, Origin.STREAMED, "mysql:1", "0000000009/4/0", 1_000_000, "t.live_users", 2, 50)


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


def test_what_cannot_be_read_is_left_out() -> None:
    assert GuardState.read({"live_users": "7", "!demo_users": "here"}) == GuardState()
