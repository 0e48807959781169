"""Keys: what they accept to be, how they are named, and that their secret stays in."""

from __future__ import annotations

import pickle
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from comity.certs.errors import FileExposed, FileUnusable, KeyUnusable, SignatureInvalid
from comity.certs.keys import SigningKey, VerifyKey

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def test_key_id_is_that_of_rfc_9449() -> None:
    """RFC 9449, section 6.1 prints a P-256 key and its RFC 7638 thumbprint; ours is the same."""
    x, y = (
        int.from_bytes(urlsafe_b64decode(part + "="), "big")
        for part in (
            "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        )
    )
    key = VerifyKey(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
    assert key.key_id == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_signature_verifies_and_only_over_its_own_bytes() -> None:
    """A signature verifies with its key over its bytes; another key or one changed byte is refused."""
    key = SigningKey.generate()
    signature = key.sign(b"statement")
    key.public.verify(signature, b"statement")
    with pytest.raises(SignatureInvalid):
        key.public.verify(signature, b"statemenT")
    with pytest.raises(SignatureInvalid):
        SigningKey.generate().public.verify(signature, b"statement")


@pytest.mark.parametrize("junk", [b"\x00", b"\x30\x00", b"trailing"])
def test_bytes_after_a_der_signature_are_refused(junk: bytes) -> None:
    """What follows a DER signature makes it another string of bytes: not accepted."""
    key = SigningKey.generate()
    with pytest.raises(SignatureInvalid):
        key.public.verify(key.sign(b"x") + junk, b"x")


@pytest.mark.parametrize(
    "signature", [b"", b"\x00", b"\x30", b"\x30\x00", b"\x30\x06\x02\x01\x00\x02\x01\x00"]
)
def test_degenerate_signature_is_refused(signature: bytes) -> None:
    """Empty, truncated and zero signatures raise the one error, and no other."""
    with pytest.raises(SignatureInvalid):
        SigningKey.generate().public.verify(signature, b"x")


def test_malleated_signature_is_valid_so_nothing_may_be_keyed_on_signatures() -> None:
    """(r, n - s) verifies too: why digests and replay protection use payloads and exchange ids only."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = SigningKey.generate()
    signature = key.sign(b"x")
    r, s = utils.decode_dss_signature(signature)
    other = utils.encode_dss_signature(r, order - s)
    assert other != signature
    key.public.verify(other, b"x")


def test_public_key_round_trips_as_der() -> None:
    """DER in, DER out, equal, with the same id and hash."""
    key = SigningKey.generate().public
    again = VerifyKey.from_der(key.der)
    assert again == key and again.der == key.der and again.key_id == key.key_id
    assert len({again, key}) == 1 and len(key.key_id) == 43 and len(key.der) == 91


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["ed25519", "rsa", "p-384", "secp256k1"],
)
def test_other_kinds_of_key_are_refused(
    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    """Statements are P-256 only: neither public nor private keys of another kind are taken."""
    with pytest.raises(KeyUnusable):
        VerifyKey.from_der(key.public_key().public_bytes(DER, SPKI))
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(key.private_bytes(PEM, PKCS8, PLAIN))


def test_second_encodings_of_a_key_are_refused() -> None:
    """A compressed point, bytes after the key, and a point off the curve are not the key."""
    key = SigningKey.generate().public
    point = key.der[-65:]
    algorithm = key.der[2:-68]
    compressed = bytes([2 + point[64] % 2]) + point[1:33]
    bits = b"\x03\x22\x00" + compressed
    with pytest.raises(KeyUnusable):
        VerifyKey.from_der(b"\x30" + bytes([len(algorithm + bits)]) + algorithm + bits)
    with pytest.raises(KeyUnusable):
        VerifyKey.from_der(key.der + b"\x00")
    with pytest.raises(KeyUnusable):
        VerifyKey.from_der(key.der[:-1] + bytes([key.der[-1] ^ 1]))
    with pytest.raises(KeyUnusable):
        VerifyKey.from_der(b"")


def test_saved_key_is_private_and_loads_again(tmp_path: Path) -> None:
    """A key is written with mode 0600, and is the same key when read."""
    key = SigningKey.generate()
    path = tmp_path / "keys" / "statement.key"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).key_id == key.key_id


def test_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    """A key file with a mode wider than 0600 is refused; the text names the file and the mode."""
    path = tmp_path / "statement.key"
    SigningKey.generate().save(path)
    path.chmod(0o640)
    with pytest.raises(FileExposed, match=r"statement\.key.*0640.*0600"):
        SigningKey.load(path)


def test_missing_and_broken_key_files_say_so(tmp_path: Path) -> None:
    """A file that isn't there, and one that holds no key or an encrypted one, are told apart."""
    path = tmp_path / "statement.key"
    with pytest.raises(FileUnusable, match="no such file"):
        SigningKey.load(path)
    path.touch(0o600)
    with pytest.raises(KeyUnusable, match=r"statement\.key"):
        SigningKey.load(path)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, encrypted))
    with pytest.raises(KeyUnusable):
        SigningKey.load(path)


def test_private_key_shows_in_no_repr_and_no_pickle() -> None:
    """A repr names the key by its public id; pickling is refused."""
    key = SigningKey.generate()
    assert repr(key) == f"SigningKey({key.key_id})"
    with pytest.raises(TypeError):
        pickle.dumps(key)
