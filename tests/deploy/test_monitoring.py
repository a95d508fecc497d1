"""The dashboard and the alert rules: they name metrics and labels that exist, and the alerts do what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from tests.deploy.promql import Asked, asked, audited, eventful, exported
from tests.docs.markdown import PROJECT
from tests.support.stack.machine import Apt

ALERTS = PROJECT / "deploy" / "prometheus" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.test.yaml")
DASHBOARD = json.loads((PROJECT / "deploy" / "grafana" / "cdc-consumer.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPORTED = exported()
# Alerts on the first sign of something that can't be there in good order; each of their cases is the sign itself.
NEVER_SILENT = {"OffsetJumped", "OtherDatabase", "TopicRefused", "ConnectorRefused"}
_SHOWN = re.compile(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}")
_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


def _expressions() -> Iterator[tuple[str, str, set[str]]]:
    """Where each stands, itself, and the labels that are shown of its answer."""
    for rule in RULES:
        shown = {name for text in rule["annotations"].values() for name in _SHOWN.findall(text)}
        yield rule["alert"], rule["expr"], shown
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']}: {target['refId']}", target["expr"], set(_SHOWN.findall(target["legendFormat"]))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = _VALUES.fullmatch(variable["definition"])
            assert found, variable["definition"]
            yield variable["name"], found[1], {found[2]}


@pytest.mark.parametrize(("place", "expression", "shown"), [pytest.param(*each, id=each[0]) for each in _expressions()])
def test_metrics_and_labels_exist(place: str, expression: str, shown: set[str]) -> None:
    selectors = list(asked(expression))
    assert selectors
    for each in selectors:
        assert each.name in EXPORTED, place
        assert each.matched | (each.by or frozenset()) <= EXPORTED[each.name], place
    assert shown <= set().union(*(_left(each) for each in selectors)), place


def _left(selector: Asked) -> frozenset[str]:
    """The labels of the answer."""
    return EXPORTED[selector.name] if selector.by is None else selector.by


def test_what_does_not_exist_is_noticed() -> None:
    assert [each.name for each in asked("rate(cdc_nothing_total[5m]) / on (x) up")] == ["cdc_nothing_total", "up"]
    with pytest.raises(ValueError, match=r".+"):
        list(asked("sum by (topic cdc_changes_total"))


def test_every_metric_of_this_program_is_on_the_dashboard() -> None:
    shown = {each.name for panel in PANELS for target in panel["targets"] for each in asked(target["expr"])}
    own = {name for name in EXPORTED if name.startswith("cdc_") and not name.endswith("_created")}
    assert own - shown == set()


def test_panels_do_not_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_what_to_do_about_each_alert_is_described() -> None:
    named = [rule["alert"] for rule in RULES]
    page = (PROJECT / "docs" / "observe.md").read_text(encoding="utf-8")
    section = page.partition("### Dashboard and alerts\n")[2].partition("\n## ")[0]
    described = re.findall(r"^\| ([A-Z]\w+) \|", section, re.MULTILINE)
    assert described == named


def test_every_alert_has_a_severity_and_says_what_is_wrong() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


def _promtool(folder: Path) -> str | None:
    """In CI nothing is skipped for want of a tool: Debian's package is unpacked, and not installed."""
    if (found := shutil.which("promtool")) or os.environ.get("CI") != "true":
        return found
    Apt.of_a_test(folder).unpack("prometheus", folder)
    return str(folder / "usr" / "bin" / "promtool")


def test_every_alert_fires_in_a_case_and_is_silent_in_another() -> None:
    cases = [asked for each in yaml.safe_load(CASES.read_text())["tests"] for asked in each["alert_rule_test"]]
    named = {rule["alert"] for rule in RULES}
    assert {each["alertname"] for each in cases if each["exp_alerts"]} == named
    assert named - {each["alertname"] for each in cases if not each["exp_alerts"]} <= NEVER_SILENT


@pytest.mark.slow
def test_promtool_accepts_the_rules_their_tests_and_the_page(tmp_path: Path) -> None:
    promtool = _promtool(tmp_path)
    if promtool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(CASES, tmp_path)
    page = b"".join(generate_latest(each.registry) for each in (eventful(), audited())).decode()
    for words in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"], ["check", "metrics"]):
        ran = subprocess.run(
            [promtool, *words], cwd=tmp_path, input=page, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
