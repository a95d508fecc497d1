"""Dependencies, their licences, and the bill of materials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release import Refused, bom
from release.dependencies import Package, Tree, installed_needs, pins, resolve, runtime
from release.licences import Policy, licences, policy, stated, table
from tests.docs.markdown import PROJECT

_SHA = "2c" * 32
_EPOCH = 1_700_000_000
_FREE = Policy(frozenset({"MIT", "Apache-2.0"}), {})


@pytest.fixture(scope="module")
def tree() -> Tree:
    return runtime()


@pytest.fixture(scope="module")
def document(tree: Tree) -> str:
    return bom.document(tree, licences(tree.packages, policy(), stated), "1.2.3", _SHA, _EPOCH)


def _listed(document: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(document)["components"]}


def test_the_bill_lists_every_package_of_the_extras_as_pinned(document: str) -> None:
    listed = _listed(document)
    pinned = pins(PROJECT / "constraints.txt")
    assert {name: each["version"] for name, each in listed.items()}.items() <= pinned.items()
    own = {canonicalize_name(Requirement(each).name) for each in requires("cdc-consumer") or ()}
    assert own <= set(listed), "what the wheel's metadata names, with all extras"
    below = {
        "hiredis",
        "cryptography",
        "cffi",
        "psycopg-binary",
        "starlette",
        "protobuf",
        "pydantic-core",
        "markupsafe",
    }
    assert below <= set(listed), "what those need, and what their extras need"
    assert not {"pytest", "ruff", "mypy", "hatchling", "cdc-consumer"} & set(listed)


def test_the_bill_has_what_each_package_needs(document: str) -> None:
    graph = {each["ref"]: set(each.get("dependsOn", ())) for each in json.loads(document)["dependencies"]}
    refs = {each["bom-ref"] for each in _listed(document).values()}
    assert set(graph) == refs | {"cdc-consumer==1.2.3"}
    reached, waiting = set[str](), ["cdc-consumer==1.2.3"]
    while waiting:
        for ref in graph[waiting.pop()] - reached:
            reached.add(ref)
            waiting.append(ref)
    assert reached == refs


def test_the_bill_is_valid_and_has_a_licence_for_each_package(document: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    assert [name for name, each in _listed(document).items() if not each.get("licenses")] == []


def test_the_bill_is_the_same_again_and_names_no_host_and_no_folder(document: str, tree: Tree) -> None:
    again = bom.document(tree, licences(tree.packages, policy(), stated), "1.2.3", _SHA, _EPOCH)
    assert again == document
    parsed = json.loads(document)
    assert parsed["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert parsed.pop("$schema").startswith("http://cyclonedx.org/")
    rest = json.dumps(parsed)
    assert [word for word in ("://", str(PROJECT), str(Path.home()), "site-packages") if word in rest] == []


def _tree(stated: list[str], needs: Mapping[str, list[str]]) -> Tree:
    pinned = dict.fromkeys([*needs, *(each for each in "abc")], "1")
    return resolve(stated, pinned, lambda name, _: needs.get(name, []))


def test_an_extra_brings_what_it_needs_also_if_it_is_asked_for_late() -> None:
    needs = {"a": ["b"], "b": ['c; extra == "fast"'], "d": ["b[fast]"]}
    assert [each.name for each in _tree(["a"], needs).packages] == ["a", "b"]
    both = _tree(["d", "a"], needs), _tree(["a", "d"], needs)
    assert both[0] == both[1]
    assert both[0] == Tree(
        ("a", "d"),
        (Package("a", "1", ("b",)), Package("b", "1", ("c",)), Package("c", "1", ()), Package("d", "1", ("b",))),
    )


def test_a_circle_ends_and_a_marker_that_does_not_hold_counts_for_nothing() -> None:
    needs = {"a": ["b", 'missing; python_version < "3"'], "b": ["a"]}
    assert [each.needs for each in _tree(["A"], needs).packages] == [("b",), ("a",)]


def test_a_package_without_a_pin_is_refused_by_name() -> None:
    with pytest.raises(Refused, match=r"^missing: .*not pinned"):
        _tree(["a"], {"a": ["missing"]})


@pytest.mark.parametrize("name", ["pytest", "there-is-none-of-this-name"])
def test_a_package_that_is_not_installed_as_pinned_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refused, match=rf"^{name}: "):
        installed_needs(name, "0.0.1")


@pytest.mark.parametrize("line", ["a>=1", "a", "a==1,<2", "a @ file:///a.whl", "-r other.txt"])
def test_a_line_that_is_no_pin_is_refused(line: str, tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text(f"# pins\nb==2\n{line}\n")
    with pytest.raises(Refused, match=r"^constraints\.txt: not name==version: "):
        pins(file)


PACKAGES = [Package(name, "1", ()) for name in ("one", "two")]


@pytest.mark.parametrize(
    "said", ["MIT", "MIT OR GPL-3.0-only", "MIT AND Apache-2.0", "(MIT AND Apache-2.0) OR GPL-2.0-only"]
)
def test_a_licence_is_allowed(said: str) -> None:
    found = licences(PACKAGES, _FREE, lambda _: said)
    assert set(found) == {"one", "two"}
    assert table(PACKAGES, dict.fromkeys(found, "MIT")) == "one\t1\tMIT\ntwo\t1\tMIT\n"


@pytest.mark.parametrize(
    "said", ["GPL-3.0-only", "MIT AND GPL-3.0-only", "BSD License", "", "UNKNOWN", "MIT WITH GCC-exception-3.1"]
)
def test_a_licence_that_is_not_allowed_is_refused_by_name(said: str) -> None:
    with pytest.raises(Refused, match=r"^two: ") as refused:
        licences(PACKAGES, _FREE, {"one": "MIT", "two": said}.__getitem__)
    assert "one" not in str(refused.value)


def test_all_packages_with_such_a_licence_are_named_at_once() -> None:
    with pytest.raises(Refused, match=r"^one: .*GPL-3\.0-only.*; two: "):
        licences(PACKAGES, _FREE, {"one": "GPL-3.0-only", "two": "BSD"}.__getitem__)


def test_a_licence_that_a_person_read_counts_and_must_be_allowed_too() -> None:
    assert licences(PACKAGES, Policy(_FREE.allowed, {"two": "MIT"}), {"one": "MIT"}.__getitem__)["two"] == "MIT"
    with pytest.raises(Refused, match=r"^two: the licence GPL-3\.0-only"):
        licences(PACKAGES, Policy(_FREE.allowed, {"two": "GPL-3.0-only"}), lambda _: "MIT")


def test_a_reading_of_a_package_that_is_gone_is_refused_by_name() -> None:
    with pytest.raises(Refused, match=r"^gone: "):
        licences(PACKAGES, Policy(_FREE.allowed, {"gone": "MIT"}), lambda _: "MIT")
