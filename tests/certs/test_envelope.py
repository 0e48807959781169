"""Envelopes: who signed what, and everything that is refused before the content is looked at."""

from __future__ import annotations

import hashlib

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs import envelope as envelopes
from comity.certs.envelope import (
    MAX_SIGNATURES,
    add_signature,
    digest,
    open_envelope,
    payload_type,
    pre_authentication_encoding,
    seal,
    seal_payload,
)
from comity.certs.errors import EnvelopeInvalid
from comity.certs.keys import SigningKey
from comity.v1.envelope_pb2 import Envelope, Signature
from comity.v1.query_pb2 import Order, Query
from comity.v1.result_pb2 import Receipt

KEY, OTHER, STRANGER = (SigningKey.generate() for _ in range(3))
ORDER = Order(exchange_id=b"e" * 16, requester="cbp", nonce=b"n" * 16)


def test_opened_envelope_gives_message_payload_signer_and_digest() -> None:
    """What is opened holds the very bytes that were signed, who signed, and their SHA-256."""
    sealed = seal(ORDER, KEY)
    opened = open_envelope(sealed, Order, [KEY.public])
    assert opened.message == ORDER
    assert opened.payload == sealed.payload
    assert opened.key_id == KEY.key_id and opened.key_ids == (KEY.key_id,)
    assert opened.digest == digest(sealed.payload) == hashlib.sha256(sealed.payload).digest()


def test_opening_gives_signed_bytes_not_a_new_serialization() -> None:
    """A payload in another valid serialization stays as it was signed: protobuf is not canonical."""
    fields_reversed = b"\x12\x03cbp" + b"\x0a\x02ab"
    sealed = seal_payload(payload_type(Order), fields_reversed, KEY)
    opened = open_envelope(sealed, Order, [KEY.public])
    assert opened.message == Order(exchange_id=b"ab", requester="cbp")
    assert opened.message.SerializeToString() != fields_reversed
    assert opened.payload == fields_reversed and opened.digest == digest(fields_reversed)


def test_payload_changed_by_one_bit_is_refused() -> None:
    """A signature covers every bit of the payload."""
    sealed = seal(ORDER, KEY)
    sealed.payload = sealed.payload[:-1] + bytes([sealed.payload[-1] ^ 1])
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public])


def test_signature_of_one_type_is_none_of_another() -> None:
    """Bytes signed as a query can't be presented as an order, with or without changing the label."""
    sealed = seal(Query(), KEY)
    with pytest.raises(EnvelopeInvalid, match=r"expected `application/vnd\.comity\.v1\.Order\+protobuf`"):
        open_envelope(sealed, Order, [KEY.public])
    sealed.payload_type = payload_type(Order)
    with pytest.raises(EnvelopeInvalid, match="signature"):
        open_envelope(sealed, Order, [KEY.public])


@pytest.mark.parametrize(
    "unknown", ["", "application/json", "application/vnd.comity.v1.order+protobuf", "x" * 10_000]
)
def test_unknown_payload_type_is_refused(unknown: str) -> None:
    """Only the exact type of the message asked for is opened, even when well signed; long text is cut."""
    sealed = seal_payload(unknown, ORDER.SerializeToString(), KEY)
    with pytest.raises(EnvelopeInvalid) as caught:
        open_envelope(sealed, Order, [KEY.public])
    assert len(str(caught.value)) < 500


def test_unsigned_envelope_is_refused() -> None:
    """No signature, no content."""
    sealed = seal(ORDER, KEY)
    del sealed.signatures[:]
    with pytest.raises(EnvelopeInvalid, match="not signed"):
        open_envelope(sealed, Order, [KEY.public])


def test_no_trusted_key_opens_nothing() -> None:
    """An empty collection of keys refuses; a stranger's key is not trusted for naming itself."""
    with pytest.raises(EnvelopeInvalid):
        open_envelope(seal(ORDER, KEY), Order, [])
    with pytest.raises(EnvelopeInvalid, match="0 of the trusted keys"):
        open_envelope(seal(ORDER, STRANGER), Order, [KEY.public, OTHER.public])


