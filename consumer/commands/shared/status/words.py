"""Times, sizes and shares as a person reads them, in few characters."""

from __future__ import annotations

from math import floor

_TIMES = ((86_400, "days"), (3600, "h"), (60, "min"))
_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def span(seconds: float) -> str:
    """Such as ``45 s``, ``3 min``, ``2 days``; the unit of which there are at least two."""
    for unit, name in _TIMES:
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: int) -> str:
    """Bytes, such as ``1.2 MB``."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def percent(share: float) -> str:
    """Never rounded up: 100 % is said only of all."""
    return f"{floor(share * 1_000_000) / 10_000:.4f}".rstrip("0").rstrip(".") + " %"


def counted(count: int, word: str) -> str:
    """``1 member``, ``2 members``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(counts: dict[str, int]) -> str:
    """Names with their numbers, the largest first."""
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )
