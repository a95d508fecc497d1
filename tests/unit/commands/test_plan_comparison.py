"""Two decisions about one record: which facts differ, how that is counted, and how it is shown."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from typer.testing import CliRunner

from consumer.commands.cli import app
from consumer.commands.shared.plan.aspects import Aspect, Kind, aspects, entries, template_of
from consumer.commands.shared.plan.columns import side_by_side
from consumer.commands.shared.plan.comparison import Comparison, RecordDifference, Times
from consumer.commands.shared.plan.comparison_text import to_text
from consumer.commands.shared.plan.pairs import Pairs
from consumer.errors import ConfigError
from consumer.events.record import SourceRecord
from consumer.mapping.file import parse, to_toml
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.mapping.streams import Streams
from consumer.planning.decision import decide_all
from consumer.planning.saved_decision import SavedDecision, from_line, saved, to_line
from consumer.source import recording
from tests.docs.markdown import PROJECT
from tests.support.scenario import load_all
from tests.unit.commands.snapshot import check_text

STORY = PROJECT / "demo" / "recordings" / "trading.jsonl.gz"
REFERENCE = to_toml(reference())
RULES = reference()


def changed(*pairs: tuple[str, str]) -> Rules:
    """The reference mapping with other texts in its file."""
    text = REFERENCE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


def compared(old: Rules, new: Rules, records: Sequence[SourceRecord], examples: int = 3) -> Comparison:
    found = Comparison(examples)
    pairs = Pairs(old, new, found)
    for each in zip(records, decide_all(records, old), decide_all(records, new), strict=True):
        pairs.add(*each)
    return found


def all_scenarios() -> list[SourceRecord]:
    every = [record for scenario in load_all() for record in scenario.records()]
    return [structs.replace(record, offset=at) for at, record in enumerate(every)]


CHANGES = {
    "a channel": [('"balance_updates"', '"cash_updates"')],
    "a derived key": [("user_stats:<type>:<id>", "stats:<type>:<id>")],
    "the config hash": [("user:{<type>:<id>}:config", "acct:{<type>:<id>}:settings")],
    "the guard": [('guard = "cdc:', 'guard = "versions:')],
    "a time to live": [("balance_ttl_s = 3600", "balance_ttl_s = 60")],
    "a rule's name": [('name = "trading"', 'name = "of trading"')],
    "a user type": [('user_type = "demo"', 'user_type = "practice"')],
    "a field's name": [('name = "leverage"', 'name = "leverage", field = "lever"'), ('"leverage",', '"lever",')],
    "streams": [("[names]", "[streams]\n\n[names]")],
    "a default": [('name = "mam_id"', 'name = "mam_id", default = "9"')],
}


@pytest.mark.parametrize("pairs", CHANGES.values(), ids=CHANGES)
def test_the_short_way_finds_what_a_comparison_of_all_facts_finds(pairs: list[tuple[str, str]]) -> None:
    """Of every scenario, with and without examples: without them, facts are found once for two shapes."""
    records, new = all_scenarios(), changed(*pairs)
    whole = Comparison()
    for record, old_one, new_one in zip(records, decide_all(records, RULES), decide_all(records, new), strict=True):
        whole.add(saved(record, old_one), saved(record, new_one))
    short = compared(RULES, new, records, examples=0)
    assert whole.different
    assert list(short.times()) == list(whole.times())
    assert (short.records, short.different, short.users) == (whole.records, whole.different, whole.users)


@pytest.mark.parametrize("rules", [RULES, replace(RULES, streams=Streams())], ids=["reference", "streams"])
def test_a_decision_is_the_same_after_it_was_saved(rules: Rules) -> None:
    records = all_scenarios()
    for record, decision in zip(records, decide_all(records, rules), strict=True):
        one = saved(record, decision)
        again = from_line(to_line(one))
        assert to_line(again) == to_line(one)
        assert aspects(again) == aspects(one)
        assert entries(one, again) == []


def test_equal_mappings_decide_alike() -> None:
    found = compared(RULES, parse(REFERENCE), all_scenarios())
    assert (found.different, list(found.times())) == (0, [])


@pytest.mark.parametrize(
    ("key", "user", "template"),
    [
        ("user_stats:live:7", "live:7", "user_stats:<type>:<id>"),
        ("user:{live:7}:config", "live:7", "user:{<type>:<id>}:config"),
        ("financial_summary:live:7:*", "live:7", "financial_summary:<type>:<id>:*"),
        ("v7:live:7", "live:7", "v7:<type>:<id>"),
        ("7/of/live", "live:7", "<id>/of/<type>"),
        ("alive:7:live:7", "live:7", "alive:<id>:<type>:<id>"),
        ("live:71:x", "live:7", "<type>:71:x"),
        ("a:b", "", "a:b"),
    ],
)
def test_the_template_of_a_key(key: str, user: str, template: str) -> None:
    assert template_of(key, user) == template


def one(effects: Sequence[dict[str, Any]], **parts: object) -> SavedDecision:
    base = {"topic": "t.d.live_users", "partition": 0, "offset": 4, "outcome": "planned", "reason": "a: x"}
    return from_line(json.dumps({**base, "user": "live:7", "effects": effects, **parts}))


def published(body: dict[str, Any]) -> dict[str, Any]:
    return {"effect": "publish", "channel": "c", "message": body}


def test_a_message_that_both_publish_differs_by_its_fields() -> None:
    old = one([published({"event_type": "x", "updated_fields": {"a": "1", "b": "2"}, "n": None})])
    new = one([published({"updated_fields": {"a": "1", "b": "3", "c": ""}, "event_type": "x", "n": None})])
    assert entries(old, new) == [
        (Aspect(Kind.MESSAGE_FIELD, "c", "updated_fields.b"), "2", "3"),
        (Aspect(Kind.MESSAGE_FIELD, "c", "updated_fields.c"), None, ""),
    ]
    assert entries(old, one([published({"n": None, "updated_fields": {"b": "2", "a": "1"}, "event_type": "x"})])) == []


def test_an_outcome_that_differs_is_counted_with_what_it_was() -> None:
    nothing = one([], outcome="nothing", reason="no mapped column changed", user=None)
    planned = one([{"effect": "invalidate", "keys": ["k:live:7"], "patterns": []}])
    found = Comparison()
    assert found.add(nothing, planned) is not None
    assert found.add(one([], outcome="ignored", user=None), nothing) is not None
    assert list(found.times()) == [
        (Aspect(Kind.OUTCOME, "ignored → nothing"), Times(0, 0, 1)),
        (Aspect(Kind.OUTCOME, "nothing → planned"), Times(0, 0, 1)),
        (Aspect(Kind.RULE, "a"), Times(1, 0, 0)),
        (Aspect(Kind.CLEARED, "k:<type>:<id>"), Times(1, 0, 0)),
    ]


def test_decisions_with_other_reasons_and_the_same_effects_are_told_apart() -> None:
    found = compared(RULES, changed(('name = "trading"', 'name = "of trading"')), all_scenarios())
    assert found.different == found.only_reasons > 0


def test_examples_that_differ_in_another_way_come_first() -> None:
    found = Comparison(examples=2)
    clears: Callable[..., list[dict[str, Any]]] = lambda *keys: [  # noqa: E731
        {"effect": "invalidate", "keys": keys, "patterns": []}
    ]
    for offset, keys in enumerate((["a:live:7"], ["a:live:7"], ["b:live:7"])):
        found.add(one([], offset=offset), one(clears(*keys), offset=offset))
    assert [each.new.offset for each in found.kept()] == [0, 2]


def test_what_an_early_version_saved_is_compared_without_what_it_lacks() -> None:
    (record, *_) = recording.read(STORY)
    (decision,) = decide_all([record], RULES)
    now = saved(record, decision)
    early = {name: value for name, value in json.loads(to_line(now)).items() if name not in ("guard", "because")}
    assert entries(from_line(json.dumps(early)), now) == []


WIDE = changed(
    ('"balance_updates"', '"cash_updates"'),
    ("user:{<type>:<id>}:portfolio", "book:{<type>:<id>}"),
    ("balance_ttl_s = 3600", "balance_ttl_s = 60"),
)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_longer_than_the_terminal_and_no_word_is_broken(width: int) -> None:
    found = compared(RULES, WIDE, list(recording.read(STORY)))
    text = to_text(found, "reference", "new.toml", width)
    assert max(map(len, text.splitlines())) <= width
    words = set(" ".join(to_text(found, "reference", "new.toml", 1000).split()).split())
    assert set(text.split()) <= words


@pytest.mark.parametrize("width", [80, 120])
def test_how_a_comparison_looks(width: int) -> None:
    trading = REFERENCE.index('name = "trading"')
    rule, rest = REFERENCE[trading:].split("[[consequences]]", 1)
    rule = rule.rstrip() + '\nchannels = ["risk_updates"]\n\n'
    rest = rest.replace('[profile]\nclears = [\n    "user_stats:<type>:<id>",', "[profile]\nclears = [")
    new = parse(REFERENCE[:trading] + rule + "[[consequences]]" + rest)
    found = compared(RULES, new, list(recording.read(STORY)), examples=1)
    page = to_text(found, "reference", "new.toml", width) + "\n"
    check_text(f"comparison.{width}.txt", page)
    assert width != 80 or page in (PROJECT / "docs" / "mapping.md").read_text(encoding="utf-8")


def test_words_too_long_for_columns_follow_each_other() -> None:
    rows = [("write a:key field", "one value", "v" * 30), ("clear k", "–", "yes")]
    assert list(side_by_side(("", "old", "new"), rows, 40)) == [
        "  write a:key field",
        "    old  one value",
        f"    new  {'v' * 30}",
        "  clear k",
        "    old  –",
        "    new  yes",
    ]
    assert list(side_by_side(("", "old", "new"), rows, 62)) == [
        "                     old        new",
        f"  write a:key field  one value  {'v' * 30}",
        "  clear k            –          yes",
    ]
    assert list(side_by_side(("", "old", "new"), [("a b", "several words in a cell", "x")], 24)) == [
        "       old           new",
        "  a b  several       x",
        "       words in a",
        "       cell",
    ]


def run(*arguments: object, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_a_run_that_fails_keeps_the_decisions_that_were_saved_before(tmp_path: Path) -> None:
    """They may be of the old version, which is gone."""
    file, damaged = tmp_path / "decisions.jsonl", tmp_path / "changes.jsonl"
    run(STORY, "--save", file)
    before = file.read_bytes()
    damaged.write_bytes(gzip.decompress(STORY.read_bytes()) + b"garbage")
    ran = CliRunner().invoke(app, ["plan", str(damaged), "--save", str(file)])
    assert isinstance(ran.exception, ConfigError)
    assert file.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["changes.jsonl", "decisions.jsonl"]


def test_decisions_are_saved_and_compared(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl.gz"
    assert run(STORY, "--save", file) == f"22 decisions in {file}\n"
    assert run(STORY, "--against-recording", file).endswith("22 records compared\nall are decided alike\n")
    mine = tmp_path / "mine.toml"
    mine.write_text(REFERENCE.replace('"balance_updates"', '"cash_updates"'))
    assert " messages on 2 channels" in run(STORY, "--against-recording", file, "--mapping", mine, code=1)
    lines = [json.loads(line) for line in run(STORY, "--against", mine, "--json", code=1).splitlines()]
    assert len(lines) == lines[-1]["different"] + 1
    assert {each["name"] for each in lines[0]["differences"]} == {"balance_updates", "cash_updates"}
    early = tmp_path / "early.jsonl"
    early.write_text(run(STORY, "--json"))
    assert "all are decided alike" in run(STORY, "--against-recording", early)


def test_decisions_about_other_records_are_refused(tmp_path: Path) -> None:
    lines = run(STORY, "--json").splitlines(keepends=True)
    file = tmp_path / "decisions.jsonl"

    def problem(text: str) -> str:
        file.write_text(text)
        ran = CliRunner().invoke(app, ["plan", str(STORY), "--against-recording", str(file)])
        return str(ran.exception)

    assert "line 1: about" in problem("".join(lines[1:]))
    assert "ends before the decision about" in problem("".join(lines[:-1]))
    assert "more decisions than there are records" in problem("".join([*lines, lines[0]]))
    assert "line 1: not a decision" in problem("hunter2\n")
    assert "hunter2" not in problem("hunter2\n")


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_MOST_LINE_BYTES", 3 << 20)
    file = tmp_path / "records.jsonl.gz"
    file.write_bytes(gzip.compress(b"x" * (64 << 20)))
    ran = CliRunner().invoke(app, ["plan", str(file)])
    assert "records.jsonl.gz: a line of more than 3 MB" in str(ran.exception)


@pytest.mark.parametrize("strange", ["9" * 5000, "[" * 5000 + "]" * 5000, '"\\ud800"'])
def test_a_saved_message_that_is_none_is_refused_with_its_line(tmp_path: Path, strange: str) -> None:
    lines = run(STORY, "--json").splitlines(keepends=True)
    effects = [json.loads(line)["effects"] for line in lines]
    at = next(at for at, each in enumerate(effects) if each and "message" in each[-1])
    message = json.dumps(effects[at][-1]["message"], separators=(",", ":"), ensure_ascii=False)
    assert message in lines[at]
    lines[at] = lines[at].replace(message, strange)
    file = tmp_path / "decisions.jsonl"
    file.write_text("".join(lines))
    ran = CliRunner().invoke(app, ["plan", str(STORY), "--against-recording", str(file)])
    assert f"line {at + 1}: not a decision" in str(ran.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        (STORY, "--from", "1h"),
        ("--from", "1h", "--against-recording", STORY),
        (STORY, "--against", "reference", "--against-recording", STORY),
        ("decisions", "--save", "decisions"),
        (STORY, "--mapping", "decisions", "--save", "decisions"),
        (STORY, "--against", "decisions", "--save", "decisions"),
        (STORY, "--against-recording", "decisions", "--save", "decisions"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments: tuple[object, ...]) -> None:
    ran = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    assert type(ran.exception).__name__ == "ConfigError"
    assert "fix: " in str(ran.exception)


def test_a_table_that_a_mapping_does_not_name_is_not_consumed_instead_of_rejected(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "reference"\nlinked = []\n')
    told = run(STORY, "--mapping", mine, "--against", "reference", "--json", code=1)
    outcomes = {each["new"]["outcome"] for line in told.splitlines()[:-1] if "record" in (each := json.loads(line))}
    assert "ignored" in outcomes
    assert "rejected" not in outcomes


def test_an_example_shows_only_what_the_mappings_write() -> None:
    found = compared(RULES, replace(RULES, balance_ttl_s=60), all_scenarios(), examples=9)
    assert all(isinstance(each, RecordDifference) for each in found.kept())
    assert "example.org" not in to_text(found, "old", "new", 80)
