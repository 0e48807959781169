"""DSSE v1 envelopes: what an end says so that it can't be denied later.

A signature stands over the pre-authentication encoding of type and payload, so bytes signed as one
kind of statement can't be passed off as another. Payloads are carried as bytes and never serialized
again (protobuf is not canonical), and nothing of a payload is parsed before its signature verified.

What `open_envelope` checks, in this order:

1. the payload type is exactly that of the message asked for;
2. there are signatures, not absurdly many, and none is empty or without a key id;
3. every signature that names a trusted key verifies; one that doesn't spoils the envelope;
4. at least `threshold` *distinct* trusted keys signed (a key that signed twice counts once);
   signatures that name other keys are neither trusted nor a fault;
5. the payload parses as the message.

Digests identify statements: SHA-256 of the *payload*, never of the envelope, since ECDSA signatures
are malleable. Specification: https://github.com/secure-systems-lab/dsse (protocol and envelope, v1.0).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from comity.certs.errors import EnvelopeInvalid, SignatureInvalid
from comity.certs.keys import SigningKey, VerifyKey
from comity.v1.envelope_pb2 import Envelope, Signature

M = TypeVar("M", bound=Message)

MAX_SIGNATURES: Final = 32
"""More signatures than this are refused unread: each may cost a verification."""

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
"""A JSON envelope larger than this is refused unread."""

_PACKAGE: Final = "comity.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Generic[M]):
    """A message whose signatures verified, with the bytes that were signed. Its repr shows no content."""

    message: M = field(repr=False)
    """The statement, parsed from `payload`."""
    payload: bytes = field(repr=False)
    """The signed bytes themselves: what digests and evidence refer to."""
    key_ids: tuple[str, ...]
    """The distinct trusted keys that signed, in the envelope's order; never empty."""
    digest: bytes
    """SHA-256 of `payload`, 32 bytes."""

    @property
    def key_id(self) -> str:
        """The first trusted key that signed."""
        return self.key_ids[0]


def payload_type(message_type: type[Message]) -> str:
    """Return the media type under which messages of `message_type` are signed.

    Raises `ValueError` for a message that is not a top-level one of `comity.v1`.
    """
    descriptor = message_type.DESCRIPTOR
    if descriptor.full_name != f"{_PACKAGE}.{descriptor.name}":
        raise ValueError(f"message `{descriptor.full_name}` is not a top-level message of `{_PACKAGE}`")
    return f"application/vnd.{descriptor.full_name}+protobuf"


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE v1's PAE of a type and a payload."""
    type_bytes = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(type_bytes), type_bytes, len(payload), payload)


def digest(payload: bytes) -> bytes:
    """Return the SHA-256 of a statement's payload, 32 bytes: its name everywhere."""
    return hashlib.sha256(payload).digest()


def seal(message: Message, *keys: SigningKey) -> Envelope:
    """Return `message`, serialized once, in an envelope signed by each of `keys`.

    Raises `ValueError` without a key or for a message that is not of `comity.v1`.
    """
    return seal_payload(payload_type(type(message)), message.SerializeToString(deterministic=True), *keys)


def seal_payload(payload_type: str, payload: bytes, *keys: SigningKey) -> Envelope:
    """Return bytes that are serialized already in an envelope signed by each of `keys`.

    Raises `ValueError` without a key.
    """
    if not keys:
        raise ValueError("an envelope needs a key to sign it")
    encoded = pre_authentication_encoding(payload_type, payload)
    return Envelope(
        payload=payload,
        payload_type=payload_type,
        signatures=[Signature(key_id=key.key_id, signature=key.sign(encoded)) for key in keys],
    )


def add_signature(envelope: Envelope, key: SigningKey) -> Envelope:
    """Return a copy of `envelope` with one more signature, over the same bytes.

    The second party of an agreement signs so. It replaces an earlier signature under the same key id, and
    checks nothing: open the envelope first.
    """
    encoded = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    kept = [signature for signature in envelope.signatures if signature.key_id != key.key_id]
    added = Signature(key_id=key.key_id, signature=key.sign(encoded))
    return Envelope(payload=envelope.payload, payload_type=envelope.payload_type, signatures=[*kept, added])


