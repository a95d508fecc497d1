"""How long the program has waited for each server."""

from __future__ import annotations

from collections.abc import Mapping


class ServerWaits:
    """Each part of the program (``who``) waits for one server at a time. Times are seconds of one clock."""

    def __init__(self) -> None:
        # One tuple, because other threads read it: server by part, seconds until a time by server, that time.
        self._state: tuple[Mapping[str, str], Mapping[str, float], float] = ({}, {}, 0.0)

    def began(self, who: str, server: str, now: float) -> None:
        """``who`` waits for ``server``; may be called repeatedly during one wait."""
        self._state = ({**self._state[0], who: server}, self.seconds(now), now)

    def ended(self, who: str, now: float) -> None:
        """``who`` waits no more."""
        left = {each: server for each, server in self._state[0].items() if each != who}
        self._state = (left, self.seconds(now), now)

    def servers(self) -> list[str]:
        """The servers that are waited for now."""
        return sorted(set(self._state[0].values()))

    def seconds(self, now: float) -> Mapping[str, float]:
        """The total seconds for each server. Two parts that wait for one server at the same time count once."""
        away, spent, at = self._state
        lasting = dict.fromkeys(away.values(), max(0.0, now - at))
        return {server: spent.get(server, 0.0) + lasting.get(server, 0.0) for server in {*spent, *lasting}}
