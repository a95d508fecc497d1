"""Several processes that are one server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.stack.server import Server


class Nodes:
    """The ``Runtime`` of several servers as one; faults hit all of them, a single one has its own."""

    def __init__(self, nodes: Sequence[Server]) -> None:
        self._nodes = nodes

    @property
    def running(self) -> bool:
        return all(node.runtime.running for node in self._nodes)

    @property
    def log(self) -> str:
        return self._nodes[0].runtime.log

    def tail(self) -> str:
        return "\n".join(f"[{node.name}]\n{node.runtime.tail()}" for node in self._nodes)

    def start(self) -> None:
        for node in self._nodes:
            node.runtime.start()

    def stop(self, timeout_s: float) -> None:
        self._each(lambda node: node.runtime.stop(timeout_s))

    def kill(self) -> None:
        self._each(lambda node: node.runtime.kill())

    def freeze(self) -> None:
        self._each(lambda node: node.runtime.freeze())

    def thaw(self) -> None:
        self._each(lambda node: node.runtime.thaw())

    def discard(self) -> None:
        self._each(lambda node: node.runtime.discard())

    def _each(self, act: Callable[[Server], None]) -> None:
        for node in self._nodes:
            act(node)
