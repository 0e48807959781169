"""The lying requester against the whole federation: its gateway holds its own keys, and checks nothing.

After each lie: no provider searched anything or let a page out, each keeps the requester's signed order with
the reason, and whoever was asked honestly in the same exchange answered. What a single rule stops stands in
`tests/adapters/test_must_not.py`, `tests/broker/test_orders.py` and `tests/certs/test_assertions.py`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from comity.certs.agreements import AgreementBook
from comity.certs.assertions import DemoIdentityProvider
from comity.certs.envelope import pre_authentication_encoding
from comity.certs.jwks import es256_keys
from comity.certs.keys import SigningKey
from comity.gateway import gateway as gateway_module
from comity.gateway.order import Asking, SignedOrder
from comity.links.frames import kind
from comity.v1 import link_pb2, query_pb2
from tests.certs.test_assertions import payload_of, segment
from tests.simulator import FederationSimulator
from tests.support.evidence import (
    BROKER,
    PATIENT,
    assert_rejected,
    assert_undisturbed,
    entries,
    statement_key,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDERS = ("cbp", "dea", "lahd", "lapd")
Forge = Callable[[SignedOrder], SignedOrder]


@pytest_asyncio.fixture(loop_scope="module")
async def federation(shared: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    yield shared


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the gateway sign with other options, and then change what it sends."""
    sign = gateway_module.sign_order

    def told(forge: Forge = lambda order: order, **options: Any) -> None:
        def lying(*arguments: Any, **honest: Any) -> SignedOrder:
            return forge(sign(*arguments, **{**honest, **options}))

        monkeypatch.setattr(gateway_module, "sign_order", lying)

    return told


def asking(order: SignedOrder, **changed: Asking) -> SignedOrder:
    return replace(order, asking={**order.asking, **changed})


# -- orders and queries --------------------------------------------------------------------------------


async def test_questions_beyond_their_audience_release_nothing(
    federation: FederationSimulator, orders: Callable[..., None]
) -> None:
    """The sheriff sends LAHD what it ordered of LAPD and the other way round: neither searches anything."""
    orders(lambda o: asking(o, lapd=o.asking["lahd"], lahd=o.asking["lapd"]))
    answer = await federation.search(timeout=PATIENT)
    await assert_rejected(federation, answer, "lapd", "lahd", reason="readdressed")
    assert_undisturbed(answer, "cbp", "dea")


async def test_leaf_of_another_order_releases_nothing(
    federation: FederationSimulator, orders: Callable[..., None]
) -> None:
    """A query with leaf and path of an earlier order, well signed as that was, is none of this one."""
    earlier: list[SignedOrder] = []
    orders(lambda order: earlier.append(order) or order)  # type: ignore[func-returns-value]
    assert (await federation.search(timeout=PATIENT)).is_whole
    old = earlier[0].asking["lapd"]
    orders(lambda o: asking(o, lapd=replace(o.asking["lapd"], inclusion=old.inclusion)))
    answer = await federation.search(timeout=PATIENT)
    await assert_rejected(federation, answer, "lapd", reason="readdressed")
    assert_undisturbed(answer, "cbp", "dea", "lahd")
    orders(lambda o: asking(o, lapd=replace(o.asking["lapd"], query=old.query, inclusion=old.inclusion)))
    await assert_rejected(federation, await federation.search(timeout=PATIENT), "lapd", reason="readdressed")


async def test_question_that_was_not_ordered_releases_nothing(
    federation: FederationSimulator, orders: Callable[..., None]
) -> None:
    """Another plate than that whose digest was signed: the order stays true, the query is none of it."""

    def another(order: SignedOrder) -> SignedOrder:
        query = query_pb2.Query.FromString(order.asking["lapd"].query)
        query.plate.number = "9XYZ999"
        return asking(order, lapd=replace(order.asking["lapd"], query=query.SerializeToString()))

    orders(another)
    answer = await federation.search(timeout=PATIENT)
    await assert_rejected(federation, answer, "lapd", reason="readdressed")
    assert_undisturbed(answer, "cbp", "dea", "lahd")


