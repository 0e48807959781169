"""Kinds of bad key, signature and list, in one table: none is accepted, each for its own fault.

What judges them: `verify_leaf` for keys and signatures of a chain, `EndCredentials` for what an end holds
itself and starts with, `Federation` for the roster, and `es256_keys` for an identity provider's set.
Certificates and their chains, names and times: `test_bad_certificates.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from comity.certs.credentials import EndCredentials
from comity.certs.errors import (
    CertificateRejected,
    CertsError,
    CredentialsUnusable,
    FileExposed,
    FileUnusable,
    KeyUnusable,
    RosterExpired,
    RosterInvalid,
    SignatureInvalid,
)
from comity.certs.instants import from_instant
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.x509 import issue_leaf, verify_leaf
from tests.support.minting import CBP, DAY, DEA, GATEWAY, NOW, P256, URI, mint
from tests.support.rosters import NOON, Forge
from tests.support.surgery import (
    ALGORITHM,
    SHA1_ECDSA,
    SHA256_ECDSA,
    Change,
    operated,
    put,
    with_explicit_curve,
    with_signature,
)

Kind = tuple[str, type[CertsError], str, Callable[[], object]]
"""What is bad, how and in which words it is refused, and what is judged."""

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def judge(der: bytes) -> object:
    return verify_leaf([der], ca_certificates=[CBP.der], spiffe_id=GATEWAY, now=NOW)


def with_key(key: Any) -> object:
    return judge(mint(CBP, URI(GATEWAY), key=key))


def altered(change: Change, **how: Any) -> object:
    return judge(operated(mint(CBP, URI(GATEWAY)), CBP.key, change, **how))


def signed(change: Callable[[bytes], bytes]) -> object:
    """A good leaf under its own signature, changed."""
    der = mint(CBP, URI(GATEWAY))
    return judge(with_signature(der, change(x509.load_der_x509_certificate(der).signature)))


KEYS: list[Kind] = [
    (kind, CertificateRejected, "P-256 or P-384", lambda made=made: with_key(made()))
    for kind, made in {
        "RSA of 2,048 bits": lambda: rsa.generate_private_key(65537, 2048),
        "RSA of 1,024 bits": lambda: rsa.generate_private_key(65537, 1024),
        "DSA": lambda: dsa.generate_private_key(1024),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "Ed448": ed448.Ed448PrivateKey.generate,
        "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    }.items()
]
KEYS += [
    (
        "P-256 with its curve written out",
        CertificateRejected,
        "explicit ECC parameters|key or signature is of an unknown kind",  # as `cryptography` has it
        lambda: altered(with_explicit_curve),
    ),
    ("no point of its curve", CertificateRejected, "unknown kind|not DER", lambda: altered(off_the_curve)),
]


def off_the_curve(found: list[bytes]) -> None:
    found[6] = found[6][:-1] + bytes([found[6][-1] ^ 1])


SIGNATURES: list[Kind] = [
    (
        "of another key",
        CertificateRejected,
        "doesn't verify",
        lambda: judge(operated(mint(CBP, URI(GATEWAY)), DEA.key, lambda found: None)),
    ),
    (
        "with a bit flipped",
        CertificateRejected,
        "doesn't verify",
        lambda: signed(lambda one: one[:-1] + bytes([one[-1] ^ 1])),
    ),
    ("of nothing", CertificateRejected, "doesn't verify", lambda: signed(lambda one: b"")),
    (
        "of zeros",
        CertificateRejected,
        "doesn't verify",
        lambda: signed(lambda one: bytes.fromhex("3006020100020100")),
    ),
    (
        "of one and the order",
        CertificateRejected,
        "doesn't verify",
        lambda: signed(lambda one: bytes.fromhex("3026020101022100") + ORDER.to_bytes(32, "big")),
    ),
    ("cut off", CertificateRejected, "doesn't verify", lambda: signed(lambda one: one[:-3])),
    ("with bytes after it", CertificateRejected, "doesn't verify", lambda: signed(lambda one: one + b"\x00")),
    (
        "over SHA-1",
        CertificateRejected,
        "hash other than|doesn't verify",
        lambda: altered(put(ALGORITHM, SHA1_ECDSA), outer=SHA1_ECDSA, hash_=hashes.SHA1()),
    ),
    (
        "that says SHA-1 within and SHA-256 without",
        CertificateRejected,
        "not DER|doesn't verify|unknown kind",
        lambda: altered(put(ALGORITHM, SHA1_ECDSA)),
    ),
    (
        "that says SHA-256 within and SHA-1 without",
        CertificateRejected,
        "not DER|doesn't verify|unknown kind|hash other",
        lambda: altered(put(ALGORITHM, SHA256_ECDSA), outer=SHA1_ECDSA),
    ),
    (
        "of a statement over other bytes",
        SignatureInvalid,
        "not that of key",
        lambda: statement().public.verify(statement().sign(b"a"), b"b"),
    ),
    (
        "of a statement, raw",
        SignatureInvalid,
        "not that of key",
        lambda: statement().public.verify(bytes(64), b"a"),
    ),
    (
        "of a statement by another",
        SignatureInvalid,
        "not that of key",
        lambda: statement().public.verify(SigningKey.generate().sign(b"a"), b"a"),
    ),
]


@cache
def statement() -> SigningKey:
    return SigningKey.generate()


def roster(spoil: Callable[[Forge], object], **how: Any) -> object:
    """A roster whose documents were forged, as an end verifies them."""
    forge = Forge()
    spoil(forge)
    return forge.verify(**how)


def field(document: str, name: str, value: Any) -> Callable[[Forge], object]:
    """Change a field of `roster` or `timestamp` before it is signed."""

    def change(message: Any) -> None:
        if isinstance(value, str | bytes | int):
            setattr(message, name, value)
        else:
            getattr(message, name).CopyFrom(from_instant(value))

    return lambda forge: setattr(forge, f"change_{document}", change)


def signers(document: str, *keys: int) -> Callable[[Forge], object]:
    """Sign with the authority's keys of these numbers; -1 is a stranger's."""

    def spoil(forge: Forge) -> None:
        found = [forge.keys[one] if one >= 0 else SigningKey.generate() for one in keys]
        setattr(forge, f"{document}_signers", found)

    return spoil


def lapd(spoil: Callable[[Forge], object], *, by_lahd: bool = False) -> Callable[[Forge], object]:
    """Change LAPD's key set, and have it signed anew."""

    def change(forge: Forge) -> None:
        spoil(forge)
        forge.lapd.sign_key_set(forge.lahd.identity if by_lahd else None)

    return change


