"""A short run of every target, and what the fuzzer itself promises."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import trial
from tests.fuzz.__main__ import main
from tests.fuzz.apart import run_apart
from tests.fuzz.run import input_of, run
from tests.fuzz.smaller import smallest
from tests.fuzz.target import Broken, Plain, Target, check_json, check_money, check_text
from tests.fuzz.targets import TARGETS
from tests.fuzz.trial import tried

# So many take one or two seconds; and outcomes that some of them have, so that not only the first step is tried.
SHORT = {
    "json": (900, {"planned", "nothing", "rejected: InvalidValue"}),
    "json-schema": (300, {"planned", "rejected: Undecodable"}),
    "avro": (400, {"planned", "rejected: Undecodable", "rejected: InvalidValue"}),
    "registry": (300, {"planned", "ServerError", "ServerUnavailable", "rejected: Undecodable"}),
    "keys": (1200, {"planned", "ignored", "rejected: Undecodable"}),
    "headers": (500, {"1 open, 0 strange, 0 of others", "0 open, 1 strange, 0 of others"}),
    "mapping": (250, {"accepted", "refused: ConfigError"}),
    "recordings": (150, {"read", "refused: ConfigError"}),
    "api": (600, {"GET 200", "GET 303", "GET 400", "GET 401", "POST 303", "POST 403"}),
    "cookies": (80, {"visit 200", "visit 401", "visit 403", "login 401", "logout 303", "wait"}),
    "settings": (40, {"loaded", "ConfigError"}),
    "connectors": (150, {"file: ConfigError", "ServerError"}),
}
SEED = 1


def test_every_target_has_a_short_run() -> None:
    assert SHORT.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", SHORT)
def test_no_rule_is_broken(name: str) -> None:
    inputs, outcomes = SHORT[name]
    report = run(TARGETS[name], SEED, inputs=inputs)
    assert report.findings == []
    assert report.inputs == inputs
    for outcome in outcomes:
        assert any(outcome in each for each in report.outcomes), outcome
    assert json.loads(json.dumps(report.line()))["distinct"] == len(report.outcomes)


@pytest.mark.parametrize("name", SHORT)
def test_an_input_depends_on_seed_and_number_alone(name: str) -> None:
    # Each undoes its patches when it is closed. The one that patched last must do so first, or its patches stay.
    with closing(TARGETS[name]()) as one, closing(TARGETS[name]()) as other:
        inputs = [input_of(one, SEED, number) for number in range(40)]
        assert [repr(input_of(other, SEED, number)) for number in reversed(range(40))] == [*map(repr, inputs[::-1])]
        assert len({*map(repr, inputs)}) > 20
        assert repr(eval(repr(inputs[0]))) == repr(inputs[0])  # noqa: S307  # what one puts into a test


class Bad(Target):
    """A target that fails in a known way."""

    name = "bad"

    def __init__(self, failure: str = "") -> None:
        self.failure = failure

    def make(self, chance: Random) -> Plain:
        return {"text": "x" * chance.randrange(50) + "!" * (chance.random() < 0.2), "more": [1, b"abc", None]}

    def attempt(self, given: Plain) -> str:
        if "!" not in given.get("text", ""):
            return "good"
        if self.failure == "exception":
            raise KeyError(given["text"])
        if self.failure == "slow":
            until = time.process_time() + 0.02
            while time.process_time() < until:
                pass
        if self.failure == "endless":
            while True:
                pass
        raise Broken(f"a rule: {given['text']}")

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("failure", "signature"), [("exception", "KeyError"), ("", "a rule"), ("endless", "TooLong")])
def test_a_finding_has_the_smallest_input(failure: str, signature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_ENDED_S", 0.1)
    report = run(lambda: Bad(failure), 1, inputs=40)
    (finding,) = report.findings
    assert finding.signature.startswith(signature)
    assert finding.input == "{'text': '!'}"
    assert finding.count > 1
    assert report.outcomes["good"] + finding.count == 40


def test_an_input_that_takes_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Bad):
        def attempt(self, given: Plain) -> str:
            with pytest.raises(Broken):
                super().attempt({"text": "!"})
            return "good"

    monkeypatch.setattr(trial, "MOST_S", 0.01)
    assert tried(Slow("slow"), {}).signature == "slow"
    monkeypatch.setattr(trial, "MOST_S", 1000.0)
    assert tried(Slow("slow"), {}).signature == ""


def test_an_input_that_takes_much_memory_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([1000, 1000 + trial.MOST_KB + 1, 1000, 1000 + trial.MOST_KB])
    monkeypatch.setattr(trial, "_peak_kb", lambda: next(peaks))
    assert tried(Bad(), {}).signature == "memory"
    assert tried(Bad(), {}).signature == ""


def test_the_smallest_input_breaks_the_same_rule() -> None:
    class Two(Bad):
        def attempt(self, given: Plain) -> str:
            if given.get("a", 0) > 10:
                raise Broken("too large: a")
            raise Broken("too small: a")

    assert smallest(Two(), {"a": 1000, "b": [1, 2, {"c": "d"}]}, "too large") == {"a": 15}


def test_the_command_repeats_an_input_and_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.jsonl"
    assert main(["--only", "keys", "--seed", "7", "--inputs", "50", "--report", str(report)]) == 0
    (line,) = map(json.loads, report.read_text().splitlines())
    assert [line[name] for name in ("target", "seed", "inputs", "findings")] == ["keys", 7, 50, []]
    assert {"seconds", "outcomes", "distinct", "commit", "version"} <= line.keys()
    assert capsys.readouterr().out.startswith("seed 7\nkeys: 50 inputs in ")
    assert main(["--only", "keys", "--seed", "7", "--number", "3"]) == 0
    with closing(TARGETS["keys"]()) as target:
        assert capsys.readouterr().out.startswith(repr(input_of(target, 7, 3)))
    with pytest.raises(SystemExit) as ended:
        main(["--only", "kays"])
    assert ended.value.code == 2
    assert "no such target: 'kays'" in capsys.readouterr().err


def test_the_command_says_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "TARGETS", {"bad": Bad})
    assert main(["--seed", "1", "--inputs", "40"]) == 1
    assert "    assert_well('bad', {'text': '!'})\n" in capsys.readouterr().out


class Ends(Bad):
    """A target whose third input ends the process."""

    def make(self, chance: Random) -> Plain:
        return chance.random()

    def attempt(self, given: Plain) -> str:
        if given == input_of(self, 1, 2):
            os._exit(7)
        return "good"


def test_a_run_goes_on_behind_an_input_that_ends_its_process() -> None:
    report = run_apart(Ends, 1, inputs=5)
    assert [(each.number, each.signature) for each in report.findings] == [(2, "the process ended: exit code 7")]
    assert report.inputs == 5
    assert report.outcomes == {"lost": 1, "good": 2}


@pytest.mark.parametrize("text", ["x" * 6000, "a\nb", "\ud800", "Traceback (most recent call last)", "canary-4Q7z"])
def test_texts_that_no_error_may_have(text: str) -> None:
    with pytest.raises(Broken):
        check_text(text)


def test_the_rules_of_values() -> None:
    for money in ("10.50", "-0.001", ""):
        check_money(money)
    for money in ("10.5", "1e3", "NaN", "01.00", "-"):
        with pytest.raises(Broken):
            check_money(money)
    with pytest.raises(Broken):
        check_json("{")
    with pytest.raises(Broken):
        check_json("1\n2")
