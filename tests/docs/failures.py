"""The table of ``consumer/pipeline/policy.py`` as Markdown.

``python -m tests.docs.failures`` writes it into its page anew.
"""

from __future__ import annotations

from consumer.pipeline.policy import TABLE, Rule
from tests.docs.markdown import PROJECT

PAGE = PROJECT / "docs" / "failures.md"
_HEAD = "| failure | what follows | at the start | do |\n|---|---|---|---|\n"


def table() -> str:
    """The whole table, from its head to its last line."""
    return _HEAD + "".join(
        f"| {' '.join(f'`{name}`' for name in rule.names)} | {rule.action} | {_at_the_start(rule)} | {rule.advice} |\n"
        for rule in TABLE
    )


def _at_the_start(rule: Rule) -> str:
    if rule.is_package:
        return "exit 2, later too"
    return "exit 2" if rule.is_setting else "–"


if __name__ == "__main__":
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(_HEAD)
    PAGE.write_text(before + table(), encoding="utf-8")
