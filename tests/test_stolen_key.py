"""The thief, who has keys of others, against the whole federation: what each key is worth, and what shows it.

Which leaf is refused by which rule stands in `tests/certs/test_leaf_verification.py`, for sessions in
`tests/links/sessions/test_attacks.py`; here the same leaves come to the broker of a running federation.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import comity.adapters.server
from comity.adapters.config import load_config
from comity.certs.credentials import load_end
from comity.certs.envelope import open_envelope, seal
from comity.certs.keys import SigningKey
from comity.certs.x509 import load_ca, make_ca, split_pem
from comity.gateway import gateway as gateway_module
from comity.gateway.order import SignedOrder
from comity.links.backoff import Backoff
from comity.links.client import LinkClient, LinkConfig
from comity.links.frames import kind
from comity.v1 import common_pb2, link_pb2, result_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.certs.test_leaf_verification import Issuer, mint
from tests.simulator import FederationSimulator
from tests.support.evidence import BROKER, PATIENT, assert_undisturbed, entries, statement_key
from tests.support.links import RecordingEvents

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAY = "spiffe://sheriff.example/gateway"


@pytest_asyncio.fixture(loop_scope="module")
async def federation(shared: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    yield shared


# -- statement keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("requester", ["sheriff", "lahd"])
async def test_order_signed_with_another_agencys_stolen_key_is_answered_by_nobody(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch, requester: str
) -> None:
    """LAHD's statement key in the sheriff's hands: the link and the sessions are still the sheriff's."""
    key = statement_key(federation, "lahd/gateway")
    sign = gateway_module.sign_order

    def forged(*arguments: Any, **options: Any) -> SignedOrder:
        return sign(*arguments, **{**options, "key": key, "requester": requester})

    monkeypatch.setattr(gateway_module, "sign_order", forged)
    answer = await federation.search(timeout=PATIENT)
    await federation.until(lambda: entries(federation, BROKER, answer, "order_refused"))
    await federation.passes(seconds=3)
    assert not any(exchange == answer.exchange_id for exchange, _ in federation.released)
    (refused,) = entries(federation, BROKER, answer, "order_refused")
    assert refused.public["agency"] == "sheriff", "told by the link that it came on, not by what it claims"


# -- leaf keys -----------------------------------------------------------------------------------------


async def test_stolen_leaf_takes_the_link_and_nothing_else_and_its_owner_sees_it(
    federation: FederationSimulator,
) -> None:
    """The newest link of an end replaces the older; its owner logs the loss and takes it back by itself."""
    closed = len(federation.journals["sheriff/gateway"].of("link_closed"))
    stolen = load_end(federation.made.gateway_home("sheriff"))
    events = RecordingEvents()
    operator = federation.made.federation(federation.clock()).operator
    config = LinkConfig(
        broker="127.0.0.1:7400",
        broker_name="broker.operator.example",
        operator_ca_pem=operator.key_set.ca_pem,
        leaf_chain_pem=stolen.chain_pem,
        leaf_key_pem=stolen.key_pem,
        spiffe_id=stolen.spiffe_id,
        role=common_pb2.END_ROLE_GATEWAY,
        roster_version=2,
    )
    thief = LinkClient(config, events, federation.clock)
    dialling = asyncio.create_task(thief.run())
    await federation.until(lambda: events.welcomes)
    order = link_pb2.OrderPlacement(order=seal(common_pb2.Period(), SigningKey.generate()))
    thief.send(link_pb2.LinkFrame(order=order))
    await federation.until(lambda: any(kind(frame) == "order_rejection" for frame in events.got))
    await thief.close()
    await dialling
    await federation.until(lambda: len(federation.journals["sheriff/gateway"].of("link_closed")) > closed)
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.link is not None
    await federation.until(lambda: gateway.link.is_up)  # type: ignore[union-attr]


def agency_ca(federation: FederationSimulator, agency: str) -> Issuer:
    home = federation.made.home(agency)
    return Issuer(*load_ca(home / "ca.pem", home / "ca.key"))


def _minted(*names: str, by: str = "sheriff", more: tuple[x509.GeneralName, ...] = (), **options: Any) -> Any:
    def leaf(federation: FederationSimulator) -> bytes:
        now = federation.clock()
        uris = [x509.UniformResourceIdentifier(name) for name in names]
        start, lasts = options.get("start", -timedelta(minutes=1)), options.get("lasts", timedelta(hours=1))
        rest = {key: value for key, value in options.items() if key not in ("start", "lasts")}
        ca = agency_ca(federation, by)
        return mint(ca, *uris, *more, start=now + start, end=now + start + lasts, **rest)

    return leaf


def _of_a_namesake(federation: FederationSimulator) -> bytes:
    ca = Issuer(*make_ca("sheriff.example", federation.clock() - timedelta(days=1), timedelta(days=30)))
    return mint(
        ca,
        x509.UniformResourceIdentifier(GATEWAY),
        start=federation.clock() - timedelta(minutes=1),
        end=federation.clock() + timedelta(hours=1),
    )


