"""The program's entry, with as little as can be before Ctrl-C ends it quietly."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; its modules take a moment to load."""
    try:
        from consumer.commands import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
