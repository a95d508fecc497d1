"""Changes of many users, round after round, while something happens to Redis; and what must be there in the end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import redis
from msgspec.structs import replace

from consumer.errors import Reconnected, ServerUnavailable
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan, Publish
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.test_states import plan_for
from tests.support.redis_server import RedisServer
from tests.support.redis_view import Client, Listener, dump, eventually

USERS = range(1, 31)
_PATIENCE_S = 60.0


class Load:
    """Deposits of all users, applied by ``sink`` as the pipeline does it: what may be lost is done again, silently."""

    def __init__(self, sink: RedisSink, before: Callable[[], None] = lambda: None) -> None:
        """``before`` is called before each round."""
        self._sink = sink
        self._before = before
        self._done: list[Plan] = []
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self.rounds = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Some rounds before, as many as there is time for inside, some after."""
        self._thread.start()
        self.wait(3)
        try:
            yield
            self.wait(5)
        finally:
            self._stop.set()
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def wait(self, rounds: int) -> None:
        """Until so many more rounds are done."""
        goal = self.rounds + rounds
        eventually(lambda: self.rounds >= goal or self._failure, _PATIENCE_S, "nothing goes on")
        assert self._failure is None, self._failure

    def messages(self) -> Counter[tuple[str, str]]:
        """Each message that somebody has to hear, by channel and event."""
        return Counter(
            (each.channel, json.loads(each.body)["event_id"])
            for number in range(1, self.rounds + 1)
            for plan in plans_of(number)
            for each in plan.messages
        )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._before()
                self._apply(plans_of(self.rounds + 1))
                self.rounds += 1
        except BaseException as error:
            self._failure = error

    def _apply(self, plans: Sequence[Plan]) -> None:
        left = list(plans)

        def is_done() -> bool:
            nonlocal left
            answered = set()
            try:
                for at, answer in self._sink.apply(left):
                    if isinstance(answer, Applied):
                        answered.add(at)
                    else:
                        assert isinstance(answer, ServerUnavailable), answer
            except ServerUnavailable:
                pass
            except Reconnected:
                self._sink.accept_new_connection()
                again = [plan.repeated() for plan in self._done]
                left = [plan for at, plan in enumerate(left) if at not in answered and not plan.is_repeated]
                # The last rounds: as far back as a second of a busy program reaches.
                left = [*again[-10 * len(USERS) :], *left]
                return False
            self._done += [plan for at, plan in enumerate(left) if at in answered and not plan.is_repeated]
            left = [plan for at, plan in enumerate(left) if at not in answered]
            return not left

        eventually(is_done, _PATIENCE_S, "the plans are not taken")


def plans_of(number: int) -> list[Plan]:
    """The deposits of a round, each with messages of its own."""
    return [_plan(user_id, number) for user_id in USERS]


def _plan(user_id: int, number: int) -> Plan:
    plan = plan_for(user_id, "A deposit", number)
    plan = replace(plan, values={**plan.values, "wallet_balance": f"{number}.00"})
    return plan.publishing([_named(message, f"{user_id}/{number}") for message in plan.messages])


def _named(message: Publish, event_id: str) -> Publish:
    return Publish(message.channel, json.dumps({**json.loads(message.body), "event_id": event_id}))


def expected(sink: RedisSink, client: Client, rounds: int) -> dict[str, bytes]:
    """What stands there when nothing happens: the first round and the last."""
    client.flushall()
    sink.accept_new_connection()
    for number in (1, rounds):
        with suppress(Reconnected):
            list(sink.apply(plans_of(number)))
        sink.accept_new_connection()
        list(sink.apply(plans_of(number)))
    return dump(client)


class Ears:
    """A listener at each of some nodes."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self._clients = [node.connect() for node in nodes]
        self._listeners = [Listener(client) for client in self._clients]

    def heard(self) -> list[Counter[tuple[str, str]]]:
        """By node: how often each message came."""
        for listener in self._listeners:
            listener.caught_up()
        return [
            Counter((channel, str(body["event_id"])) for channel, body in listener.heard())
            for listener in self._listeners
        ]

    def close(self) -> None:
        for listener, client in zip(self._listeners, self._clients, strict=True):
            with suppress(redis.RedisError):
                listener.close()
            client.close()
