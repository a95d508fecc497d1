"""The HTTP application in this process: requests go in as a server for HTTP passes them, answers come out whole."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI

_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``headers``: their names in small letters."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: str

    @property
    def everything(self) -> str:
        """All that the caller gets."""
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers), self.body])

    def header(self, name: str) -> str:
        """The first header of this name, or ""."""
        return next((value for each, value in self.headers if each == name), "")

    def cookies(self) -> dict[str, str]:
        """What the answer sets, by name."""
        every = [value.partition(";")[0] for name, value in self.headers if name == "set-cookie"]
        return {each.partition("=")[0]: each.partition("=")[2].strip('"') for each in every}


class Application:
    """One application with a loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._callers = count()  # one address may not be refused often

    def close(self) -> None:
        """End the threads of the loop."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def call(
        self,
        method: str,
        path: bytes,
        query: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        chunks: Sequence[bytes] = (b"",),
    ) -> Answer:
        """Send a request. ``path``: as in the first line of the request, without the query.

        What an application raises is raised here.
        """
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in headers],
            "client": (f"192.0.2.{next(self._callers)}", 50000),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        return self._loop.run_until_complete(asyncio.wait_for(self._answer(scope, list(chunks)), _LONGEST_S))

    async def _answer(self, scope: dict[str, Any], chunks: list[bytes]) -> Answer:
        started: list[MutableMapping[str, Any]] = []
        body: list[bytes] = []
        is_over = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if chunks:
                chunk = chunks.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
            await is_over.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            elif message["type"] == "http.response.body":
                body.append(message.get("body", b""))
                if not message.get("more_body", False):
                    is_over.set()

        await self._app(scope, receive, send)
        (start,) = started
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
        return Answer(start["status"], headers, b"".join(body).decode(errors="replace"))
