"""What is found out about a listener that no connection could be had with."""

from __future__ import annotations

import socket

import pytest

from consumer.net.tls import ProbeRequest, SettingNames, refusal

SETTING_NAMES = SettingNames("CDC_REDIS", "CDC_REDIS__URL", "CDC_REDIS__URL", "rediss://…", "redis://…")


def test_a_connection_that_is_reset_at_once_is_no_sign_of_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a relay whose server is away: a socket without a peer is wrapped without a handshake."""
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    assert (
        refusal("Redis at 127.0.0.1:1", "127.0.0.1", 1, None, SETTING_NAMES, ProbeRequest(b"PING\r\n", (b"+",))) is None
    )