def cas(*ders: bytes) -> Callable[[Forge], object]:
    return lapd(lambda forge: forge.lapd.key_set.ca_certificates.__setitem__(slice(None), list(ders)))


ROSTERS: list[Kind] = [
    ("signed by one of two", RosterInvalid, "isn't signed", lambda: roster(signers("roster", 0))),
    ("signed twice by one", RosterInvalid, "isn't signed", lambda: roster(signers("roster", 0, 0))),
    ("signed by strangers", RosterInvalid, "isn't signed", lambda: roster(signers("roster", -1, -1))),
    (
        "stamped by strangers",
        RosterInvalid,
        "timestamp isn't signed",
        lambda: roster(signers("timestamp", -1, -1)),
    ),
    ("past its time", RosterExpired, "roster expired", lambda: roster(field("roster", "expires_at", NOON))),
    (
        "frozen: its timestamp past its time",
        RosterExpired,
        "timestamp expired",
        lambda: roster(lambda forge: None, now=NOON + 30 * DAY),
    ),
    (
        "from the future",
        RosterInvalid,
        "check the clock",
        lambda: roster(field("roster", "signed_at", NOON + DAY)),
    ),
    (
        "stamped in the future",
        RosterInvalid,
        "check the clock",
        lambda: roster(field("timestamp", "signed_at", NOON + DAY)),
    ),
    ("rolled back", RosterInvalid, "is older than", lambda: roster(lambda forge: None, last_seen_version=6)),
    (
        "under another's timestamp",
        RosterInvalid,
        "replaced",
        lambda: roster(field("timestamp", "roster_version", 4)),
    ),
    (
        "of another digest",
        RosterInvalid,
        "replaced",
        lambda: roster(field("timestamp", "roster_digest", bytes(32))),
    ),
    (
        "of another federation",
        RosterInvalid,
        "of federation",
        lambda: roster(field("roster", "federation", "Other")),
    ),
    ("of version 0", RosterInvalid, "version from 1", lambda: roster(version_0)),
    (
        "with a key set of another's signing",
        RosterInvalid,
        "identity key",
        lambda: roster(lapd(lambda forge: None, by_lahd=True)),
    ),
    ("with another domain's CA", RosterInvalid, "don't permit exactly", lambda: roster(cas(DEA.der))),
    ("with a leaf for a CA", RosterInvalid, "lapd", lambda: roster(cas(mint(CBP, URI(GATEWAY))))),
    ("with junk for a CA", RosterInvalid, "not DER", lambda: roster(cas(b"junk"))),
    ("with no CA", RosterInvalid, "needs a version from 1, a CA", lambda: roster(cas())),
    ("with one key for two members", RosterInvalid, "same key", lambda: roster(shared)),
    (
        "with a member twice",
        RosterInvalid,
        "twice|same key",
        lambda: roster(lambda forge: forge.members.append(forge.lapd)),
    ),
    (
        "of a key set without statement keys",
        RosterInvalid,
        "statement key",
        lambda: roster(lapd(lambda forge: forge.lapd.key_set.statement_keys.__delitem__(0))),
    ),
    (
        "of a statement key that ends before it begins",
        RosterInvalid,
        "ends before",
        lambda: roster(lapd(ends_first)),
    ),
]