def test_stranger_under_a_trusted_name_is_refused() -> None:
    """A key id is a hint: the signature must be that of the trusted key with this id."""
    sealed = seal(ORDER, STRANGER)
    sealed.signatures[0].key_id = KEY.key_id
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public])


def test_trusted_key_without_its_name_is_refused() -> None:
    """A signature under a wrong id counts for nobody, although a trusted key made it."""
    sealed = seal(ORDER, KEY)
    sealed.signatures[0].key_id = STRANGER.key_id
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public])


@pytest.mark.parametrize("fault", ["signature", "key_id"])
def test_empty_signature_or_key_id_beside_a_good_one_is_refused(fault: str) -> None:
    """Nothing empty rides along with a good signature."""
    sealed = seal(ORDER, KEY, OTHER)
    sealed.signatures[1].ClearField(fault)
    with pytest.raises(EnvelopeInvalid, match="empty or without key id"):
        open_envelope(sealed, Order, [KEY.public])


def test_bytes_after_the_signature_are_refused() -> None:
    """DER with something after it is not the signature."""
    sealed = seal(ORDER, KEY)
    sealed.signatures[0].signature += b"\x00"
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public])


def test_threshold_counts_keys_not_signatures() -> None:
    """One key that signed twice, in two different ways, is one signer."""
    sealed = seal(ORDER, KEY, KEY)
    with pytest.raises(EnvelopeInvalid, match="signed by 1 of the trusted keys, expected 2"):
        open_envelope(sealed, Order, [KEY.public, OTHER.public], threshold=2)


def test_one_key_trusted_twice_is_one_key() -> None:
    """A trusted key that is listed twice doesn't make two signers."""
    with pytest.raises(EnvelopeInvalid):
        open_envelope(seal(ORDER, KEY), Order, [KEY.public, KEY.public], threshold=2)


def test_threshold_of_two_distinct_keys_opens() -> None:
    """Two of three keys meet a threshold of two; the signers are listed in the envelope's order."""
    sealed = seal(ORDER, OTHER, KEY)
    opened = open_envelope(sealed, Order, [KEY.public, STRANGER.public, OTHER.public], threshold=2)
    assert opened.key_ids == (OTHER.key_id, KEY.key_id)


@pytest.mark.parametrize("threshold", [0, -1])
def test_threshold_below_one_is_wrong_use(threshold: int) -> None:
    """A threshold that would accept an unsigned envelope is refused as a fault of our own code."""
    with pytest.raises(ValueError, match="unsigned"):
        open_envelope(seal(ORDER, KEY), Order, [KEY.public], threshold=threshold)


def test_stranger_beside_a_trusted_signer_is_ignored() -> None:
    """An agreement carries two parties' signatures; each may be opened with one party's key alone."""
    opened = open_envelope(seal(ORDER, STRANGER, KEY), Order, [KEY.public])
    assert opened.key_ids == (KEY.key_id,)


def test_broken_signature_of_a_trusted_key_spoils_the_envelope() -> None:
    """No honest writer makes one, so a good signature beside it doesn't help."""
    sealed = seal(ORDER, KEY, OTHER)
    sealed.signatures[1].signature = OTHER.sign(b"something else")
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public, OTHER.public])


def test_too_many_signatures_are_refused_before_any_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An envelope can't make its reader verify thousands of signatures."""
    sealed = seal(ORDER, KEY)
    extra = Signature(key_id=KEY.key_id, signature=sealed.signatures[0].signature)
    sealed.signatures.extend([extra] * MAX_SIGNATURES)
    monkeypatch.setattr(envelopes, "pre_authentication_encoding", _must_not_run)
    with pytest.raises(EnvelopeInvalid, match="at most"):
        open_envelope(sealed, Order, [KEY.public])


