"""Redis with TLS and accounts: what works, and what each fault is called; ``run`` reaches Redis before Kafka."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from consumer.settings.sections import Redis
from consumer.sink.client import ask, connect
from consumer.sink.index.key_index import TrackedIndex
from tests.e2e.process import command
from tests.integration.secure.authority import Authority
from tests.integration.secure.redis_tls import RedisServers
from tests.support.redis_view import eventually

CA, CERTIFICATE, KEY, URL = (f"CDC_REDIS__{name}" for name in ("CA", "CERTIFICATE", "KEY", "URL"))


def test_tls(servers: RedisServers, authority: Authority) -> None:
    with connect(Redis(url=SecretStr(servers.url("good")), ca=authority.file)) as client:
        assert ask(client).version


def test_mutual_tls(servers: RedisServers, authority: Authority) -> None:
    mine = authority.issue("client")
    both = Redis(url=SecretStr(servers.url("mutual")), ca=authority.file, certificate=mine.certificate, key=mine.key)
    in_one = Redis(url=SecretStr(servers.url("mutual")), ca=authority.file, certificate=mine.both)
    for settings in (both, in_one):
        with connect(settings) as client:
            assert ask(client).version


def test_wildcard_keys_are_followed(servers: RedisServers, authority: Authority) -> None:
    """One thread reads what the server tells while another asks and closes windows, on one TLS connection."""
    mine = "financial_summary:live:1:"
    with (
        servers.server("good").connect() as other,
        connect(Redis(url=SecretStr(servers.url("good")), ca=authority.file)) as client,
    ):
        other.flushall()
        index = TrackedIndex(client, ["financial_summary:"])
        index.start()
        try:
            eventually(lambda: index.is_warm)
            for number in range(2000):
                index.matching([mine])
                with other.pipeline(transaction=False) as pipeline:
                    pipeline.set(f"{mine}{number}", "x")
                    pipeline.set(f"financial_summary:live:{number + 2}:day", "x")
                    pipeline.execute()
                index.close_windows([mine], [mine])
            eventually(lambda: not other.keys(f"{mine}*"))
            assert index.is_warm
            assert set(index.matching(["financial_summary:live:2001:"]).values()) == {
                ("financial_summary:live:2001:day",)
            }
        finally:
            index.close()
            other.flushall()


def faults(
    servers: RedisServers, authority: Authority, stranger: Authority
) -> dict[str, tuple[Mapping[str, object], str]]:
    """The settings of each fault, and what is said of it."""
    trusting = {CA: authority.file}
    mine, theirs, old = authority.issue("mine"), stranger.issue("theirs"), authority.issue("old", days=-1)
    closed = authority.issue("closed", passphrase=b"x")
    mutual = {URL: servers.url("mutual"), **trusting}
    at = f"Redis at 127.0.0.1:{servers.url('good').rpartition(':')[2].removesuffix('/0')}"
    good = {URL: servers.url("good")}
    refused = "CDC_REDIS__URL: Redis refused: WRONGPASS"
    return {
        "wrong password": (trusting | {URL: servers.url("good", login="alice:wrong")}, refused),
        "unknown user": (trusting | {URL: servers.url("good", login="nobody:wrong")}, refused),
        "wrong password, plain": ({URL: servers.plain("good", login="alice:wrong")}, refused),
        "stranger": (
            good | {CA: stranger.file},
            f"{CA}: {at}: its certificate is not signed by a trusted authority",
        ),
        "no authority named": (good, f"{CA}: {at}: its certificate is not signed by a trusted authority"),
        "expired": (trusting | {URL: servers.url("expired")}, "its certificate has expired"),
        "other name": (trusting | {URL: servers.url("elsewhere")}, "its certificate is for another name"),
        "no certificate": (mutual, f"{CERTIFICATE}: Redis at"),
        "certificate of a stranger": (
            mutual | {CERTIFICATE: theirs.certificate, KEY: theirs.key},
            "it does not accept this client's certificate",
        ),
        "certificate that expired": (
            mutual | {CERTIFICATE: old.certificate, KEY: old.key},
            "it does not accept this client's certificate",
        ),
        "plain to TLS": ({URL: servers.url("good", "redis")}, f"{URL}: {at}: it speaks TLS only (allowed: rediss://…)"),
        "TLS to plain": (
            trusting | {URL: servers.plain("good", "rediss"), "CDC_REDIS__TIMEOUT_MS": 1000},
            "it does not speak TLS (allowed: redis://…)",
        ),
        "another key": (
            mutual | {CERTIFICATE: mine.certificate, KEY: theirs.key},
            f"{mine.certificate}: the key does not belong to the certificate",
        ),
        "encrypted key": (mutual | {CERTIFICATE: closed.certificate, KEY: closed.key}, f"{KEY}: the key is encrypted"),
        "key alone": (mutual | {KEY: mine.key}, "CDC_REDIS: a key needs its certificate"),
        "no such file": (good | {CA: "/none.pem"}, f"{CA}: /none.pem: No such file or directory"),
        "no certificate in it": (good | {CA: mine.key}, f"{CA}: {mine.key}: no certificate in it"),
        "a file without TLS": ({URL: servers.plain("good"), **trusting}, f"{CA}: is set, but CDC_REDIS__URL is not"),
    }


def test_each_fault_is_one_sentence_and_exit_code_2(
    servers: RedisServers, authority: Authority, stranger: Authority
) -> None:
    for name, (settings, said) in faults(servers, authority, stranger).items():
        environment = {key: str(value) for key, value in settings.items()} | {"CDC_METRICS__PORT": "0"}
        ran = command(environment, "run")
        assert (ran.returncode, said in ran.stderr) == (2, True), f"{name}: {ran.returncode} {ran.stderr}"
        assert len(ran.stderr.splitlines()) == 1, f"{name}: {ran.stderr}"
