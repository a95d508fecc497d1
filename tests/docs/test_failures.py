"""docs/failures.md against the table in the program."""

from __future__ import annotations

from tests.docs.failures import PAGE, table


def test_the_page_has_the_table_in_force() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith("\n\n" + table()), "python -m tests.docs.failures"
