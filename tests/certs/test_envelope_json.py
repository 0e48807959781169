"""The JSON form of envelopes: one spelling for each, and no surprise for its reader."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs.envelope import MAX_JSON_BYTES, MAX_SIGNATURES, from_json, open_envelope, seal, to_json
from comity.certs.errors import EnvelopeInvalid
from comity.certs.keys import SigningKey
from comity.v1.envelope_pb2 import Envelope, Signature
from comity.v1.query_pb2 import Order

KEY = SigningKey.generate()
SEALED = seal(Order(exchange_id=b"e" * 16), KEY)


def document(**changes: object) -> dict[str, Any]:
    return {**json.loads(to_json(SEALED)), **changes}


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def test_json_form_has_the_fields_of_dsse() -> None:
    """`payload`, `payloadType`, `signatures` with `keyid` and `sig`, standard base64."""
    found = json.loads(to_json(SEALED))
    assert found == {
        "payload": base64.b64encode(SEALED.payload).decode(),
        "payloadType": "application/vnd.comity.v1.Order+protobuf",
        "signatures": [
            {"keyid": KEY.key_id, "sig": base64.b64encode(SEALED.signatures[0].signature).decode()}
        ],
    }


def test_sealed_envelope_survives_the_json_form() -> None:
    """Written and read again it is the same envelope and opens."""
    again = from_json(to_json(SEALED))
    assert again == SEALED
    open_envelope(again, Order, [KEY.public])


@pytest.mark.parametrize(
    "fault",
    [
        document(note="x"),
        document(payload=None),
        document(payload=1),
        document(payload="not base64!"),
        document(payload="YQ"),
        document(payload="YR=="),
        document(payload="YQ==\n"),
        document(payload="-_-_"),
        document(payload="YQ==YQ=="),
        document(payload="ＹＱ=="),
        document(payloadType=1),
        document(payloadType="a\nb"),
        document(payloadType="\ud800"),
        document(payloadType="é"),
        document(signatures={}),
        document(signatures=[]),
        document(signatures=["x"]),
        document(signatures=[{"keyid": "k"}]),
        document(signatures=[{"keyid": "k", "sig": ""}]),
        document(signatures=[{"keyid": "", "sig": "YQ=="}]),
        document(signatures=[{"keyid": "k", "sig": "YQ==", "cert": "x"}]),
        document(signatures=[{"keyid": None, "sig": "YQ=="}]),
        document(signatures=[{"keyid": "k", "sig": "YQ=="}] * (MAX_SIGNATURES + 1)),
        [document()],
        None,
        1.5,
        "text",
    ],
)
def test_malformed_document_is_refused(fault: object) -> None:
    """Unknown fields, wrong types, base64 that isn't canonical, control characters, no signatures."""
    with pytest.raises(EnvelopeInvalid):
        from_json(dumped(fault))


@pytest.mark.parametrize("missing", ["payload", "payloadType", "signatures"])
def test_missing_field_is_refused(missing: str) -> None:
    """Every field must be there."""
    found = document()
    del found[missing]
    with pytest.raises(EnvelopeInvalid):
        from_json(dumped(found))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        "﻿{}".encode(),
        to_json(SEALED).decode().encode("utf-16"),
        to_json(SEALED) + b"x",
        to_json(SEALED) + to_json(SEALED),
        b"[" * 100_000,
        b'{"payload":' * 50_000,
        b"1" * 10_000,
        b"NaN",
    ],
    ids=["empty", "cut", "not-utf8", "bom", "utf16", "after", "twice", "deep", "deeper", "digits", "nan"],
)
def test_what_is_no_json_document_is_refused(data: bytes) -> None:
    """Broken, deep or doubled text raises the one error: no RecursionError, no UnicodeError."""
    with pytest.raises(EnvelopeInvalid):
        from_json(data)


@pytest.mark.parametrize("where", ["payload", "keyid"])
def test_field_given_twice_is_refused(where: str) -> None:
    """Two readers must not see two different envelopes: a repeated name is refused at every level."""
    text = to_json(SEALED).decode()
    doubled = text.replace(f'"{where}":', f'"{where}": "AAAA", "{where}":', 1)
    assert json.loads(doubled) == json.loads(text)
    with pytest.raises(EnvelopeInvalid, match="twice"):
        from_json(doubled.encode())


def test_enormous_document_is_refused_unread() -> None:
    """Size is bounded before anything is parsed."""
    with pytest.raises(EnvelopeInvalid, match="larger"):
        from_json(b" " * (MAX_JSON_BYTES + 1))


def test_content_shows_in_no_error() -> None:
    """A document that doesn't read says what is wrong with it, not what stands in it."""
    with pytest.raises(EnvelopeInvalid) as caught:
        from_json(dumped(document(payload="8ABC123!")))
    assert "8ABC123" not in str(caught.value)


ENVELOPES = st.builds(
    Envelope,
    payload=st.binary(max_size=100),
    payload_type=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    signatures=st.lists(
        st.builds(
            Signature,
            key_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=43),
            signature=st.binary(min_size=1, max_size=72),
        ),
        min_size=1,
        max_size=4,
    ),
)


@settings(max_examples=100, deadline=None)
@given(ENVELOPES)
def test_every_envelope_reads_back_as_written(envelope: Envelope) -> None:
    """Reading inverts writing, and writing again gives the same bytes."""
    text = to_json(envelope)
    assert from_json(text) == envelope
    assert to_json(from_json(text)) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON | st.binary(max_size=60))
def test_any_input_gives_an_envelope_or_the_one_error(value: object) -> None:
    """JSON of any shape, and bytes of any kind, never escape as another exception."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        envelope = from_json(data)
    except EnvelopeInvalid:
        return
    assert json.loads(to_json(envelope)) == json.loads(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(to_json(SEALED)) - 1), st.integers(0, 255))
def test_changed_byte_is_refused_or_changes_nothing_that_was_signed(index: int, value: int) -> None:
    """A byte changed anywhere in the file: the envelope opens only if its content is the same."""
    data = bytearray(to_json(SEALED))
    data[index] = value
    try:
        opened = open_envelope(from_json(bytes(data)), Order, [KEY.public])
    except EnvelopeInvalid:
        return
    assert opened.payload == SEALED.payload