def test_payload_is_not_parsed_before_its_signature_verified() -> None:
    """Junk under a bad signature is refused for the signature: the parser never saw it."""
    junk = seal_payload(payload_type(Order), b"\x0a\xff\xff", KEY)
    with pytest.raises(EnvelopeInvalid, match="is not a `Order`"):
        open_envelope(junk, Order, [KEY.public])
    junk.signatures[0].signature = KEY.sign(b"other")
    with pytest.raises(EnvelopeInvalid, match="signature is not"):
        open_envelope(junk, Order, [KEY.public])


def test_sealing_without_a_key_is_wrong_use() -> None:
    """There are no unsigned envelopes."""
    with pytest.raises(ValueError, match="key"):
        seal(ORDER)


def test_second_signature_is_over_the_same_bytes_and_replaces_its_own() -> None:
    """The second party signs what the first did; signing again doesn't add a third signature."""
    both = add_signature(add_signature(seal(ORDER, KEY), OTHER), OTHER)
    assert [signature.key_id for signature in both.signatures] == [KEY.key_id, OTHER.key_id]
    opened = open_envelope(both, Order, [KEY.public, OTHER.public], threshold=2)
    assert opened.message == ORDER


def test_content_shows_in_no_repr() -> None:
    """What was opened may hold a plate: its repr shows who signed and the digest only."""
    query = Query(case_number="CASE-77", reason_text="a reason nobody else reads")
    opened = open_envelope(seal(query, KEY), Query, [KEY.public])
    assert "CASE-77" not in repr(opened) and "reason" not in repr(opened)
    assert KEY.key_id in repr(opened)


@pytest.mark.parametrize(
    ("message_type", "expected"),
    [
        (Order, "application/vnd.comity.v1.Order+protobuf"),
        (Receipt, "application/vnd.comity.v1.Receipt+protobuf"),
    ],
)
def test_payload_type_names_the_message(message_type: type[Message], expected: str) -> None:
    """The media type is as `envelope.proto` says."""
    assert payload_type(message_type) == expected


def test_messages_of_other_packages_have_no_payload_type() -> None:
    """A message that isn't of the contract can't be sealed or opened."""
    from google.protobuf.timestamp_pb2 import Timestamp

    with pytest.raises(ValueError, match=r"comity\.v1"):
        seal(Timestamp(), KEY)


def test_pae_is_that_of_the_specification() -> None:
    """The example of the DSSE protocol page; lengths count bytes, not characters."""
    example = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert example == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def decode_pae(encoded: bytes) -> tuple[str, bytes]:
    """Read an encoding back, by its lengths alone."""
    head, length, rest = encoded.split(b" ", 2)
    assert head == b"DSSEv1"
    kind, rest = rest[: int(length)], rest[int(length) :]
    empty, length, payload = rest.split(b" ", 2)
    assert empty == b"" and int(length) == len(payload)
    return kind.decode(), payload


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.binary(max_size=80))
def test_pae_can_be_read_back_so_no_two_statements_share_one(kind: str, payload: bytes) -> None:
    """Type and payload are recovered from the encoding: it is injective, whatever spaces they hold."""
    assert decode_pae(pre_authentication_encoding(kind, payload)) == (kind, payload)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_as_an_envelope_raise_the_one_error(data: bytes) -> None:
    """Whatever parses as an envelope on the wire opens or raises `EnvelopeInvalid`, nothing else."""
    sealed = Envelope(
        payload=data, payload_type=payload_type(Order), signatures=[Signature(key_id="k", signature=data)]
    )
    with pytest.raises(EnvelopeInvalid):
        open_envelope(sealed, Order, [KEY.public])


def test_any_flipped_bit_of_a_sealed_envelope_is_refused() -> None:
    """Each bit of payload, type, key id and signature matters: none can be flipped unnoticed."""
    sealed = seal(ORDER, KEY).SerializeToString()
    unnoticed = [bit for bit in range(len(sealed) * 8) if opens(flipped(sealed, bit))]
    assert opens(sealed) and unnoticed == []


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def opens(data: bytes) -> bool:
    try:
        open_envelope(Envelope.FromString(data), Order, [KEY.public])
    except (DecodeError, EnvelopeInvalid):
        return False
    return True


def _must_not_run(*_: object) -> bytes:
    raise AssertionError("reached")
