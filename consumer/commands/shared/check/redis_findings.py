"""Findings of `check` about Redis: whether this program can work with it, and what may be lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consumer.commands.shared.finding import Finding, failure, ok, warning
from consumer.sink.rights import INFO, OPTIONAL, TRACKING, Need, is_of_reports

# Older versions of Redis lack commands that the script and the index need.
_OLDEST_REDIS = 6
_FIRST_WITH_FUNCTIONS = 7
_SHOWN = 6
_ENTRY_BYTES = 750
"""Measured with messages about a balance."""
_INSTEAD = {
    TRACKING: ("wildcard keys are found by SCAN passes instead", "; or set CDC_REDIS__TRACKING=false"),
    INFO: ("the server's version, role, eviction policy and persistence are not known", ""),
}


def of_redis(version: str, policy: str, *, has_streams: bool = False) -> Iterator[Finding]:
    """A server that answers; ``version`` is "" if it refuses INFO. ``has_streams``: the mapping has streams."""
    if not version:
        yield warning(
            "redis",
            "answers, but refuses INFO: its version, role, eviction policy and persistence are not known",
            "allow the account +info; nothing, if the server or a proxy in front of it has no INFO",
        )
        return
    if _major(version) < _OLDEST_REDIS:
        yield failure("redis", f"version {version}", f"Redis {_OLDEST_REDIS} or later")
    elif policy.startswith("allkeys"):
        yield warning(
            "redis",
            f"version {version}; maxmemory-policy {policy}: a user's version may be evicted, and a duplicate then "
            "counts as new" + ("; a stream may be evicted with all its entries" if has_streams else ""),
            "set maxmemory-policy to a volatile one or to noeviction",
        )
    else:
        yield ok("redis", f"version {version} answers" + (f"; maxmemory-policy {policy}" if policy else ""))


def has_functions(version: str) -> bool:
    """Whether a server of that version supports functions."""
    return _major(version) >= _FIRST_WITH_FUNCTIONS


def of_script(refused: str | None) -> Finding:
    """How the script is called; ``refused``: the server's text if it refuses functions."""
    if refused is None:
        return ok("redis script", "called by FCALL: the server stores it as a function")
    return ok("redis script", f"called by EVALSHA, because the server refuses functions: {refused}")


def _major(version: str) -> int:
    """The major version; a version in an unknown form counts as new."""
    major = version.partition(".")[0]
    return int(major) if major.isdecimal() else _FIRST_WITH_FUNCTIONS


def of_place(mode: str, role: str, cluster_state: str, *, is_cluster: bool) -> Iterator[Finding]:
    """Whether the server can be written to; ``mode`` and ``role``: with Redis' names.

    ``is_cluster``: the URL is for a cluster.
    """
    if mode == "cluster" and not is_cluster:
        advice = "set CDC_REDIS__URL=redis+cluster://…"
        yield failure("redis cluster", "the server is a node of a cluster", advice, is_setting=True)
    elif mode == "cluster" and cluster_state == "ok":
        yield ok("redis cluster", "its cluster_state is ok")
    elif mode == "cluster" and not cluster_state:
        yield warning("redis cluster", "the account may not read its state (CLUSTER INFO)", "allow +cluster|info")
    elif mode == "cluster":
        yield failure("redis cluster", f"its cluster_state is {cluster_state}", "check its nodes: CLUSTER NODES")
    elif mode != "standalone":
        advice = "set CDC_REDIS__URL to a server with data"
        yield failure("redis mode", f"the server runs as {mode}, which stores no keys", advice, is_setting=True)
    if role != "master":
        yield failure(
            "redis role", "the server is a replica, which accepts no writes", "set CDC_REDIS__URL to its master"
        )


def of_persistence(is_logged: bool) -> Finding:
    """What a crash of the server would lose."""
    if is_logged:
        return ok("redis persistence", "appendonly is on")
    return warning(
        "redis persistence",
        "appendonly is off: a crash loses the writes since the last snapshot file, or all writes; records that the "
        "topics still have are read again, keys and fields of other programs are lost",
        "set appendonly yes; or nothing, if Redis is a cache that can be rebuilt",
    )


def of_streams(streams: Sequence[str], limits: Sequence[int], others: Mapping[str, str]) -> Iterator[Finding]:
    """The streams of the mapping, with the number of entries that each keeps. ``others``: the keys of these names that
    are of another type, with the type.
    """
    for name, kind in others.items():
        advice = "remove this key, or set another streams.key in the mapping"
        yield failure(f"redis stream {name}", f"the key is a {kind}: no change could be published", advice)
    if streams and not others:
        size = f"{sum(limits):,} entries when full, about {sum(limits) * _ENTRY_BYTES / 1_000_000:,.0f} MB of memory"
        yield ok("redis streams", f"{len(streams)}: {size} (streams.maxlen in the mapping)")


def of_rights(user: str, refused: Sequence[Need], wanted: str) -> Iterator[Finding]:
    """The rights that the account lacks. ``wanted``: the ACL rules that are enough for this program."""
    subject = f"redis account {user}"
    advice = f"grant it; these rules are enough for this program's account: ACL SETUSER NAME {wanted}"
    stops = [str(need) for need in refused if need not in OPTIONAL and not is_of_reports(need)]
    if stops:
        more = f" and {len(stops) - _SHOWN} more" if len(stops) > _SHOWN else ""
        yield failure(subject, f"may not: {', '.join(stops[:_SHOWN])}{more}", advice)
    for need in (each for each in refused if each in OPTIONAL):
        instead, setting = _INSTEAD[need]
        yield warning(subject, f"may not: {need}; {instead}", advice + setting)
    if unreported := [str(need) for need in refused if is_of_reports(need)]:
        instead = (
            "`cdc-consumer status` lacks members or the last audit, or the console its charts; everything else works"
        )
        yield warning(subject, f"may not: {', '.join(unreported)}; {instead}", advice)
    if not refused:
        yield ok(subject, "has all rights that are needed")


def of_unknown_rights(wanted: str) -> Finding:
    """The account may not read its own rights."""
    return warning(
        "redis account",
        "may not read its own rights (ACL WHOAMI, ACL DRYRUN; before Redis 7 ACL GETUSER): they are not known",
        f"allow these commands; or compare with the rules that are enough for this program: ACL SETUSER NAME {wanted}",
    )
