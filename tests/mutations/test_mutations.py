"""The mutations of ``python -m tests.mutations`` still name text of the package."""

from __future__ import annotations

import pytest

from tests.mutations.mutation import PROJECT, Mutation, NotFound, load

MUTATIONS = [mutation for suite in load() for mutation in suite.mutations]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.title)
def test_its_text_stands_there_exactly_once(mutation: Mutation) -> None:
    text = (PROJECT / "consumer" / mutation.file).read_text()
    assert mutation.applied(text) != text


@pytest.mark.parametrize("text", ["nothing of it", "twice, twice"])
def test_a_text_that_is_not_there_exactly_once_is_an_error(text: str) -> None:
    with pytest.raises(NotFound, match=r"'a title'.*consumer/sink\.py"):
        Mutation("a rule", "a title", "sink.py", "twice", "").applied(text)


def test_every_rule_that_must_be_noticed_is_taken_away() -> None:
    assert {each.rule for each in MUTATIONS} == {
        "the guard",
        "the reply check",
        "the wait before commit",
        "the generation of an assignment",
        "the place to go on from",
        "the whole-image rule",
        "the publish-last order",
        "applying dead letters again",
        "one database",
        "the tables of a topic",
        "who may see a page of the console",
        "who may act in the console",
        "how often something may be asked of the console",
        "what a page of the console may show",
    }
