"""What is recorded, and where the recording lies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PREFIX: Final = "trading"
DATABASE: Final = "trading"
TABLES: Final = ("live_users", "demo_users", "user_transactions")
"""The tables whose topics are recorded: those that the script writes to."""
TOPICS: Final = tuple(f"{PREFIX}.{DATABASE}.{table}" for table in TABLES)

_HERE = Path(__file__).with_name("recordings")
RECORDING: Final = _HERE / "trading.jsonl.gz"
EXPECTED: Final = _HERE / "expected.json"
STORY: Final = _HERE / "story.json"
