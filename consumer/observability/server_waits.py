"""How long nothing went on for want of a server, and of which."""

from __future__ import annotations

from collections.abc import Mapping


class ServerWaits:
    """Each of those who wait (``who``) waits for one server at a time. Times are seconds of one clock."""

    def __init__(self) -> None:
        # Replaced as one, for others read it meanwhile: who waits for which server, seconds until a moment, the moment.
        self._state: tuple[Mapping[str, str], Mapping[str, float], float] = ({}, {}, 0.0)

    def began(self, who: str, server: str, now: float) -> None:
        """Also said again and again while it lasts."""
        self._state = ({**self._state[0], who: server}, self.seconds(now), now)

    def ended(self, who: str, now: float) -> None:
        """``who`` goes on, or never waited."""
        left = {each: server for each, server in self._state[0].items() if each != who}
        self._state = (left, self.seconds(now), now)

    def servers(self) -> list[str]:
        """Those that are waited for now."""
        return sorted(set(self._state[0].values()))

    def seconds(self, now: float) -> Mapping[str, float]:
        """In all, of each server that was ever waited for. Two who wait for one server wait once."""
        away, spent, at = self._state
        lasting = dict.fromkeys(away.values(), max(0.0, now - at))
        return {server: spent.get(server, 0.0) + lasting.get(server, 0.0) for server in {*spent, *lasting}}
