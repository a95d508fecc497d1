"""What `check` says of Redis: whether this program can work there, and what it may lose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumer.commands.check.findings import Finding, failure, ok, warning
from consumer.sink.rights import INFO, OPTIONAL, TRACKING, Need

# Versions of Redis before this lack what the script and the index need.
_OLDEST_REDIS = 6
_FIRST_WITH_FUNCTIONS = 7
_SHOWN = 6
_INSTEAD = {
    TRACKING: ("wildcard keys are found by SCAN passes instead", "; or CDC_REDIS__TRACKING=false"),
    INFO: ("the server's version, role, eviction policy and persistence are not known", ""),
}


def of_redis(version: str, policy: str) -> Iterator[Finding]:
    """A server that answers; ``version`` is "" where it does not tell."""
    if not version:
        yield warning(
            "redis",
            "answers, but not to INFO: its version, its role, its eviction policy and its persistence are not known",
            "let the account ask (+info); nothing, if the server or a proxy before it has no INFO",
        )
        return
    if _major(version) < _OLDEST_REDIS:
        yield failure("redis", f"version {version}", f"Redis {_OLDEST_REDIS} or later")
    elif policy.startswith("allkeys"):
        yield warning(
            "redis",
            f"version {version}; maxmemory-policy {policy}: a user's version may be evicted, and a duplicate is then "
            "taken for new",
            "set maxmemory-policy to a volatile one or to noeviction",
        )
    else:
        yield ok("redis", f"version {version} answers" + (f"; maxmemory-policy {policy}" if policy else ""))


def has_functions(version: str) -> bool:
    """Whether a server of that version keeps functions."""
    return _major(version) >= _FIRST_WITH_FUNCTIONS


def of_script(refused: str | None) -> Finding:
    """How the script is called; ``refused``: the words in which functions are."""
    if refused is None:
        return ok("redis script", "called by FCALL: the server keeps it as a function")
    return ok("redis script", f"called by EVALSHA, for functions are refused: {refused}")


def _major(version: str) -> int:
    """A server that names its version otherwise is taken for a new one."""
    major = version.partition(".")[0]
    return int(major) if major.isdecimal() else _FIRST_WITH_FUNCTIONS


def of_place(mode: str, role: str, cluster_state: str, *, is_cluster: bool) -> Iterator[Finding]:
    """Whether the server is one that can be written to: ``mode`` and ``role`` as Redis names them.

    ``is_cluster``: the URL says that it is a node of one.
    """
    if mode == "cluster" and not is_cluster:
        yield failure(
            "redis cluster", "the server is a node of a cluster", "name the cluster: CDC_REDIS__URL=redis+cluster://…"
        )
    elif mode == "cluster" and cluster_state == "ok":
        yield ok("redis cluster", "its cluster_state is ok")
    elif mode == "cluster" and not cluster_state:
        yield warning("redis cluster", "may not ask for its state (CLUSTER INFO)", "let it ask: +cluster|info")
    elif mode == "cluster":
        yield failure("redis cluster", f"its cluster_state is {cluster_state}", "look at its nodes: CLUSTER NODES")
    elif mode != "standalone":
        yield failure(
            "redis mode", f"the server runs as {mode}, which keeps no keys", "name servers of data in CDC_REDIS__URL"
        )
    if role != "master":
        yield failure(
            "redis role", "the server is a replica, which takes no writes", "point CDC_REDIS__URL at its master"
        )


def of_persistence(is_logged: bool) -> Finding:
    """What a crash of the server costs."""
    if is_logged:
        return ok("redis persistence", "appendonly is on")
    return warning(
        "redis persistence",
        "appendonly is off: a crash loses the writes since the last snapshot file, or all of them; what the topics "
        "still hold is read again, other programs' keys and fields are not",
        "appendonly yes; or nothing, where Redis is a cache that may be rebuilt",
    )


def of_rights(user: str, refused: Sequence[Need], wanted: str) -> Iterator[Finding]:
    """What the account may not do. ``wanted``: the rules that are enough for one of its own."""
    subject = f"redis account {user}"
    advice = f"give it the right; these are enough for an account of this program alone: ACL SETUSER NAME {wanted}"
    stops = [str(need) for need in refused if need not in OPTIONAL]
    if stops:
        more = f" and {len(stops) - _SHOWN} more" if len(stops) > _SHOWN else ""
        yield failure(subject, f"may not: {', '.join(stops[:_SHOWN])}{more}", advice)
    for need in (each for each in refused if each in OPTIONAL):
        instead, setting = _INSTEAD[need]
        yield warning(subject, f"may not: {need}; {instead}", advice + setting)
    if not refused:
        yield ok(subject, "may do all that is needed")


def of_unknown_rights(wanted: str) -> Finding:
    """The account may not ask about itself."""
    return warning(
        "redis account",
        "may not ask what it is allowed (ACL WHOAMI, ACL DRYRUN; before Redis 7 ACL GETUSER): its rights are not known",
        f"let it ask; or compare with what is enough for an account of this program alone: ACL SETUSER NAME {wanted}",
    )