LEAVES: dict[str, Callable[[FederationSimulator], bytes]] = {
    "two SPIFFE ids": _minted(GATEWAY, "spiffe://sheriff.example/adapter"),
    "the same SPIFFE id twice": _minted(GATEWAY, GATEWAY),
    "other case": _minted("spiffe://Sheriff.example/gateway"),
    "other case of the scheme": _minted("SPIFFE://sheriff.example/gateway"),
    "a port": _minted("spiffe://sheriff.example:443/gateway"),
    "a slash more": _minted(GATEWAY + "/"),
    "no SPIFFE id": _minted(more=(x509.DNSName("sheriff.example"),)),
    "a mail address beside": _minted(GATEWAY, more=(x509.RFC822Name("desk@sheriff.example"),)),
    "an IP address beside": _minted(GATEWAY, more=(x509.IPAddress(IPv4Address("127.0.0.1")),)),
    "a registered id beside": _minted(GATEWAY, more=(x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),)),
    "the broker's DNS name beside": _minted(GATEWAY, more=(x509.DNSName("broker.operator.example"),)),
    "another agency's id": _minted("spiffe://lapd.example/gateway"),
    "another agency's CA": _minted(GATEWAY, by="lapd"),
    "a CA of the same name": _of_a_namesake,
    "an Ed25519 key": _minted(GATEWAY, key=ed25519.Ed25519PrivateKey.generate()),
    "an RSA key": _minted(GATEWAY, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "a P-521 key": _minted(GATEWAY, key=ec.generate_private_key(ec.SECP521R1())),
    "for servers alone": _minted(GATEWAY, extended=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "past its time": _minted(GATEWAY, start=-timedelta(hours=2)),
    "before its time": _minted(GATEWAY, start=timedelta(hours=1)),
    "of another end": _minted("spiffe://sheriff.example/adapter"),
    "of a client system": _minted("spiffe://sheriff.example/system/desk"),
}


@pytest.mark.parametrize("leaf", LEAVES)
async def test_leaf_that_is_not_exactly_the_ends_opens_no_link(
    federation: FederationSimulator, leaf: str
) -> None:
    """Whoever holds its key: the broker says goodbye, logs a refusal, and the honest gateway stays linked."""
    der = LEAVES[leaf](federation)
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    chain = pem + agency_ca(federation, "sheriff").certificate.public_bytes(Encoding.PEM)
    await assert_refused(federation, chain)


async def test_leaf_without_a_fault_opens_a_link(federation: FederationSimulator) -> None:
    """The same tool with a good leaf is welcomed: each refusal above is for its own fault alone."""
    der = _minted(GATEWAY)(federation)
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    assert (await greeted(federation, pem))[0] == "welcome"
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.link is not None
    await federation.until(lambda: gateway.link.is_up)  # type: ignore[union-attr]


async def greeted(federation: FederationSimulator, chain_pem: bytes) -> tuple[str, Any]:
    """Dial as the thief, greet as the sheriff's gateway; return the broker's first word and the wire."""
    wire = federation.broker.dialled("thief", chain_pem)
    hello = link_pb2.Hello(
        versions=[1],
        spiffe_id=GATEWAY,
        role=common_pb2.END_ROLE_GATEWAY,
        chain=split_pem(chain_pem),
        roster_version=2,
    )
    wire.pull(link_pb2.LinkFrame(hello=hello))
    frames = await wire.end.read()
    await wire.end.finish()
    return (kind(frames[0]) if frames else ""), wire


async def assert_refused(federation: FederationSimulator, chain_pem: bytes) -> None:
    refusals = len(federation.journals[BROKER].of("link_refused"))
    word, _ = await greeted(federation, chain_pem)
    assert word == "goodbye"
    await federation.until(lambda: len(federation.journals[BROKER].of("link_refused")) > refusals)
    refused = federation.journals[BROKER].of("link_refused")[-1]
    assert refused.public["reason"] in ("certificate", "identity")
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.link is not None and gateway.link.is_up


# -- all the keys of an adapter ------------------------------------------------------------------------


async def test_stolen_adapter_answers_and_its_owners_log_shows_that_it_was_not_the_owner(
    federation: FederationSimulator, tmp_path: Path
) -> None:
    """Not stopped: whoever has both keys is that provider. But the owner lost the link, which its log
    tells, and its log doesn't hold what the thief's receipts promised: its requester asks for it.
    """
    owner, real = federation["lapd"].journal, federation["lapd"].end
    assert real is not None
    client, path = real.link, federation["lapd"].adapter_answers.__self__  # type: ignore[attr-defined]
    away = Backoff(first=timedelta(seconds=90), longest=timedelta(seconds=90), draw=lambda: 1.0)
    honest, client._backoff = client._backoff, away
    home = tmp_path / "agencies" / "lapd"
    shutil.copytree(
        federation.made.root,
        tmp_path,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("log", "*.db-*", "*.sock"),
    )
    ready, stop = asyncio.Event(), asyncio.Event()
    config = load_config(home / "adapter" / "adapter.toml")
    thief = asyncio.create_task(
        comity.adapters.server.serve(config, ready=lambda _: ready.set(), stop=stop, clock=federation.clock)
    )
    try:
        await federation.until(ready.is_set)
        answer = await federation.search(timeout=PATIENT)
        assert_undisturbed(answer, "cbp", "dea", "lahd")
        (delivered,) = [
            e
            for e in entries(federation, "sheriff/gateway", answer, "delivered")
            if e.public["peer"] == "lapd"
        ]
        told = Envelope.FromString(delivered.attachments["receipt:lapd"])
        key = statement_key(federation, "lapd/adapter").public
        receipt = open_envelope(told, result_pb2.Receipt, [key]).message
        assert receipt.promise.origin == "lapd.example/adapter"
        assert not [entry for entry in owner.entries if entry.exchange == answer.exchange_id]
        await federation.until(lambda: owner.of("link_closed"))  # the owner saw that another took its link
    finally:
        stop.set()
        await thief
        client._backoff = honest
        federation.journals["lapd/adapter"], real.exchanges._path = owner, path
        await federation.until(lambda: client.is_up, seconds=300)
    for _ in range(5):  # the owner speaks with the requester again, until its log covers what was promised
        await federation.search()
        await federation.passes(seconds=3)
        if federation.refusals():
            break
    refused = {origin for origins in federation.refusals().values() for origin in origins}
    assert refused == {"lapd.example/adapter"}
    await federation.pardons()
