"""Writer schemas from a schema registry with Confluent's REST API. Each id is asked once, because it never changes."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from consumer.errors import ConfigError, ServerError, ServerUnavailable, Undecodable
from consumer.events.avro import AvroSchema, no_such_schema, read_schema
from consumer.net.http_client import HttpServer, json_of
from consumer.net.tls import Files
from consumer.pipeline.policy import failure
from consumer.settings.sections import Registry as RegistrySettings

SERVER = "schema registry"
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_NOT_CONFLUENT = "set CDC_REGISTRY__URL to the base URL of Confluent's API (Apicurio: …/apis/ccompat/v7)"


class Registry:
    """A schema registry. Before its first valid answer a refusal is a wrong setting; later it counts as temporary."""

    def __init__(self, settings: RegistrySettings, transport: httpx.BaseTransport | None = None) -> None:
        if settings.url is None:
            raise ConfigError("CDC_REGISTRY__URL", "is not set", allowed="http:// or https://")
        self._server = HttpServer("CDC_REGISTRY", settings.url, settings.user, settings.password, Files.of(settings))
        self._schemas: dict[int, AvroSchema] = {}
        self._has_accepted = False
        self._client = self._server.client(settings.timeout_ms / 1000, transport, _ACCEPT)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def reach(self) -> None:
        """Send a request that every account may send.

        Raises:
            ServerUnavailable: the registry can't answer now.
            ConfigError: the registry refuses this account, or TLS fails.

        """
        self._get("/schemas/types")

    def schema(self, number: int) -> AvroSchema:
        """The schema with the id ``number``.

        Raises:
            Undecodable: there is none, or it is not Avro.
            ServerUnavailable: the registry can't answer now.
            ServerError: the server is not a registry.
            ConfigError: as :meth:`reach`.

        """
        found = self._schemas.get(number)
        if found is None:
            found = self._schemas[number] = self._ask(number)
        return found

    def subjects(self) -> frozenset[str]:
        """The names of all subjects.

        Raises:
            ServerError: as :meth:`schema`.

        """
        answer = self._get("/subjects")
        names = _json(answer)
        if not answer.is_success or not isinstance(names, list):
            raise ServerError(self._name, f"answers {answer.status_code} without subjects", _NOT_CONFLUENT)
        return frozenset(map(str, names))

    def latest(self, subject: str) -> str:
        """The newest schema of a subject, as JSON text.

        Raises:
            Undecodable, ServerError: as :meth:`schema`.

        """
        return self._schema(f"subject {subject}", self._get(f"/subjects/{quote(subject, safe='')}/versions/latest"))

    def _ask(self, number: int) -> AvroSchema:
        answer = self._get(f"/schemas/ids/{number}")
        if answer.status_code == 404 and "error_code" in _object(answer):
            raise no_such_schema(number, "in the registry")
        return read_schema(self._schema(f"schema {number}", answer))

    def _get(self, path: str) -> httpx.Response:
        try:
            answer = self._client.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if not self._has_accepted and (wrong := self._server.unreached(self._name)) is not None:
                raise wrong from None
            raise failure(self._name, error, f"{type(error).__name__}: {error}") from None
        status = answer.status_code
        if status == 400 and (wrong := self._server.unreached(self._name)) is not None:
            raise wrong  # some servers answer 400 to a client without TLS
        if status in (408, 425, 429) or answer.is_server_error:
            raise ServerUnavailable(self._name, f"answers {status} {answer.reason_phrase}")
        if status in (401, 403):
            refused = self._server.refused(self._name, status)
            if not self._has_accepted:
                raise refused
            raise ServerUnavailable(
                self._name, f"answers {status}", f"restore the rights of the account in {refused.field}"
            )
        self._has_accepted = True
        return answer

    def _schema(self, what: str, answer: httpx.Response) -> str:
        body = _object(answer)
        text = body.get("schema")
        if not answer.is_success or not isinstance(text, str):
            raise ServerError(self._name, f"answers {answer.status_code} without a schema", _NOT_CONFLUENT)
        if (kind := body.get("schemaType", "AVRO")) != "AVRO":
            raise Undecodable(f"{what} is of type {kind}", advice="use an Avro or JSON converter")
        if body.get("references"):
            raise Undecodable(f"{what} refers to other schemas", advice="let the converter register whole schemas")
        return text

    @property
    def _name(self) -> str:
        return f"{SERVER} {self._client.base_url}".rstrip("/")


def _object(answer: httpx.Response) -> dict[str, object]:
    body = _json(answer)
    return body if isinstance(body, dict) else {}


def _json(answer: httpx.Response) -> object:
    try:
        return json_of(answer)
    except ValueError:
        return None
