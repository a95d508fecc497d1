"""The client of the registry: answers that real registries give, and its own refusals. TLS: ``integration.secure``."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from consumer.errors import ConfigError, RecordError, ServerError, ServerUnavailable, Undecodable
from consumer.settings.sections import Registry as Settings
from consumer.source.registry import Registry

SCHEMA = '{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}'


def registry(answer: httpx.Response | Exception, asked: list[httpx.Request] | None = None, **settings: str) -> Registry:
    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    url = settings.pop("url", "http://registry.test/apis/ccompat/v7/")
    password = settings.pop("password", None)
    secret = SecretStr(password) if password else None
    return Registry(Settings(url=url, password=secret, **settings), httpx.MockTransport(handle))


def test_an_answer_that_is_nested_too_deeply_is_no_schema() -> None:
    with pytest.raises(ServerError, match="without a schema"):
        registry(httpx.Response(200, content=b"[" * 100_000)).schema(7)


def test_an_id_is_asked_for_once() -> None:
    asked: list[httpx.Request] = []
    known = registry(httpx.Response(200, json={"schema": SCHEMA}), asked)
    assert known.schema(7) is known.schema(7)
    assert [str(each.url) for each in asked] == ["http://registry.test/apis/ccompat/v7/schemas/ids/7"]
    known.schema(8)
    assert len(asked) == 2


def test_basic_authentication() -> None:
    asked: list[httpx.Request] = []
    registry(httpx.Response(200, json={"schema": SCHEMA}), asked, user="me", password="hunter2").schema(1)
    assert asked[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:hunter2").decode()


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (httpx.ConnectError("refused"), ServerUnavailable, "ConnectError"),
        (httpx.ReadTimeout("slow"), ServerUnavailable, "ReadTimeout"),
        (httpx.Response(503), ServerUnavailable, "503"),
        (httpx.Response(429), ServerUnavailable, "429"),
        (httpx.Response(401), ConfigError, "CDC_REGISTRY__USER: .* does not accept this user and password"),
        (httpx.Response(403), ConfigError, "CDC_REGISTRY__USER: .* this account lacks the right"),
        (httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"}), Undecodable, "no schema 7"),
        (httpx.Response(404, text="<html>no such page</html>"), ServerError, "404 without a schema"),
        (httpx.Response(200, text="<html>hello</html>"), ServerError, "without a schema"),
        (httpx.Response(200, json=[1]), ServerError, "without a schema"),
        (httpx.Response(200, json={"schema": 7}), ServerError, "without a schema"),
        (httpx.Response(302, headers={"Location": "/login"}), ServerError, "302"),
        (httpx.Response(200, json={"schema": "syntax", "schemaType": "PROTOBUF"}), Undecodable, "PROTOBUF"),
        (
            httpx.Response(200, json={"schema": SCHEMA, "references": [{"name": "x"}]}),
            Undecodable,
            "refers to other schemas",
        ),
        (httpx.Response(200, json={"schema": "{"}), Undecodable, "not Avro"),
        (httpx.Response(200, json={"schema": '"no.such.Type"'}), Undecodable, "not Avro"),
    ],
)
def test_what_a_registry_may_answer(
    answer: httpx.Response | Exception, kind: type[ServerError | RecordError | ConfigError], said: str
) -> None:
    with pytest.raises(kind, match=said) as refusal:
        registry(answer).schema(7)
    assert type(refusal.value) is kind


def test_what_failed_is_asked_again() -> None:
    answers = iter([httpx.Response(503), httpx.Response(200, json={"schema": SCHEMA})])
    known = Registry(Settings(url="http://registry.test"), httpx.MockTransport(lambda _: next(answers)))
    with pytest.raises(ServerUnavailable):
        known.schema(1)
    assert known.schema(1).columns.keys() == {"id"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_by_one_that_has_accepted_us_may_pass(status: int) -> None:
    answers = iter([httpx.Response(200, json={"schema": SCHEMA}), httpx.Response(status)])
    known = Registry(Settings(url="http://registry.test"), httpx.MockTransport(lambda _: next(answers)))
    known.schema(1)
    with pytest.raises(ServerUnavailable, match=str(status)):
        known.schema(2)


def test_the_authority_must_be_a_file_of_certificates(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    for step in ("missing", "empty"):
        with pytest.raises(ConfigError, match="CDC_REGISTRY__CA"):
            Registry(Settings(url="https://registry.test", ca=wrong))
        wrong.write_text(step)


def test_no_password_in_the_address() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Settings(url="http://me:hunter2@registry.test")
