"""The published vectors of `tests/vectors/envelope`, and a second implementation that agrees on them."""

from __future__ import annotations

import base64
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from comity.certs.envelope import (
    from_json,
    open_envelope,
    payload_type,
    pre_authentication_encoding,
    seal,
    to_json,
)
from comity.certs.errors import EnvelopeInvalid
from comity.certs.keys import SigningKey, VerifyKey
from comity.v1.query_pb2 import Order

FOLDER = Path(__file__).parents[1] / "vectors" / "envelope"
VECTORS: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_text())


def cases(*lists: str) -> pytest.MarkDecorator:
    found = [case for name in lists for case in VECTORS[name]]
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


def our_keys(case: dict[str, Any]) -> list[VerifyKey]:
    return [VerifyKey.from_der(bytes.fromhex(key)) for key in case["trusted"]]


def their_key(key: VerifyKey) -> SSlibKey:
    """The same key as `securesystemslib` holds it, under our key id."""
    return SSlibKey.from_crypto(load_der_public_key(key.der), keyid=key.key_id)


def test_vectors_are_what_the_generator_writes(tmp_path: Path) -> None:
    """The committed file is the generator's output, byte for byte."""
    copy = tmp_path / "generate.py"
    copy.write_text((FOLDER / "generate.py").read_text())
    runpy.run_path(str(copy), run_name="__main__")
    assert (tmp_path / "vectors.json").read_bytes() == (FOLDER / "vectors.json").read_bytes()


@pytest.mark.parametrize(("spki", "key_id"), VECTORS["keys"].items())
def test_key_has_its_id(spki: str, key_id: str) -> None:
    """The thumbprint agrees with the generator's own computation (RFC 7638)."""
    assert VerifyKey.from_der(bytes.fromhex(spki)).key_id == key_id


@pytest.mark.parametrize("vector", VECTORS["pae"])
def test_pre_authentication_encoding(vector: dict[str, str]) -> None:
    """The bytes to be signed agree with the generator's own computation (DSSE v1)."""
    encoded = pre_authentication_encoding(vector["payload_type"], bytes.fromhex(vector["payload"]))
    assert encoded == bytes.fromhex(vector["encoded"])


@cases("accepted")
def test_envelope_is_accepted(case: dict[str, Any]) -> None:
    """Each good envelope opens and gives the payload that the vector names."""
    envelope = from_json(case["document"].encode())
    opened = open_envelope(envelope, Order, our_keys(case), threshold=case["threshold"])
    assert base64.b64encode(opened.payload).decode() == case["payload"]


@cases("refused_by_signature", "refused_by_us")
def test_envelope_is_refused(case: dict[str, Any]) -> None:
    """Each envelope with one fault is refused, by the reader of JSON or by the opener."""
    with pytest.raises(EnvelopeInvalid):
        envelope = from_json(case["document"].encode())
        open_envelope(envelope, Order, our_keys(case), threshold=case["threshold"])


@cases("accepted")
def test_securesystemslib_accepts_it_too(case: dict[str, Any]) -> None:
    """A second implementation finds the same envelopes good."""
    theirs = TheirEnvelope.from_dict(json.loads(case["document"]))
    theirs.verify([their_key(key) for key in our_keys(case)], case["threshold"])


@cases("refused_by_signature")
def test_securesystemslib_refuses_it_too(case: dict[str, Any]) -> None:
    """A second implementation finds the same faults in signatures."""
    theirs = TheirEnvelope.from_dict(json.loads(case["document"]))
    with pytest.raises(VerificationError):
        theirs.verify([their_key(key) for key in our_keys(case)], case["threshold"])


def test_securesystemslib_verifies_what_we_seal() -> None:
    """An envelope of ours, two signatures, verifies there with a threshold of two."""
    keys = [SigningKey.generate(), SigningKey.generate()]
    ours = json.loads(to_json(seal(Order(requester="cbp"), *keys)))
    accepted = TheirEnvelope.from_dict(ours).verify([their_key(key.public) for key in keys], 2)
    assert set(accepted) == {key.key_id for key in keys}


def test_we_verify_what_securesystemslib_signs() -> None:
    """An envelope that it made and signed opens here."""
    key = SigningKey.generate()
    signer = CryptoSigner(key._key, their_key(key.public))
    theirs = TheirEnvelope(Order(requester="cbp").SerializeToString(), payload_type(Order), {})
    theirs.sign(signer)
    opened = open_envelope(from_json(json.dumps(theirs.to_dict()).encode()), Order, [key.public])
    assert opened.message == Order(requester="cbp") and opened.key_id == key.key_id
