"""Every parser of what others made: whatever bytes come, a value or the room's own error, and soon.

Random, cut, changed, doubled, deeply nested and large, each kind of document, statement, token and log file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from comity.audit.cosignature import cosign, cosignatures, with_cosignatures
from comity.audit.entry import Entry, parse_entry, seal_entry
from comity.audit.errors import EntryInvalid, NoteInvalid, ProofInvalid, TileInvalid, TrustInvalid
from comity.audit.note import LogKey, VerifierKey, open_note
from comity.audit.policy_file import parse_policy
from comity.audit.tiles import TileName, decode_bundle, encode_bundle, split_tile
from comity.audit.tlog_proof import TlogProof, make_proof
from comity.audit.trust import Trust, make_trust
from comity.audit.wal import Frame, pack, scan, unpack
from comity.certs.acceptances import accept, verify_acceptance
from comity.certs.agency import AgencyHome
from comity.certs.agreements import load_agreement, read_proposal
from comity.certs.assertions import verify_assertion
from comity.certs.authority import read_application
from comity.certs.envelope import from_json, open_envelope, payload_type, seal_payload
from comity.certs.errors import (
    AgreementInvalid,
    ApplicationInvalid,
    AssertionInvalid,
    CertificateRejected,
    CertsError,
    EnvelopeInvalid,
    KeyUnusable,
    LodgementInvalid,
    RosterInvalid,
    SuccessionInvalid,
)
from comity.certs.jwks import es256_keys
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.lodgements import load_lodgement
from comity.certs.members import key_set_view
from comity.certs.roster import AuthorityPin, Federation
from comity.certs.successions import read_succession, succeed
from comity.certs.x509 import split_pem, verify_leaf
from comity.links.errors import ProtocolViolation
from comity.links.sessions.codec import Decoder, encode
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import Agreement, IdentityAcceptance, IdentitySuccession, KeySet
from comity.v1.query_pb2 import Order
from comity.v1.session_pb2 import SessionEnd, SessionMessage
from tests.fuzz import parties
from tests.support.federation import FederationOnDisk
from tests.support.garbage import garbage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LOG_KEY = LogKey.generate("lapd.example/adapter")
NOTE = Checkpoint(origin="lapd.example/adapter", size=5, root=bytes(32)).sign(LOG_KEY)


@dataclass(frozen=True)
class Parser:
    """A good sample, what reads it, and which errors its documentation names."""

    good: bytes = field(repr=False)
    read: Callable[[bytes], object] = field(repr=False)
    errors: tuple[type[Exception], ...] = field(repr=False)


def _parsers(made: FederationOnDisk) -> dict[str, Parser]:
    public, now = made.public, datetime.now(UTC)
    pin = AuthorityPin.load(public / "authority.json")
    federation = Federation.load(public, now=now)
    roster, stamp = (public / "roster.json").read_bytes(), (public / "timestamp.json").read_bytes()
    agreement = next(made.agreements("lapd").glob("*.json")).read_bytes()
    lodgement = next(made.lodgements.glob("*.json")).read_bytes()
    sheriff = federation.member("sheriff")
    identity, other = SigningKey.generate(), SigningKey.generate()
    lahd = AgencyHome.load(made.home("lahd")).identity()
    step = succeed(
        identity, other, agency="lapd", number=1, now=now, overlap=timedelta(days=30), reason="on schedule"
    )
    key_set = from_json((made.home("lapd") / "keyset.json").read_bytes()).payload
    leaf = made.client_config("sheriff").with_name("leaf.pem").read_bytes()
    chain = split_pem(leaf)
    entry = seal_entry(Entry(kind="asked", at=NOW, exchange=b"e" * 16, public={"agency": "lapd"}))
    vkey = LOG_KEY.verifier_key
    one = Checkpoint(origin=LOG_KEY.origin, size=1, root=merkle.leaf_hash(entry.leaf)).sign(LOG_KEY)
    proof = make_proof(entry.leaf, 0, (), one)

    def signed_key_set(payload: bytes) -> object:
        sealed = seal_payload(payload_type(KeySet), payload, identity)
        return key_set_view(sealed.SerializeToString(), identity.public)

    def statement(data: bytes) -> object:
        return open_envelope(Envelope.FromString(data), Order, parties.TRUSTED)

    return {
        "roster": Parser(
            roster,
            lambda data: Federation.verify(roster=data, timestamp=stamp, pin=pin, now=now),
            (RosterInvalid,),
        ),
        "roster timestamp": Parser(
            stamp,
            lambda data: Federation.verify(roster=roster, timestamp=data, pin=pin, now=now),
            (RosterInvalid,),
        ),
        "authority pin": Parser(pin.to_json(), AuthorityPin.from_json, (RosterInvalid,)),
        "key set that its owner signed": Parser(key_set, signed_key_set, (RosterInvalid,)),
        "agreement": Parser(agreement, lambda data: load_agreement(data, federation), (AgreementInvalid,)),
        "agreement that nobody signed": Parser(
            from_json(agreement).payload,
            lambda data: read_proposal(
                Envelope(payload=data, payload_type=payload_type(Agreement)), federation
            ),
            (AgreementInvalid,),
        ),
        "lodgement": Parser(lodgement, lambda data: load_lodgement(data, federation), (LodgementInvalid,)),
        "succession": Parser(step.serialized, read_succession, (SuccessionInvalid,)),
        "succession that its keys signed": Parser(
            Envelope.FromString(step.serialized).payload,
            lambda data: read_succession(
                seal_payload(payload_type(IdentitySuccession), data, identity, other).SerializeToString()
            ),
            (SuccessionInvalid,),
        ),
        "acceptance that its agency signed": Parser(
            accept(step, [bytes(32)], agency="lahd", key=lahd, now=now).payload,
            lambda data: verify_acceptance(
                seal_payload(payload_type(IdentityAcceptance), data, lahd),
                agreement=bytes(32),
                parties={"lapd": identity.public, "lahd": lahd.public},
                federation=federation,
            ),
            (SuccessionInvalid,),
        ),
        "application": Parser(
            (made.home("lapd") / "application.json").read_bytes(), read_application, (ApplicationInvalid,)
        ),
        "assertion": Parser(
            made.assertion("sheriff", now).encode(),
            lambda data: verify_assertion(
                data.decode("latin-1"), member=sheriff, now=now, certificate_der=chain[0]
            ),
            (AssertionInvalid,),
        ),
        "JWK set": Parser(sheriff.key_set.identity_providers[0].jwks, es256_keys, (KeyUnusable,)),
        "public key": Parser(identity.public.der, VerifyKey.from_der, (KeyUnusable,)),
        "certificate": Parser(
            chain[0],
            lambda data: verify_leaf(
                [data], ca_certificates=sheriff.key_set.ca_certificates, spiffe_id=None, now=now
            ),
            (CertificateRejected,),
        ),
        "PEM": Parser(leaf, split_pem, (CertsError,)),
        "envelope, JSON": Parser(agreement, from_json, (EnvelopeInvalid,)),
        "envelope, protobuf": Parser(
            parties.ORDER.envelope.SerializeToString(), statement, (EnvelopeInvalid, DecodeError)
        ),
        "trust file": Parser(make_trust(public), Trust.parse, (TrustInvalid,)),
        "policy file": Parser(f"log {vkey}\nquorum none\n".encode(), parse_policy, (TrustInvalid,)),
        "signed note": Parser(NOTE, lambda data: open_note(data, [vkey]), (NoteInvalid,)),
        "checkpoint": Parser(
            NOTE,
            lambda data: open_checkpoint(data, origin="lapd.example/adapter", verifier_keys=[vkey]),
            (NoteInvalid,),
        ),
        "checkpoint, unverified": Parser(NOTE, peek_checkpoint, (NoteInvalid,)),
        "cosigned note": Parser(
            with_cosignatures(NOTE, [cosign(NOTE, LOG_KEY, NOW)]),
            lambda data: cosignatures(data, []),
            (NoteInvalid,),
        ),
        "verifier key": Parser(
            vkey.encode(), lambda data: VerifierKey.parse(data.decode("latin-1")), (NoteInvalid,)
        ),
        "tlog-proof": Parser(proof.encode(), TlogProof.parse, (ProofInvalid,)),
        "log entry": Parser(entry.leaf, parse_entry, (EntryInvalid,)),
        "entry bundle": Parser(encode_bundle([entry.leaf, b"x" * 9]), decode_bundle, (TileInvalid,)),
        "tile": Parser(b"h" * 64, split_tile, (TileInvalid,)),
        "tile path": Parser(
            b"tile/0/x001/234.p/7", lambda data: TileName.parse(data.decode("latin-1")), (TileInvalid,)
        ),
        "write-ahead segment": Parser(
            Frame(index=3, acknowledged=2, payload=pack([b"a", b"b"])).encode(),
            lambda data: scan(data, 3),
            (),
        ),
        "write-ahead payload": Parser(pack([b"a" * 9, b""]), unpack, (ValueError,)),
        "session message": Parser(
            encode(SessionMessage(end=SessionEnd(text="over"))),
            lambda data: Decoder().feed(data),
            (ProtocolViolation,),
        ),
    }


NAMES = (
    "roster",
    "roster timestamp",
    "authority pin",
    "key set that its owner signed",
    "agreement",
    "agreement that nobody signed",
    "lodgement",
    "succession",
    "succession that its keys signed",
    "acceptance that its agency signed",
    "application",
    "assertion",
    "JWK set",
    "public key",
    "certificate",
    "PEM",
    "envelope, JSON",
    "envelope, protobuf",
    "trust file",
    "policy file",
    "signed note",
    "checkpoint",
    "checkpoint, unverified",
    "cosigned note",
    "verifier key",
    "tlog-proof",
    "log entry",
    "entry bundle",
    "tile",
    "tile path",
    "write-ahead segment",
    "write-ahead payload",
    "session message",
)


class Parsers(dict[str, Parser]):
    """What a failing example shows of it is short."""

    def __repr__(self) -> str:
        return "the parsers"


@pytest.fixture(scope="module")
def parsers(laid_out: FederationOnDisk) -> Parsers:
    found = Parsers(_parsers(laid_out))
    assert tuple(found) == NAMES
    return found


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_bytes_give_a_value_or_the_documented_error(
    parsers: Parsers, name: str, data: st.DataObject
) -> None:
    """Whoever sends or wrote it: never another exception, however deep it nests and long it is."""
    parser = parsers[name]
    raw = data.draw(garbage(parser.good))
    try:
        parser.read(raw)
    except parser.errors as error:
        str(error).encode()  # a line for a log or a terminal, whatever it quotes


@pytest.mark.parametrize("name", NAMES)
def test_good_sample_is_read(parsers: Parsers, name: str) -> None:
    """What the garbage is made of is the real thing, or the test above would only see first checks."""
    parsers[name].read(parsers[name].good)
