"""Processes as they are started by the command speak TLS 1.3 alone: a client of TLS 1.2 has no handshake."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.integration.conftest import Federation
from tests.support.relayed_tls import client_context

pytestmark = pytest.mark.long


def version(address: str, name: str, context: ssl.SSLContext) -> str | None:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as wire,
    ):
        return wire.version()


@pytest.mark.parametrize("listener", ["broker", "gateway"])
def test_tls_1_2_has_no_handshake(federation: Federation, listener: str) -> None:
    """With a leaf that is good there, whose TLS 1.3 is taken."""
    made = federation.made
    settings: Path
    if listener == "broker":
        leaf, ca = made.adapter_home("lapd") / "keys", made.root / "operator" / "ca.pem"
        settings, name = made.broker_home / "broker.toml", "broker.operator.example"
    else:
        leaf, ca = made.home("sheriff") / "clients" / "desk", made.home("sheriff") / "ca.pem"
        settings, name = made.gateway_home("sheriff") / "gateway.toml", "gateway.sheriff.example"
    address = next(
        line.partition("=")[2].strip().strip('"')
        for line in settings.read_text().splitlines()
        if line.startswith("listen")
    )
    for most, taken in ((ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)):
        context = client_context(
            ca_pem=ca.read_bytes(), chain=str(leaf / "leaf.pem"), key=str(leaf / "leaf.key"), most=most
        )
        if taken:
            assert version(address, name, context) == "TLSv1.3"
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                version(address, name, context)
