"""``python -m tests.wire.record``: record every format anew, from the real servers."""

from __future__ import annotations

import sys

from consumer.errors import CdcError
from tests.support.stack import MissingTool, Stack
from tests.support.stack.trading import Trading
from tests.wire.taken import save, take


def main() -> int:
    """Answers the exit code."""
    try:
        with (
            Stack.start(("mysql",), (), registry=True) as stack,
            stack.mysql.connect(stack.mysql.logins.app) as connection,
        ):
            found = take(stack, Trading(connection), "wire")
    except (MissingTool, CdcError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    save(found)
    for name, taken in found.items():
        print(f"{name}: {len(taken.records)} records, {len(taken.texts)} schemas")
    return 0


if __name__ == "__main__":
    sys.exit(main())
