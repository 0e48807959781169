"""Write `vectors.json`: envelopes that must be accepted and envelopes that must be refused, one fault each.

Run: `python tests/vectors/envelope/generate.py`. The output is the same on every run: keys come from
fixed text, signatures are deterministic (RFC 6979). It builds everything from `cryptography` and the
DSSE specification, with nothing of `comity.certs`, so that it is a second implementation of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from comity.v1.query_pb2 import Order

ORDER_TYPE = "application/vnd.comity.v1.Order+protobuf"
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key that anyone can make again: for these vectors and nothing else."""
    scalar = int.from_bytes(hashlib.sha256(f"comity envelope vector key {name}".encode()).digest(), "big")
    return ec.derive_private_key(scalar % (ORDER_OF_P256 - 1) + 1, ec.SECP256R1())


ALICE, BOB, CAROL, MALLORY = (key(name) for name in ("alice", "bob", "carol", "mallory"))


def spki(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def key_id(private: ec.EllipticCurvePrivateKey) -> str:
    point = private.public_key().public_numbers()
    jwk = {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url(point.x.to_bytes(32, "big")),
        "y": base64url(point.y.to_bytes(32, "big")),
    }
    text = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(text.encode()).digest())


def pae(kind: str, payload: bytes) -> bytes:
    parts = [b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload]
    return b" ".join(parts)


