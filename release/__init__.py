"""What leaves this repository: the archives, what is in them, their licences, and the steps of a release.

Nothing here publishes anything.
"""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).parents[1]


class Refused(Exception):
    """A release can't go on: the message is one line for the person who makes it, and names what is at fault."""
