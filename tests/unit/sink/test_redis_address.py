"""The forms of the URL."""

from __future__ import annotations

import pytest

from consumer.sink.address import Address, Kind


def test_one_server_is_left_to_the_client() -> None:
    for url in ("redis://u:p@h:1/2?health_check_interval=5", "rediss://h", "unix:///run/redis.sock"):
        assert Address.from_url(url) == Address(Kind.ONE, url)


def test_a_cluster() -> None:
    found = Address.from_url("rediss+cluster://user:p%40ss@h1:7000, h2,[::1]:7002/?ssl_cert_reqs=none")
    assert (found.kind, found.hosts) == (Kind.CLUSTER, (("h1", 7000), ("h2", 6379), ("::1", 7002)))
    assert found.of("h9", 7009) == "rediss://user:p%40ss@h9:7009/0?ssl_cert_reqs=none"
    assert found.of("::1", 7002) == "rediss://user:p%40ss@[::1]:7002/0?ssl_cert_reqs=none"


def test_sentinels() -> None:
    found = Address.from_url("redis+sentinel://:secret@s1,s2:26380/trading/3")
    assert (found.kind, found.hosts) == (Kind.SENTINEL, (("s1", 26379), ("s2", 26380)))
    assert (found.service, found.db) == ("trading", 3)
    assert found.of("master", 6379) == "redis://:secret@master:6379/3"
    assert Address.from_url("redis+sentinel://s1/trading").db == 0


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster:///0",
        "redis+cluster://h:1/3",
        "redis+cluster://h:x/",
        "redis+cluster://h:70000/",
        "redis+cluster://h,,g/",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/service/x",
        "redis+other://h/",
    ],
)
def test_what_can_not_be_used_says_nothing_of_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-zA-Z]") as refusal:
        Address.from_url(url.replace("//", "//user:hunter2@"))
    assert "hunter2" not in str(refusal.value)