def open_envelope(
    envelope: Envelope, message_type: type[M], keys: Iterable[VerifyKey], *, threshold: int = 1
) -> Opened[M]:
    """Return the message in `envelope`, signed by at least `threshold` of `keys`.

    Raises `EnvelopeInvalid` at the first check of this module's list that fails, and `ValueError` for a
    threshold below one.
    """
    if threshold < 1:
        raise ValueError(f"threshold `{threshold}` would accept an unsigned envelope, expected 1 or more")
    expected = payload_type(message_type)
    if envelope.payload_type != expected:
        raise EnvelopeInvalid(f"envelope holds `{envelope.payload_type[:120]!a}`, expected `{expected}`")
    signers = _signers(envelope, keys)
    if len(signers) < threshold:
        raise EnvelopeInvalid(
            f"envelope of `{message_type.DESCRIPTOR.name}`: signed by {len(signers)} of the trusted keys, "
            f"expected {threshold} or more"
        )
    try:
        message = message_type.FromString(envelope.payload)
    except DecodeError as error:
        raise EnvelopeInvalid(f"envelope's payload is not a `{message_type.DESCRIPTOR.name}`") from error
    return Opened(message=message, payload=envelope.payload, key_ids=signers, digest=digest(envelope.payload))


def _signers(envelope: Envelope, keys: Iterable[VerifyKey]) -> tuple[str, ...]:
    """Return the ids of the distinct trusted keys whose signatures verify (checks 2 to 4)."""
    _check_signatures(envelope.signatures)
    trusted = {key.key_id: key for key in keys}
    encoded = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    signers: dict[str, None] = {}
    for signature in envelope.signatures:
        key = trusted.get(signature.key_id)
        if key is None:
            continue
        try:
            key.verify(signature.signature, encoded)
        except SignatureInvalid as error:
            raise EnvelopeInvalid(f"envelope's {error}") from error
        signers[key.key_id] = None
    return tuple(signers)


def _check_signatures(signatures: Sequence[Signature]) -> None:
    """Raise `EnvelopeInvalid` unless there are signatures, within bounds, each with key id and bytes."""
    if not signatures:
        raise EnvelopeInvalid("envelope is not signed")
    if len(signatures) > MAX_SIGNATURES:
        raise EnvelopeInvalid(f"envelope has {len(signatures)} signatures, expected at most {MAX_SIGNATURES}")
    if not all(signature.key_id and signature.signature for signature in signatures):
        raise EnvelopeInvalid("envelope has a signature that is empty or without key id")


def to_json(envelope: Envelope) -> bytes:
    """Return the envelope in DSSE's JSON form, indented, with a final newline: how documents lie on disk."""
    document = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [
            {"keyid": signature.key_id, "sig": base64.b64encode(signature.signature).decode()}
            for signature in envelope.signatures
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def from_json(data: bytes) -> Envelope:
    """Return the envelope in DSSE's JSON form; verifies nothing: `open_envelope` does.

    Raises `EnvelopeInvalid` unless `data` is one UTF-8 JSON object with exactly the fields of DSSE, none
    twice, its base64 canonical (standard alphabet, padded, no stray bits), its text printable ASCII, and its
    signatures between one and `MAX_SIGNATURES`, none empty.
    """
    if len(data) > MAX_JSON_BYTES:
        raise EnvelopeInvalid(f"envelope is larger than {MAX_JSON_BYTES} bytes")
    try:
        document: object = json.loads(data.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise EnvelopeInvalid("envelope is not JSON") from error
    payload, kind, signatures = _fields(document, "envelope", ("payload", "payloadType", "signatures"))
    if not isinstance(signatures, list):
        raise EnvelopeInvalid("envelope: `signatures` is not a list")
    envelope = Envelope(
        payload=_base64(payload, "payload"),
        payload_type=_text(kind, "payloadType"),
        signatures=[_signature(entry) for entry in signatures[: MAX_SIGNATURES + 1]],
    )
    _check_signatures(envelope.signatures)
    return envelope


def _signature(entry: object) -> Signature:
    """Return one entry of `signatures`."""
    key_id, signature = _fields(entry, "signature", ("keyid", "sig"))
    return Signature(key_id=_text(key_id, "keyid"), signature=_base64(signature, "sig"))


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of `pairs`; two readers must not see two different values of one name."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise EnvelopeInvalid("envelope has a field twice")
    return found


def _fields(value: object, what: str, names: tuple[str, ...]) -> list[object]:
    """Return the values of exactly `names` of a JSON object, in that order."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise EnvelopeInvalid(f"{what}: expected an object with exactly {', '.join(names)}")
    return [value[name] for name in names]


def _text(value: object, name: str) -> str:
    """Return a field that must be printable ASCII, as key ids and media types are."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise EnvelopeInvalid(f"envelope: `{name}` is not printable ASCII")
    return value


def _base64(value: object, name: str) -> bytes:
    """Return the bytes of a field in canonical standard base64 (RFC 4648, sections 3.5 and 4)."""
    if isinstance(value, str) and value.isascii():
        try:
            data = base64.b64decode(value, validate=True)
        except binascii.Error:
            data = None
        if data is not None and base64.b64encode(data).decode() == value:
            return data
    raise EnvelopeInvalid(f"envelope: `{name}` is not canonical base64")
