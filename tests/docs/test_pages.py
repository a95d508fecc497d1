"""The pages of docs/ against the code: settings, log actions, metrics, messages, links."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from consumer.commands.audit.cause import Cause
from consumer.commands.audit.exported import AuditMetrics
from consumer.mapping.reference import reference
from consumer.observability.metrics import Metrics
from consumer.pipeline.recovery import REBUILD
from consumer.planning.decision import decide
from consumer.settings.sources import Settings
from consumer.settings.variables import PREFIX
from consumer.source import recording
from tests.deploy.promql import watched
from tests.docs.markdown import PROJECT, blocks, pages, rows

DOCS = PROJECT / "docs"
_ACTION = re.compile(r'\baction(?:=|": )"([a-z]+\.[a-z_]+)"')
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def _defaults(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        full = f"{prefix}{name}".upper()
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _defaults(kind, f"{full}__")
            continue
        value = field.get_default(call_default_factory=True, validated_data={})
        yield full, _shown(value)


def _shown(value: object) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_setting_is_described_with_its_default() -> None:
    described = {name: default for name, default in rows(DOCS / "settings.md", 2) if name.startswith(PREFIX)}
    assert described == dict(_defaults(Settings, PREFIX))


def test_the_timeline_on_the_page_is_what_the_command_prints() -> None:
    (shown,) = blocks(DOCS / "audit.md", "text")
    assert shown == (PROJECT / "tests/unit/commands/screens/timeline.80.txt").read_text(encoding="utf-8")


def test_settings_in_the_readme_agree() -> None:
    defaults = dict(_defaults(Settings, PREFIX))
    named = {name: default for name, default in rows(PROJECT / "README.md", 2) if name.startswith(PREFIX)}
    assert named
    assert named.items() <= defaults.items()


def test_every_log_action_is_described() -> None:
    said = {action for file in (PROJECT / "consumer").rglob("*.py") for action in _ACTION.findall(file.read_text())}
    every = [page for page in DOCS.glob("*.md") if page.name != "failures.md"]  # which names exceptions
    first = [cell for page in every for (cell,) in rows(page, 1)]
    described = {action for action in first if re.fullmatch(r"[a-z]+\.[a-z_]+", action)}
    assert described == said


def test_every_metric_is_described() -> None:
    registries = Metrics().registry, AuditMetrics().registry, *(each.registry for each in watched())
    exported = {family.name for registry in registries for family in registry.collect()}
    first = [cell for page in DOCS.glob("*.md") for (cell,) in rows(page, 1)]
    named = {name for name in first if re.fullmatch(r"(cdc|process)(_[a-z]+)+", name)}
    assert named == exported


def test_an_emptied_redis_is_rebuilt_in_one_way_that_is_written_in_one_place() -> None:
    """The advice of the log, which a test carries out as it is written, stands in the runbook's page as it is."""
    text = (DOCS / "rebuild.md").read_text(encoding="utf-8")
    assert blocks_of_commands(text).count(REBUILD) == 1
    for page in pages():
        assert "--from beginning --to end --rebuild" not in page.read_text(encoding="utf-8"), page.name


def test_no_page_sets_offsets_back_for_an_emptied_redis() -> None:
    """That publishes everything again. The page about topics that are lost does it, and is about no emptied Redis."""
    sections = [
        (page, part) for page in pages() for part in re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.M)
    ]
    backward = re.compile(r"--reset-offsets(?! --to-latest)|DEL cdc:offsets|--shift-by")
    assert [page.name for page, part in sections if backward.search(part)] == ["runbooks.md"]
    emptied = [(page.name, part) for page, part in sections if "emptied" in part and page.name != "CHANGELOG.md"]
    assert emptied
    assert [name for name, part in emptied if backward.search(part)] == []


def test_nobody_is_sent_to_an_index() -> None:
    """The project is on none, so anybody could register its name there."""
    sent = re.compile(r"\bpip3? install\b[^\n|;&]*[\s'\"]cdc[-_]consumer(?=[\s'\"\[`=<>~;]|$)", re.MULTILINE)
    assert sent.search("pip install --upgrade 'cdc-consumer[mysql]'")
    assert not sent.search("pip install './cdc_consumer-VERSION-py3-none-any.whl[mysql]'")
    endings = {".md", ".py", ".toml", ".yaml", ".yml", ".service", ".env", ".sh", ".lua", ".txt", ".json", ""}
    places = [PROJECT / ".ci", *(each for each in PROJECT.iterdir() if not each.name.startswith("."))]
    files = [
        file for place in places for file in (place, *place.rglob("*")) if file.suffix in endings and file.is_file()
    ]
    assert {PROJECT / "README.md", PROJECT / "Dockerfile", PROJECT / "consumer" / "errors.py"} <= set(files)
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in files if file != Path(__file__)}
    assert [str(file.relative_to(PROJECT)) for file, text in texts.items() if sent.search(text)] == []


def blocks_of_commands(text: str) -> list[str]:
    """The indented lines of a page."""
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def test_every_cause_of_an_audit_is_described() -> None:
    described = [cause for cause, *_ in rows(DOCS / "audit.md", 3) if cause in set(Cause)]
    assert described == list(Cause), "the first one counts"


def test_the_message_in_the_docs_is_one_of_the_recording() -> None:
    (shown,) = (json.loads(text) for text in blocks(DOCS / "events.md", "json"))
    described = {name for (cell,) in rows(DOCS / "events.md", 1) for name in cell.replace("`", "").split(", ")}
    records = recording.read(PROJECT / "demo" / "recordings" / "trading.jsonl.gz")
    plans = [plan for record in records if (plan := decide(record, reference()).plan) is not None]
    sent = [json.loads(message.body) for plan in plans for message in plan.messages]
    assert set(shown) in [set(body) for body in sent]
    assert set(shown) <= described
    types = {body["event_type"] for body in sent}
    assert types <= described


def test_every_channel_and_event_type_is_described() -> None:
    rules = reference()
    every = (*rules.consequences, rules.profile, rules.outside)
    channels = {channel for each in every for channel in each.channels} | {rules.names.lifecycle_channel}
    described = {cell for (cell,) in rows(DOCS / "events.md", 1)}
    planning = PROJECT / "consumer" / "planning"
    source = "".join((planning / name).read_text() for name in ("plan.py", "user_shapes.py"))
    types = set(re.findall(r'"(\w+_(?:change|update|created|deleted))"', source)) - {"last_admin_update"}
    assert len(types) == 5
    assert channels | types <= described


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_of_the_project_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.])((?:deploy|tests|benchmarks)/[\w./-]*\w)", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_package_has_its_line() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = PROJECT / "consumer"
    packages = {file.parent.name for file in package.glob("*/__init__.py")}
    lines = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert packages <= {name for line in lines for name in re.findall(r"`([a-z_]+)`", line)}
    named = re.findall(rf"`((?:{'|'.join(packages)})/[a-z_/]+)`", text)
    assert [each for each in named if not list(package.glob(f"{each}*"))] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    packages = {re.split(r"[\[<>=~! ]", each, maxsplit=1)[0] for each in project["dependencies"]}
    record = (DOCS / "decisions" / "0001-dependencies.md").read_text(encoding="utf-8")
    first_cells = {name for line in record.splitlines() if line.startswith("|") for name in re.findall(r"[\w-]+", line)}
    assert packages <= first_cells
    assert [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in record] == []
