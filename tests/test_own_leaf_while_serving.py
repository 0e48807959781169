"""A leaf is replaced while its end serves, at each of the three: nobody has to restart (design 4)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import comity.certs.own as own_room
import comity.gateway.config as gateway_config
import comity.gateway.server as gateway_server
from comity.audit.entry import parse_entry
from comity.audit.tiles import TileFolder
from comity.certs.files import write_private, write_public
from comity.certs.pairs import LeafPair, put_pair
from comity.certs.x509 import IssuedLeaf, issue_leaf, load_ca
from tests.adapters.bench import NOON
from tests.support.federation import FederationOnDisk
from tests.test_log_key_while_serving import ENDS, built, home_of, made, serving, until

__all__ = ["built", "made"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_room, "LOOK_SECONDS", 0.02)


def issue(home: Path, role: str) -> IssuedLeaf:
    certificate, key = load_ca(home.parent / "ca.pem", home.parent / "ca.key")
    domain = {"adapter": "lapd.example", "broker": "operator.example", "gateway": "sheriff.example"}[role]
    return issue_leaf(
        certificate,
        key,
        spiffe_id=f"spiffe://{domain}/{role}",
        dns_names=(f"{role}.{domain}",) if role != "adapter" else (),
        now=NOON,
        lifetime=timedelta(days=9),
    )


def activated(home: Path) -> list[str]:
    if not (home / "log" / "checkpoint").exists():
        return []
    size = int((home / "log" / "checkpoint").read_text().split("\n")[1])
    found = [parse_entry(leaf) for _, leaf in TileFolder(home / "log").all_entries(size)]
    return [str(entry.public["certificate"]) for entry in found if entry.kind == "credentials_activated"]


@pytest.mark.parametrize(
    "role", [pytest.param(role, marks=[pytest.mark.long] if role != "gateway" else []) for role in ENDS]
)
async def test_leaf_of_a_serving_end_is_replaced(made: FederationOnDisk, role: str) -> None:
    """A pair that is put there is in force and logged; one whose chain comes before its key waits for it."""
    home = home_of(made, role)
    async with serving(home, role):
        await until(lambda: (home / "log" / "checkpoint").exists())
        first, second = issue(home, role), issue(home, role)
        pair = put_pair(home / "keys", chain_pem=first.chain_pem, key_pem=first.key_pem)
        await until(lambda: activated(home) == [pair.fingerprint.hex()])
        write_public(home / "keys" / "leaf.pem", second.chain_pem)
        await asyncio.sleep(0.2)
        assert len(activated(home)) == 1
        write_private(home / "keys" / "leaf.key", second.key_pem)
        last = LeafPair.of(second.chain_pem, second.key_pem)
        await until(lambda: activated(home) == [pair.fingerprint.hex(), last.fingerprint.hex()])


async def test_systems_of_the_agency_are_shown_the_new_leaf(made: FederationOnDisk) -> None:
    """The gateway's front gives each new connection the leaf in force; a torn pair shows the old one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        unused = taken.getsockname()[1]
    home = made.gateway_home("sheriff")
    client = made.home("sheriff") / "clients" / "desk"
    config = replace(gateway_config.load_config(home / "gateway.toml"), listen=f"127.0.0.1:{unused}")
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        gateway_server.serve(config, ready=lambda line: ready.set(), stop=stop, clock=lambda: NOON)
    )

    def shown() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(client / "leaf.pem", client / "leaf.key")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", unused), timeout=30) as plain,
            context.wrap_socket(plain) as wire,
        ):
            return wire.getpeercert(binary_form=True) or b""

    try:
        await asyncio.wait_for(ready.wait(), 20)
        before = await asyncio.to_thread(shown)
        issued = issue(home, "gateway")
        write_public(home / "keys" / "leaf.pem", issued.chain_pem)
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(shown) == before
        pair = put_pair(home / "keys", chain_pem=issued.chain_pem, key_pem=issued.key_pem)
        await until(lambda: activated(home))
        assert await asyncio.to_thread(shown) == pair.chain_der[0] != before
    finally:
        stop.set()
        await asyncio.wait_for(serving, 20)
