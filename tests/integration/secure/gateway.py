"""What stands in front of a schema registry or of Kafka Connect: HTTP with TLS and accounts.

It answers as an empty registry and an empty Connect; their own answers are other tests' matter.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.integration.secure.authority import HOST, Authority, Issued

USER = "alice"
_ANSWERS = {
    "/subjects": [],
    "/schemas/types": ["AVRO"],
    "/connectors": [],
}


class Gateway:
    """Servers by name: ``good``, ``mutual``, ``expired``, ``elsewhere``, and ``plain`` without TLS."""

    def __init__(self, authority: Authority) -> None:
        self.password = secrets.token_hex(8)
        self._authority = authority
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        issue = self._authority.issue
        good = issue("gateway")
        self._start("plain", None)
        self._start("good", good)
        self._start("mutual", good, is_mutual=True)
        self._start("expired", issue("gateway-expired", days=-1))
        self._start("elsewhere", issue("gateway-elsewhere", "elsewhere.test"))
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def url(self, name: str, scheme: str = "https") -> str:
        return f"{scheme}://{HOST}:{self._servers[name].server_port}"

    def _start(self, name: str, shown: Issued | None, *, is_mutual: bool = False) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{self.password}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class' name
                is_known = self.headers.get("Authorization") == wanted
                body = json.dumps(_ANSWERS.get(self.path, {})).encode()
                self.send_response(200 if is_known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
                """Say nothing."""

        server = _Server((HOST, 0), Handler)
        if shown is not None:
            server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.tls.load_cert_chain(shown.certificate, shown.key)
            if is_mutual:
                server.tls.load_verify_locations(self._authority.file)
                server.tls.verify_mode = ssl.CERT_REQUIRED
        self._servers[name] = server
        self._threads.append(threading.Thread(target=server.serve_forever))
        self._threads[-1].start()


class _Server(ThreadingHTTPServer):
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that one that never shakes hands holds up nobody."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(5)
        with self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Refused handshakes are what the tests are about."""