LEAVES: dict[str, Callable[[tuple[bytes, ...]], tuple[bytes, ...]]] = {
    "one more": lambda leaves: (*leaves, leaves[0]),
    "one less": lambda leaves: leaves[:-1],
    "in another order": lambda leaves: leaves[::-1],
    "of nobody": lambda leaves: (b"", *leaves[1:]),
}


@pytest.mark.parametrize("lie", LEAVES)
async def test_leaves_that_are_not_those_that_were_signed_are_placed_nowhere(
    federation: FederationSimulator, orders: Callable[..., None], lie: str
) -> None:
    """The broker asks nobody, and logs the refusal under the agency whose link it came on."""
    orders(lambda order: replace(order, leaves=LEAVES[lie](order.leaves)))
    answer = await federation.search(timeout=PATIENT)
    assert answer.error is not None
    assert not [name for name in PROVIDERS if federation.released.get((answer.exchange_id, name))]
    await federation.until(lambda: entries(federation, BROKER, answer, "order_refused"))
    (refused,) = entries(federation, BROKER, answer, "order_refused")
    assert refused.public["agency"] == "sheriff" and refused.public["reason"] in ("leaves", "providers")


async def test_question_past_the_broker_releases_nothing(federation: FederationSimulator) -> None:
    """Without an announcement there is no answer: the middle has no account of the exchange."""
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.link is not None
    link, send = gateway.link, gateway.link.send

    def past(*frames: link_pb2.LinkFrame) -> None:
        send(*(frame for frame in frames if kind(frame) != "order"))

    link.send = past  # type: ignore[method-assign]
    try:
        answer = await federation.search(timeout=PATIENT)
    finally:
        link.send = send  # type: ignore[method-assign]
    await assert_rejected(federation, answer, *PROVIDERS, reason="unannounced")
    assert not entries(federation, BROKER, answer, "routed", "accounted")