def version_0(forge: Forge) -> None:
    forge.version = 0


def shared(forge: Forge) -> None:
    forge.lahd.key_set.statement_keys[0].public_key = forge.lapd.statement.public.der
    forge.lahd.sign_key_set()


def ends_first(forge: Forge) -> None:
    forge.lapd.key_set.statement_keys[0].not_after.CopyFrom(from_instant(NOON - 2 * DAY))


def jwks(*keys: dict[str, Any]) -> object:
    return es256_keys(json.dumps({"keys": keys}).encode())


def jwk(**changes: Any) -> dict[str, Any]:
    (found,) = json.loads(to_jwks({"one": statement().public}))["keys"]
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


SETS: list[Kind] = [
    ("that is no JSON", KeyUnusable, "not JSON", lambda: es256_keys(b"{")),
    ("of no keys", KeyUnusable, "no ES256 key", jwks),
    ("with a private part", KeyUnusable, "private", lambda: jwks(jwk(d="AQ"))),
    (
        "with a symmetric key",
        KeyUnusable,
        "private or symmetric",
        lambda: jwks(jwk(), {"kty": "oct", "k": "AQ"}),
    ),
    ("with one kid twice", KeyUnusable, "kid", lambda: jwks(jwk(), jwk())),
    ("with no kid", KeyUnusable, "kid", lambda: jwks(jwk(kid=None))),
    ("with a point off the curve", KeyUnusable, "no point", lambda: jwks(jwk(x="A" * 43))),
    ("for encryption alone", KeyUnusable, "no ES256 key", lambda: jwks(jwk(use="enc"))),
    ("larger than is read", KeyUnusable, "larger", lambda: es256_keys(b" " * 70_000)),
]

ALL = {
    f"{what} {kind}": (error, words, judged)
    for what, kinds in (("key", KEYS), ("signature", SIGNATURES), ("roster", ROSTERS), ("key set", SETS))
    for kind, error, words, judged in kinds
}


def test_there_are_as_many_kinds_as_lines() -> None:
    """No line of the table hides another of its name."""
    assert len(ALL) == sum(map(len, (KEYS, SIGNATURES, ROSTERS, SETS))) == 55