def sign(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def signature(
    private: ec.EllipticCurvePrivateKey, payload: bytes, kind: str = ORDER_TYPE
) -> dict[str, object]:
    return {"keyid": key_id(private), "sig": b64(sign(private, pae(kind, payload)))}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document(payload: bytes, *signatures: dict[str, object], kind: str = ORDER_TYPE) -> dict[str, object]:
    return {"payload": b64(payload), "payloadType": kind, "signatures": list(signatures)}


def malleated(found: dict[str, object]) -> dict[str, object]:
    """The other signature, (r, n - s), that is as valid."""
    r, s = utils.decode_dss_signature(base64.b64decode(str(found["sig"])))
    return {**found, "sig": b64(utils.encode_dss_signature(r, ORDER_OF_P256 - s))}


def with_bytes_after(found: dict[str, object]) -> dict[str, object]:
    return {**found, "sig": b64(base64.b64decode(str(found["sig"])) + b"\x00")}


def with_stray_bits(text: str) -> str:
    """The same bytes, but with non-zero bits in the padding of the base64."""
    end = text.rstrip("=")
    return end[:-1] + BASE64[BASE64.index(end[-1]) + 1] + "=" * (len(text) - len(end))


PAYLOAD = Order(
    exchange_id=bytes(range(16)), requester="lapd", roster_version=7, leaf_count=2, nonce=bytes(range(16, 32))
).SerializeToString(deterministic=True)
if len(PAYLOAD) % 3 == 0:
    raise SystemExit("the payload's base64 needs padding, for the vectors about padding")

A, B, C, M = (signature(private, PAYLOAD) for private in (ALICE, BOB, CAROL, MALLORY))
TRUST_ALICE, TRUST_BOTH = [ALICE], [ALICE, BOB]


def case(
    name: str, fault: str, text: object, trusted: list[ec.EllipticCurvePrivateKey], threshold: int = 1
) -> dict[str, object]:
    return {
        "name": name,
        "why": fault,
        "document": text if isinstance(text, str) else json.dumps(text),
        "trusted": [spki(private).hex() for private in trusted],
        "threshold": threshold,
    }


def accepted() -> list[dict[str, object]]:
    good = document(PAYLOAD, A)
    cases = [
        case("one-signature", "one trusted key signed", good, TRUST_ALICE),
        case("empty-payload", "the empty message is a message",
             document(b"", signature(ALICE, b"")), TRUST_ALICE),
        case("other-s", "(r, n - s) is as valid: statements are named by payload",
             document(PAYLOAD, malleated(A)), TRUST_ALICE),
        case("two-of-two", "both keys signed", document(PAYLOAD, A, B), TRUST_BOTH, 2),
        case("two-of-three", "two of three keys signed", document(PAYLOAD, C, A), [ALICE, BOB, CAROL], 2),
        case("stranger-beside", "a stranger's signature is neither trusted nor a fault",
             document(PAYLOAD, M, A), TRUST_ALICE),
        case("fields-in-other-order", "JSON objects have no order",
             json.dumps({name: good[name] for name in reversed(good)}), TRUST_ALICE),
    ]  # fmt: skip
    return [{**entry, "payload": json.loads(str(entry["document"]))["payload"]} for entry in cases]


def refused_by_signature() -> list[dict[str, object]]:
    """Faults that every DSSE verifier must find."""
    changed = PAYLOAD[:-1] + bytes([PAYLOAD[-1] ^ 1])
    other = "application/vnd.comity.v1.Receipt+protobuf"
    bare: dict[str, object] = {"keyid": key_id(ALICE), "sig": b64(sign(ALICE, PAYLOAD))}
    return [
        case("payload-changed", "one bit of the payload", document(changed, A), TRUST_ALICE),
        case("type-relabelled", "signed as a receipt, presented as an order",
             document(PAYLOAD, signature(ALICE, PAYLOAD, other)), TRUST_ALICE),
        case("signed-without-pae", "signed over the bare payload", document(PAYLOAD, bare), TRUST_ALICE),
        case("stranger-alone", "signed by a key that isn't trusted", document(PAYLOAD, M), TRUST_ALICE),
        case("stranger-under-trusted-name", "a stranger's signature under a trusted key's id",
             document(PAYLOAD, {**M, "keyid": A["keyid"]}), TRUST_ALICE),
        case("one-of-two", "threshold of two, one signature", document(PAYLOAD, A), TRUST_BOTH, 2),
        case("der-bytes-after", "a byte after the DER signature",
             document(PAYLOAD, with_bytes_after(A)), TRUST_ALICE),
    ]  # fmt: skip


def refused_by_us() -> list[dict[str, object]]:
    """Faults that the specification leaves to the application, or that a lenient reader lets pass."""
    good = document(PAYLOAD, A)
    text = json.dumps(good)
    receipt = "application/vnd.comity.v1.Receipt+protobuf"
    broken = b"\x0a\xff"
    return [
        case("same-key-twice", "one key signed twice, which is one signer",
             document(PAYLOAD, A, malleated(A)), TRUST_BOTH, 2),
        case("broken-beside-good", "a second signature under a trusted id doesn't verify",
             document(PAYLOAD, A, {**B, "keyid": A["keyid"]}), TRUST_ALICE),
        case("another-type", "a valid receipt where an order is expected",
             document(PAYLOAD, signature(ALICE, PAYLOAD, receipt), kind=receipt), TRUST_ALICE),
        case("payload-not-a-message", "signed bytes that are no protobuf message",
             document(broken, signature(ALICE, broken)), TRUST_ALICE),
        case("no-signatures", "nobody signed", document(PAYLOAD), TRUST_ALICE),
        case("empty-signature", "an empty signature beside a good one",
             document(PAYLOAD, A, {**B, "sig": ""}), TRUST_ALICE),
        case("empty-key-id", "a signature without key id",
             document(PAYLOAD, {**A, "keyid": ""}), TRUST_ALICE),
        case("unknown-field", "a field that DSSE doesn't have", {**good, "note": "x"}, TRUST_ALICE),
        case("unknown-signature-field", "a field in a signature that DSSE doesn't have",
             document(PAYLOAD, {**A, "cert": "x"}), TRUST_ALICE),
        case("field-missing", "no payload type",
             {name: good[name] for name in ("payload", "signatures")}, TRUST_ALICE),
        case("field-twice", "two readers could see two payloads",
             text[:-1] + ', "payload": "' + b64(PAYLOAD) + '"}', TRUST_ALICE),
        case("base64-stray-bits", "non-zero bits in the payload's padding",
             {**good, "payload": with_stray_bits(b64(PAYLOAD))}, TRUST_ALICE),
        case("base64-unpadded", "the payload's base64 lacks its padding",
             {**good, "payload": b64(PAYLOAD).rstrip("=")}, TRUST_ALICE),
        case("base64-newline", "a line break in the base64",
             document(PAYLOAD, {**A, "sig": str(A["sig"])[:8] + "\n" + str(A["sig"])[8:]}), TRUST_ALICE),
        case("text-after", "text after the JSON object", text + "x", TRUST_ALICE),
        case("not-an-object", "a list of one envelope", json.dumps([good]), TRUST_ALICE),
    ]  # fmt: skip


def main() -> None:
    vectors = {
        "comment": "made by generate.py beside this file; README.md says how to read it",
        "message": "comity.v1.Order",
        "keys": {spki(private).hex(): key_id(private) for private in (ALICE, BOB, CAROL, MALLORY)},
        "pae": [
            {"payload_type": kind, "payload": payload.hex(), "encoded": pae(kind, payload).hex()}
            for kind, payload in (
                ("http://example.com/HelloWorld", b"hello world"),
                (ORDER_TYPE, b""),
                ("", b""),
                (ORDER_TYPE, PAYLOAD),
            )
        ],
        "accepted": accepted(),
        "refused_by_signature": refused_by_signature(),
        "refused_by_us": refused_by_us(),
    }
    target = Path(__file__).with_name("vectors.json")
    target.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