async def test_question_asked_twice_is_answered_once(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ask again, while the exchange is open: logged as replayed, and searched once."""
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    ask_one = gateway._ask_one

    async def twice(running: Any, provider: str) -> None:
        await ask_one(running, provider)
        await ask_one(running, provider)

    monkeypatch.setattr(gateway, "_ask_one", twice)
    answer = await federation.search(timeout=PATIENT)
    assert answer.is_whole
    for name in PROVIDERS:
        end = f"{name}/adapter"
        await federation.until(lambda end=end: entries(federation, end, answer, "rejected"))
        replayed = entries(federation, end, answer, "rejected")
        assert [entry.public["reason"] for entry in replayed] == ["replayed"]
        assert len(entries(federation, f"{name}/adapter", answer, "released")) == 1


# -- agreements that are over --------------------------------------------------------------------------


def ended(book: AgreementBook, federation: FederationSimulator) -> AgreementBook:
    """LAPD's agreements after the one with the sheriff ended, a minute ago."""
    past = federation.clock() - timedelta(minutes=1)
    return replace(
        book,
        agreements=tuple(
            replace(one, expires_at=past) if "sheriff" in one.parties else one for one in book.agreements
        ),
    )


@pytest.mark.parametrize("when", ["before the session", "within the session"])
async def test_question_under_a_stale_agreement_releases_nothing(
    federation: FederationSimulator, when: str
) -> None:
    """The sheriff holds up an agreement that is over at LAPD: no session, no search in one (A2, D4)."""
    adapter = federation["lapd"].end
    assert adapter is not None
    path = federation["lapd"].adapter_answers.__self__  # type: ignore[attr-defined]
    standing = path.standing
    book, refused = (
        ended(standing.agreements, federation),
        len(federation["lapd"].journal.of("session_refused")),
    )
    path.standing = replace(standing, agreements=book)
    if when == "before the session":
        adapter.sessions.refresh(standing.federation, book)
        await federation.passes(seconds=0.1)
    try:
        answer = await federation.search(timeout=PATIENT)
    finally:
        path.standing = standing
        adapter.sessions.refresh(standing.federation, standing.agreements)
    assert not federation.released.get((answer.exchange_id, "lapd"))
    assert_undisturbed(answer, "cbp", "dea", "lahd")
    if when == "before the session":
        assert answer.outcomes["lapd"].kind == "SESSION_FAILED"
        await federation.until(lambda: len(federation["lapd"].journal.of("session_refused")) > refused)
        assert federation["lapd"].journal.of("session_refused")[-1].public["reason"] == "no_agreement"
        assert (answer.exchange_id, "lapd") not in federation.released
    else:
        assert answer.outcomes["lapd"].kind == "UNVERIFIABLE"  # its refusal can stand on no agreement
        (decided,) = entries(federation, "lapd/adapter", answer, "decided")
        assert decided.public["outcome"] == "refused"


async def test_gateway_that_holds_another_agreement_gets_no_session(federation: FederationSimulator) -> None:
    """Both ends must mean the same document: a gateway that pretends an older one is not spoken with."""
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and gateway.sessions is not None
    standing = gateway.standing
    older = replace(
        standing.agreements,
        agreements=tuple(
            replace(one, digest=bytes(32)) if "lapd" in one.parties else one
            for one in standing.agreements.agreements
        ),
    )
    federation.forgets_sessions()
    gateway.refresh(replace(standing, agreements=older))
    try:
        answer = await federation.search(timeout=PATIENT)
    finally:
        gateway.refresh(standing)
    assert answer.outcomes["lapd"].kind == "SESSION_FAILED"
    assert (answer.exchange_id, "lapd") not in federation.released
    assert_undisturbed(answer, "cbp", "dea", "lahd")


# -- assertions ----------------------------------------------------------------------------------------


def idp(federation: FederationSimulator, agency: str = "sheriff") -> DemoIdentityProvider:
    return DemoIdentityProvider(federation.made.home(agency) / "idp")


def honest(federation: FederationSimulator, **claims: Any) -> str:
    return federation.made.assertion("sheriff", federation.clock(), **claims)


def reheaded(
    federation: FederationSimulator, header: dict[str, object], signature: bytes | None = None
) -> str:
    _, body, signed = honest(federation).split(".")
    return f"{segment(header)}.{body}.{signed if signature is None else segment(signature)}"


def hmac_with_public_key(federation: FederationSimulator) -> str:
    kid, key = next(iter(es256_keys(idp(federation).jwks).items()))
    signed = f"{segment({'alg': 'HS256', 'kid': kid})}.{segment(payload_of(honest(federation)))}"
    return f"{signed}.{segment(hmac.new(key.der, signed.encode(), 'sha256').digest())}"


def with_key(federation: FederationSimulator, key: Any, algorithm: str) -> str:
    """Signed with another kind of key, under the provider's own `kid`."""
    kid = next(iter(es256_keys(idp(federation).jwks)))
    payload = json.dumps(payload_of(honest(federation))).encode()
    return jwt.PyJWS().encode(payload, key, algorithm, headers={"kid": kid})


def rsa_that_says_es256(federation: FederationSimulator) -> str:
    header, body, _ = honest(federation).split(".")
    signature = RSA.sign(f"{header}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{header}.{body}.{segment(signature)}"


def pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ASSERTIONS: dict[str, Callable[[FederationSimulator], str]] = {
    "of another agency": lambda f: f.made.assertion("lahd", f.clock()),
    "of another agency, in this one's name": lambda f: idp(f, "lahd").issue(
        f.made.user("lahd"), f.made.client_certificate("lahd"), f.clock(), iss="https://login.sheriff.example"
    ),
    "past its time": lambda f: f.made.assertion("sheriff", f.clock() - timedelta(minutes=20)),
    "before its time": lambda f: f.made.assertion("sheriff", f.clock() + timedelta(minutes=20)),
    "bound to no certificate": lambda f: honest(f, cnf=None),
    "for another service": lambda f: honest(f, aud="payroll"),
    "alg none": lambda f: reheaded(f, {"alg": "none", "kid": next(iter(es256_keys(idp(f).jwks)))}, b""),
    "alg HS256 with the public key": hmac_with_public_key,
    "alg that its key can't be": lambda f: reheaded(f, {"alg": "RS256", "kid": "any"}),
    "a key in the header": lambda f: reheaded(
        f, {"alg": "ES256", "kid": next(iter(es256_keys(idp(f).jwks))), "jwk": {"kty": "EC"}}
    ),
    "RSA key": lambda f: with_key(f, pem(RSA), "RS256"),
    "RSA key that says ES256": rsa_that_says_es256,
    "P-384 key": lambda f: with_key(f, pem(ec.generate_private_key(ec.SECP384R1())), "ES384"),
    "Ed25519 key": lambda f: with_key(f, pem(ed25519.Ed25519PrivateKey.generate()), "EdDSA"),
    "a stranger's key": lambda f: with_key(f, SigningKey.generate().pem, "ES256"),
    "of another user than was signed": lambda f: ".".join(
        (
            honest(f).split(".")[0],
            segment({**payload_of(honest(f)), "sub": "somebody.else"}),
            honest(f).split(".")[2],
        )
    ),
    "no token at all": lambda f: "a.b.c",
    "nested deeper than anybody reads": lambda f: f"{segment(b'[' * 9_000)}.e30.e30",
}


@pytest.mark.parametrize("lie", ASSERTIONS)
async def test_assertion_that_vouches_for_nobody_releases_nothing(
    federation: FederationSimulator, orders: Callable[..., None], lie: str
) -> None:
    """Every provider looks itself, whatever the gateway let pass: nothing is searched; it is logged (Q4)."""
    orders(assertion=ASSERTIONS[lie](federation))
    answer = await federation.search(timeout=PATIENT)
    await assert_rejected(federation, answer, *PROVIDERS, reason="subject")
    assert set(answer.kinds.values()) == {"MALFORMED"}
    assert not [line for line in federation.warnings if "fault" in line]


async def test_assertion_for_another_certificate_is_the_gateways_to_refuse(
    federation: FederationSimulator, orders: Callable[..., None]
) -> None:
    """Not caught at the provider, which sees no client: a dishonest gateway can lend a live assertion.

    An honest one refuses it on the first hop: `tests/test_frames_on_the_wire.py`.
    """
    lent = idp(federation).issue(
        federation.made.user("sheriff"), federation.made.client_certificate("lahd"), federation.clock()
    )
    orders(assertion=lent)
    assert (await federation.search(timeout=PATIENT)).is_whole


# -- keys of the wrong kind ----------------------------------------------------------------------------


def _p384(data: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP384R1()).sign(data, ec.ECDSA(hashes.SHA384()))


def _plain_r_s(data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(SigningKey.generate().sign(data))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "Ed25519": lambda data: ed25519.Ed25519PrivateKey.generate().sign(data),
    "P-384": _p384,
    "RSA": lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    "P-256, another key": lambda data: SigningKey.generate().sign(data),
    "r and s without DER": _plain_r_s,
    "empty": lambda data: b"",
    "r = s = 0": lambda data: utils.encode_dss_signature(0, 0),
}


@pytest.mark.parametrize("lie", SIGNATURES)
async def test_signature_of_the_wrong_kind_under_the_right_key_id_is_none(
    federation: FederationSimulator, orders: Callable[..., None], lie: str
) -> None:
    """A statement key is P-256 with SHA-256 and DER, and nothing else: the order is placed nowhere."""

    def forged(order: SignedOrder) -> SignedOrder:
        envelope = order.envelope
        data = pre_authentication_encoding(envelope.payload_type, envelope.payload)
        envelope.signatures[0].signature = SIGNATURES[lie](data)
        assert envelope.signatures[0].key_id == statement_key(federation, "sheriff/gateway").key_id
        return order

    orders(forged)
    answer = await federation.search(timeout=PATIENT)
    assert answer.error is not None
    await federation.until(lambda: entries(federation, BROKER, answer, "order_refused"))
    (refused,) = entries(federation, BROKER, answer, "order_refused")
    assert (refused.public["agency"], refused.public["reason"]) == ("sheriff", "signature")
    assert not [name for name in PROVIDERS if federation.released.get((answer.exchange_id, name))]
    for name in PROVIDERS:  # whom its asks reached before the broker's refusal reached their sender
        for rejected in entries(federation, f"{name}/adapter", answer, "rejected"):
            assert rejected.public["reason"] == "forged" and not rejected.attachments
        assert not entries(federation, f"{name}/adapter", answer, "received", "decided", "released")