@pytest.mark.parametrize("kind", ALL)
def test_bad_kind_is_refused_in_its_own_words(kind: str) -> None:
    """No kind is accepted, and what is said names its fault."""
    error, words, judged = ALL[kind]
    with pytest.raises(error, match=words):
        judged()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


def home(folder: Path, spoil: Callable[[Path], object]) -> EndCredentials:
    """An end's keys, spoiled, and then loaded as at a start."""
    keys = folder / "keys"
    keys.mkdir(parents=True)
    made = issue_leaf(CBP.certificate, CBP.key, spiffe_id=GATEWAY, now=NOW, lifetime=DAY)
    (keys / "leaf.pem").write_bytes(made.chain_pem)
    for name in ("leaf.key", "log.key"):
        (keys / name).write_bytes(made.key_pem)
        (keys / name).chmod(0o600)
    statement().save(keys / "statement.key")
    spoil(keys)
    return EndCredentials.load(folder)


def pem(key: Any, *, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    found: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return found


HOMES: dict[str, tuple[type[CertsError], str, Callable[[Path], object]]] = {
    **{
        f"with a {name} of mode {mode:04o}": (
            FileExposed,
            f"mode `{mode:04o}` lets others",
            lambda keys, name=name, mode=mode: (keys / name).chmod(mode),
        )
        for name in ("leaf.key", "statement.key", "log.key")
        for mode in (0o640, 0o604, 0o620)
    },
    "with another leaf's key": (
        CredentialsUnusable,
        "is not the key",
        lambda keys: (keys / "leaf.key").write_bytes(pem(P256)),
    ),
    "with a key under a password": (
        CredentialsUnusable,
        "unencrypted",
        lambda keys: (keys / "leaf.key").write_bytes(pem(P256, password=b"x")),
    ),
    "with half a key": (
        CredentialsUnusable,
        "unencrypted",
        lambda keys: (keys / "leaf.key").write_bytes(pem(P256)[:80]),
    ),
    "with an Ed25519 key": (
        CredentialsUnusable,
        "P-256 or P-384",
        lambda keys: (keys / "leaf.key").write_bytes(pem(ed25519.Ed25519PrivateKey.generate())),
    ),
    "without a key": (FileUnusable, "leaf.key", lambda keys: (keys / "leaf.key").unlink()),
    "with a folder for a key": (
        FileUnusable,
        "leaf.key",
        lambda keys: ((keys / "leaf.key").unlink(), (keys / "leaf.key").mkdir()),
    ),
    "without the CA behind the leaf": (
        CredentialsUnusable,
        "lacks the CA",
        lambda keys: (keys / "leaf.pem").write_bytes(
            (keys / "leaf.pem").read_bytes().partition(b"-----END CERTIFICATE-----\n")[0]
            + b"-----END CERTIFICATE-----\n"
        ),
    ),
    "with an empty chain": (
        CredentialsUnusable,
        "no certificate",
        lambda keys: (keys / "leaf.pem").write_bytes(b""),
    ),
}


@pytest.mark.parametrize("kind", HOMES)
def test_end_does_not_start_with_a_bad_key(folder: Path, kind: str) -> None:
    """A key readable by others, of another leaf, locked or cut off: the end says which file and why."""
    error, words, spoil = HOMES[kind]
    with pytest.raises(error, match=words):
        home(folder / str(list(HOMES).index(kind)), spoil)


def test_honest_credentials_are_accepted(folder: Path) -> None:
    """A roster, a set of keys, a signature and an end's folder without a fault pass."""
    assert roster(lambda forge: None)
    assert roster(signers("roster", 1, 2))
    assert jwks(jwk(), {"kty": "RSA", "n": "AQ", "e": "AQAB"})
    statement().public.verify(statement().sign(b"a"), b"a")
    assert VerifyKey.from_der(statement().public.der) == statement().public
    assert altered(lambda found: None)
    assert signed(lambda one: one)
    assert home(folder / "honest", lambda keys: None).spiffe_id == GATEWAY
