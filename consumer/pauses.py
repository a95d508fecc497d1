"""How long nothing went on for want of a server, and of which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Pauses:
    """Each of those who wait (``who``) waits for one server at a time. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._away: dict[str, str] = {}
        self._spent: Counter[str] = Counter()
        self._at = 0.0

    def began(self, who: str, server: str, now: float) -> None:
        """Also said again and again while it lasts."""
        self._spent = Counter(self.seconds(now))
        self._at = now
        self._away = {**self._away, who: server}

    def ended(self, who: str, now: float) -> None:
        """``who`` goes on, or never waited."""
        self._spent = Counter(self.seconds(now))
        self._at = now
        self._away = {each: server for each, server in self._away.items() if each != who}

    def servers(self) -> list[str]:
        """Those that are waited for now."""
        return sorted(set(self._away.values()))

    def seconds(self, now: float) -> Mapping[str, float]:
        """In all, of each server that was ever waited for. Two who wait for one server wait once."""
        lasting = {server: max(0.0, now - self._at) for server in self.servers()}
        return {server: self._spent[server] + lasting.get(server, 0.0) for server in {*self._spent, *lasting}}
