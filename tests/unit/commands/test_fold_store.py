"""A store whose memory is short holds the same as one in memory."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.commands.replay.last import Last
from consumer.commands.replay.store import MemoryLimit
from consumer.errors import ServerError
from consumer.guard.version import Version
from tests.unit.guard.test_version import versions

lasts = st.builds(
    Last,
    version=versions,
    records=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.none() | st.binary(), st.binary(max_size=400)), max_size=3
    ).map(tuple),
    is_delete=st.booleans(),
    is_whole=st.booleans(),
    times=st.lists(st.integers(-1, 2**50), max_size=6).map(tuple),
    deletion=st.none() | versions,
)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["live:1", "live:2", "live:3", "live:4", "live:99999999999999999999"]), lasts)
    )
)
def test_it_holds_what_was_put_last(steps: list[tuple[str, Last]]) -> None:
    budget = MemoryLimit(3000)
    one, other = budget.store(), budget.store()
    known: dict[str, Last] = {}
    for user, last in steps:
        assert one.get(user) == known.get(user)
        one.put(user, last)
        known[user] = last
        assert one.get(user) == last
        assert other.get(user) is None
        assert budget.used <= 3000
    assert sorted(one.users()) == sorted(known)
    assert dict(one.items()) == known
    budget.close()


def test_what_does_not_fit_is_on_disk_and_leaves_no_file_behind() -> None:
    budget = MemoryLimit(3000)
    store = budget.store()
    version = Version.from_text("0|s|mysql:1|0000000009/00000000000000000004/0000000000|1000000|t|0|50")
    files = set(Path(gettempdir()).glob("*etilqs*"))
    for number in range(300):
        store.put(f"live:{number}", Last(version, ((number, 0, None, bytes(500)),)))
        assert budget.used <= 3000
    assert set(Path(gettempdir()).glob("*etilqs*")) == files
    assert len(set(store.users())) == 300
    budget.close()


def test_a_full_disk_is_said_with_what_to_do() -> None:
    budget = MemoryLimit(3000)
    store = budget.store()
    version = Version.from_text("0|s|mysql:1|0000000009/00000000000000000004/0000000000|1000000|t|0|50")
    chance = random.Random(7)  # noqa: S311  # bytes that can't be compressed

    def fill(numbers: range) -> None:
        for number in numbers:
            store.put(f"live:{number}", Last(version, ((number, 0, None, chance.randbytes(500)),)))

    fill(range(10))
    assert store._file is not None
    store._file.execute("PRAGMA max_page_count = 8")
    with pytest.raises(ServerError, match="database or disk is full") as failed:
        fill(range(10, 5000))
    assert "TMPDIR" in failed.value.advice
    budget.close()
