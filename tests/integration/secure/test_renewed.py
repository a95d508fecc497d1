"""A context for kafka-python, which takes only an SSLError for a failed attempt."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.net.tls import Files, ReloadingContext
from consumer.source.clients.handshake import SETTING_NAMES
from tests.integration.secure.authority import Authority
from tests.support.stack.port import HOST

_RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def hung_up() -> Iterator[socket.socket]:
    """A connection that the server has reset at once, as one that is going down does."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        accepted.close()
        yield client


# The socket that Python's ssl module had begun to make is nobody's to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_hangs_up(hung_up: socket.socket, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match="reset"):
        ReloadingContext(Files(authority.file), SETTING_NAMES).wrap_socket(hung_up, server_hostname=HOST)


def test_a_file_that_is_gone(hung_up: socket.socket, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError, match="CDC_KAFKA__SECURITY__CA"):
        ReloadingContext(Files(tmp_path / "none"), SETTING_NAMES).wrap_socket(hung_up, server_hostname=HOST)
