"""``python -m demo.live``: the real servers, the consumer, and the admin app's changes with what they lead to."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pymysql
import redis
import typer

from consumer.errors import CdcError
from consumer.mapping.keys import UserId, render
from consumer.mapping.reference import reference
from demo import admin, by_hand, consumer_process, dump, expectation, idle_latency, recorded, state_table
from demo.admin_session import AdminSession
from demo.by_hand import Addresses
from demo.consumer_process import ConsumerEnded
from demo.lifeline import end_on_sigterm
from demo.screen import Screen
from demo.subscriber import Subscriber
from demo.trading_services import TradingServices, untouchable
from tests.support.stack import MissingTool, Stack
from tests.support.stack.registration import registered

_OPENING = """
The real MySQL, Kafka, Kafka Connect with Debezium and Redis of this project's tests, on this machine only. The consumer
runs beside them as `cdc-consumer run`, told no more than where Kafka and Redis are."""
_STEPS = """
What an administrator does, in SQL only. The latency is the time from the database's answer to COMMIT until a
subscriber hears of it; the state in Redis is there at the same moment, for both are one atomic step. After each step
the demo plays the trading services and computes the user's caches anew."""
# Many times what the consumer takes for a batch, also on a busy machine.
_SETTLE_S = 0.25


class Live:
    """The show on a running stack. ``problems`` are what was found to be wrong."""

    def __init__(self, screen: Screen, stack: Stack) -> None:
        self._screen = screen
        self._stack = stack
        self._rules = reference()
        self.problems: list[str] = []
        self.is_staying = False

    def run(self, log: Path, *, stays: bool) -> None:
        """Everything, from the connector's registration on."""
        stack, rules = self._stack, self._rules
        with ExitStack() as exits:
            connection = exits.enter_context(stack.mysql.connect(stack.mysql.logins.app))
            # Rows first: both topics exist then, and Debezium 3.5 fails on a server whose gtid_executed is empty.
            admin.run_all(connection, admin.EXISTING)
            client = exits.enter_context(stack.redis.connect())
            services = TradingServices(client, rules, _SETTLE_S)
            services.open_positions()
            self._screen.line("connector", "connect/mysql.json: registered, reading what stands in the database")
            exits.enter_context(registered(stack, stack.mysql, recorded.PREFIX))
            running = exits.enter_context(
                consumer_process.running(stack.kafka.bootstrap_servers, recorded.PREFIX, stack.redis.url, log)
            )
            present = expectation.of_database(connection, ()).users
            hashes = [render(rules.names.config, UserId.from_text(user)) for user in present]
            running.wait_until(lambda: client.exists(*hashes) == len(hashes), "written the snapshot's users")
            self._screen.line("consumer", f"runs, and has written {', '.join(present)} from the snapshot")
            for user in present:
                services.compute(UserId.from_text(user))
            listener = exits.enter_context(closing(Subscriber(client, rules.channels())))
            self._changes(connection, client, listener, services, tuple(present))
            if not running.is_running:
                self.problems.append("cdc-consumer has ended")
            self._conclude()
            if stays:
                self._stay(running.metrics_port)

    def _changes(
        self,
        connection: pymysql.Connection,
        client: redis.Redis,
        listener: Subscriber,
        services: TradingServices,
        present: tuple[str, ...],
    ) -> None:
        history = {key: dump.take(client).values[key] for key in untouchable()}
        self._screen.part("1  An administrator's changes", _STEPS)
        session = AdminSession(self._screen, connection, client, listener, services, self._rules)
        session.run()
        self.problems += session.faults

        self._screen.part(f"2  {idle_latency.CHANGES} changes, one at a time, on servers that are idle otherwise")
        latencies = idle_latency.measure(connection, listener)
        self._finding(not latencies.lost, f"commit to Redis: {latencies}", f"{latencies.lost} changes did not arrive")

        self._screen.part("3  What Redis holds now, checked against the rows of the database")
        expected = expectation.of_database(connection, (*present, "live:42", "demo:42", "live:43"))
        found = dump.take(client)
        self.problems += map(str, state_table.show(self._screen, expected, found, self._rules))
        untouched = all(found.values.get(key) == value for key, value in history.items())
        self._finding(
            untouched, f"{len(history)} keys of positions and orders are as they were", "a key of positions was touched"
        )

    def _finding(self, is_good: bool, good: str, bad: str) -> None:
        if is_good:
            self._screen.good(good)
        else:
            self._screen.bad(bad)
            self.problems.append(bad)

    def _conclude(self) -> None:
        self._screen.gap()
        if self.problems:
            self._screen.bad(f"{len(self.problems)} findings are not as expected; the first: {self.problems[0]}")
        else:
            self._screen.good(f"all {len(admin.STEPS)} steps led to what they should")

    def _stay(self, metrics_port: int) -> None:
        mysql, login = self._stack.mysql, self._stack.mysql.logins.app
        at = Addresses(
            mysql.host, mysql.port, login.user, login.password, mysql.database, self._stack.redis.port, metrics_port
        )
        self._screen.part("4  Your turn", "Everything stays up until Ctrl-C. In another terminal, from this directory:")
        for what, command in by_hand.commands(at, self._rules.channels()):
            self._screen.gap()
            self._screen.paragraph(f"# {what}")
            self._screen.console.print(command, soft_wrap=True, markup=False)
        self.is_staying = True
        while True:
            signal.pause()


def _run(*, stays: bool) -> int:
    screen = Screen()
    live: Live | None = None
    screen.part("cdc-consumer on the real servers", _OPENING)
    try:
        with TemporaryDirectory(prefix="cdc-live-") as directory, Stack.start() as stack:
            live = Live(screen, stack)
            live.run(Path(directory) / "consumer.log", stays=stays)
    except MissingTool as missing:
        print(f"live: {missing}", file=sys.stderr)
        return 2
    except (CdcError, ConsumerEnded, TimeoutError, redis.RedisError, pymysql.MySQLError) as error:
        print(f"live: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if live is None or not live.is_staying:
            return 130
    return 1 if live.problems else 0


def main(
    ends: Annotated[bool, typer.Option("--exit", help="End after the script instead of staying up.")] = False,
) -> None:
    """An administrator's changes on a real MySQL, through Debezium and Kafka to Redis."""
    end_on_sigterm()
    raise typer.Exit(_run(stays=not ends))


if __name__ == "__main__":
    typer.run(main)
