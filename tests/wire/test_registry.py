"""The registry's client against answers as real registries give them, and its own refusals."""

from __future__ import annotations

import base64
import ssl
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from consumer.errors import ConfigError, RecordError, ServerError, ServerUnavailable, Undecodable
from consumer.registry import Registry
from consumer.sections import Registry as Settings

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
        (httpx.Response(401), ServerError, "401"),
        (httpx.Response(403), ServerError, "403"),
        (httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"}), Undecodable, "no schema 7"),
        (httpx.Response(404, text="<html>no such page</html>"), ServerError, "404 without a schema"),
        (httpx.Response(200, text="<html>hello</html>"), ServerError, "without a schema"),
        (httpx.Response(200, json=[1]), ServerError, "without a schema"),
        (httpx.Response(200, json={"schema": 7}), ServerError, "without a schema"),
        (httpx.Response(302, headers={"Location": "/login"}), ServerError, "302"),
        (httpx.Response(200, json={"schema": "syntax", "schemaType": "PROTOBUF"}), Undecodable, "PROTOBUF"),
        (httpx.Response(200, json={"schema": SCHEMA, "references": [{"name": "x"}]}), Undecodable, "refers to others"),
        (httpx.Response(200, json={"schema": "{"}), Undecodable, "not Avro"),
        (httpx.Response(200, json={"schema": '"no.such.Type"'}), Undecodable, "not Avro"),
    ],
)
def test_what_a_registry_may_answer(
    answer: httpx.Response | Exception, kind: type[ServerError | RecordError], said: str
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


def test_the_authority_must_be_a_file_of_certificates(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    for step in ("missing", "empty"):
        with pytest.raises(ConfigError, match="CDC_REGISTRY__CA"):
            Registry(Settings(url="https://registry.test", ca=wrong))
        wrong.write_text(step)


def test_no_password_in_the_address() -> None:
    with pytest.raises(ValueError, match="pattern"):
        Settings(url="http://me:hunter2@registry.test")


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the base class' name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"schema":"\\"string\\""}')

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, format_, open_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, format_, open_))
    return tmp_path / "ca.pem", tmp_path / "key.pem"


def test_over_tls_by_its_own_authority_only(authority: tuple[Path, Path]) -> None:
    certificate, key = authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), _Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"https://127.0.0.1:{server.server_port}"
        try:
            with closing(Registry(Settings(url=url, ca=certificate))) as trusting:
                assert trusting.schema(1).writer == "string"
            with (
                closing(Registry(Settings(url=url))) as other,
                pytest.raises(ServerUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                other.schema(1)
        finally:
            server.shutdown()
            thread.join()
