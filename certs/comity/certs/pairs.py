"""A leaf with its key on disk: read as one, replaced as one, and judged before it is put in force.

Written one after the other, a key and a chain are for a moment those of two leaves. So a pair is replaced
with one rename::

    keys/leaf -> leaf.d/5f0c…            which pair counts; this link is what is renamed
    keys/leaf.d/5f0c…/leaf.pem leaf.key  a pair, never changed once it is there; the newest two are kept
    keys/leaf.pem -> leaf/leaf.pem       for whoever looks for it there
    keys/leaf.key -> leaf/leaf.key

An agency that brings its own leaves may as well put `leaf.pem` and `leaf.key` into `keys/` as plain files, in
any order: a pair whose parts don't match is never used, and of two that do, the one put there last counts,
by the time of its `leaf.pem`, whenever it was issued.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization

from comity.certs.errors import (
    CertificateRejected,
    CertsError,
    CredentialsUnusable,
    FileUnusable,
    KeyUnusable,
)
from comity.certs.files import read_private, read_public, write_private, write_public
from comity.certs.members import MemberView
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.x509 import load_private_key, split_pem, verify_leaf

CHAIN_FILE: Final = "leaf.pem"
KEY_FILE: Final = "leaf.key"
LINK: Final = "leaf"
"""The link, in `keys/`, to the pair that counts."""
VERSIONS: Final = "leaf.d"
KEPT: Final = 2
"""How many pairs stay on disk: the one that counts, and the one before."""

DNS_ROLES: Final = frozenset({"gateway", "broker"})
"""Ends that somebody dials, so that their leaf also carries a DNS name."""

MAX_LEAF_LIFETIME: Final = timedelta(days=398)
"""A leaf that lives longer is not put in force while a process runs, nor issued for a request *(ours)*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPair:
    """A leaf, its chain and its key, which belong together. Its repr shows no key."""

    spiffe_id: str
    domain: str
    path: str
    """The id's path, such as `/gateway`."""
    dns_names: tuple[str, ...]
    chain_pem: bytes = field(repr=False)
    """The leaf, then what is between it and its CA, then the CA if it is there."""
    chain_der: tuple[bytes, ...] = field(repr=False)
    key_pem: bytes = field(repr=False)
    """Unencrypted PKCS#8 PEM: secret."""
    serial: int
    not_before: datetime
    not_after: datetime
    """When the first certificate of the chain expires."""
    fingerprint: bytes
    """SHA-256 of the leaf."""
    public_key_digest: bytes
    """SHA-256 of its SubjectPublicKeyInfo."""

    @classmethod
    def of(cls, chain_pem: bytes, key_pem: bytes) -> LeafPair:
        """Return a pair; raise `CertificateRejected` or `KeyUnusable` unless its parts belong together."""
        chain = split_pem(chain_pem)
        leaf = load_certificate(chain[0])
        names = check_leaf(leaf)
        if load_private_key(key_pem).public_key() != leaf.public_key():
            raise KeyUnusable("`leaf.key` is not the key of the leaf in `leaf.pem`")
        spki = hashes.Hash(hashes.SHA256())
        spki.update(
            leaf.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return cls(
            spiffe_id=str(names.spiffe_id),
            domain=names.spiffe_id.domain,
            path=names.spiffe_id.path,
            dns_names=names.dns_names,
            chain_pem=chain_pem,
            chain_der=chain,
            key_pem=key_pem,
            serial=leaf.serial_number,
            not_before=leaf.not_valid_before_utc,
            not_after=min(load_certificate(der).not_valid_after_utc for der in chain),
            fingerprint=leaf.fingerprint(hashes.SHA256()),
            public_key_digest=spki.finalize(),
        )

    @classmethod
    def load(cls, keys: Path) -> LeafPair:
        """Return the pair that counts in an end's `keys/`.

        Raises `FileUnusable` and `FileExposed` for the files, `CertificateRejected` and `KeyUnusable` if
        there is no pair whose parts belong together: one that is being replaced, too.
        """
        found, faults = list[tuple[int, LeafPair]](), list[CertsError]()
        for folder in _candidates(keys):
            try:
                key_pem = read_private(folder / KEY_FILE)
                pair = cls.of(read_public(folder / CHAIN_FILE), key_pem)
                found.append((_put_at(folder / CHAIN_FILE), pair))
            except (FileUnusable, CertificateRejected, KeyUnusable) as fault:
                faults.append(fault)
        if not found:
            raise faults[0]
        return max(reversed(found), key=lambda one: (one[0], one[1].not_before))[1]


def _put_at(path: Path) -> int:
    """Return when a file was written, in nanoseconds since 1970; raise `FileUnusable`."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise FileUnusable(f"file `{path}` can't be read: {(error.strerror or '').lower()}") from error


def _candidates(keys: Path) -> list[Path]:
    """Return the folders in which a pair may lie: the linked one, and `keys/` itself if it is no link."""
    found = []
    link = keys / LINK
    try:
        if link.is_symlink():
            found.append(keys / link.readlink())
        if not found or not (keys / CHAIN_FILE).is_symlink():
            found.append(keys)
    except OSError:
        found.append(keys)
    return found


def put_pair(keys: Path, *, chain_pem: bytes, key_pem: bytes) -> LeafPair:
    """Have a pair count from now on, with one rename; return it.

    Raises `CredentialsUnusable` if its parts don't belong together: then nothing has changed. `FileUnusable`
    if it can't be written.
    """
    try:
        pair = LeafPair.of(chain_pem, key_pem)
    except (CertificateRejected, KeyUnusable) as error:
        raise CredentialsUnusable(f"new pair for `{keys}`: {error}") from error
    version = f"{pair.not_before:%Y%m%dT%H%M%SZ}-{pair.fingerprint[:6].hex()}"
    folder = keys / VERSIONS / version
    write_private(folder / KEY_FILE, key_pem)
    write_public(folder / CHAIN_FILE, chain_pem)
    _link(keys / LINK, f"{VERSIONS}/{version}")
    for name in (KEY_FILE, CHAIN_FILE):
        if not (keys / name).is_symlink():
            _link(keys / name, f"{LINK}/{name}")
    _prune(keys / VERSIONS, version)
    return pair


def _link(path: Path, target: str) -> None:
    """Make `path` a link to `target`, whatever it was, with one rename; raise `FileUnusable`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.symlink_to(target)
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileUnusable(f"link `{path}` can't be made: {(error.strerror or '').lower()}") from error


def _prune(versions: Path, current: str) -> None:
    """Remove the pairs that were replaced, but for the newest of them."""
    others = sorted((path for path in versions.iterdir() if path.name != current), key=lambda path: path.name)
    for path in others[: max(0, len(others) - KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)


def judge_pair(pair: LeafPair, *, member: MemberView, role: str, now: datetime) -> None:
    """Raise `CredentialsUnusable` unless peers would take this pair for the end `role` of `member`, now.

    The chain verifies against the CAs that the roster names for the member, the leaf holds exactly the end's
    SPIFFE id and, where it is dialled, its DNS name, and it lives no longer than `MAX_LEAF_LIFETIME`.
    """
    expected = member.spiffe_id(role)
    if pair.spiffe_id != expected:
        raise CredentialsUnusable(
            f"`keys/leaf.pem` names `{pair.spiffe_id}`, the roster expects `{expected}`"
        )
    if pair.not_after <= now:
        raise CredentialsUnusable(f"`keys/leaf.pem` expired at {pair.not_after:%Y-%m-%d %H:%M} UTC")
    if pair.not_before > now:
        raise CredentialsUnusable(
            f"`keys/leaf.pem` begins at {pair.not_before:%Y-%m-%d %H:%M} UTC, which is still to come: check "
            "the clocks of this host and of the CA"
        )
    leaf = load_certificate(pair.chain_der[0])
    if leaf.not_valid_after_utc - pair.not_before > MAX_LEAF_LIFETIME:
        raise CredentialsUnusable(f"`keys/leaf.pem` lives longer than {MAX_LEAF_LIFETIME.days} days")
    try:
        verify_leaf(
            pair.chain_der, ca_certificates=member.key_set.ca_certificates, spiffe_id=expected, now=now
        )
    except CertificateRejected as error:
        raise CredentialsUnusable(
            f"`keys/leaf.pem`: {error}; peers verify it against the CAs that the roster names for "
            f"`{member.agency}`"
        ) from error
    try:
        member.revoked.check_chain(pair.chain_der)
    except CertificateRejected as error:
        raise CredentialsUnusable(f"`keys/leaf.pem`: {error}") from error
    name = f"{role}.{member.domain}"
    if role in DNS_ROLES and name not in pair.dns_names:
        raise CredentialsUnusable(
            f"`keys/leaf.pem` lacks the DNS name `{name}`, by which this end is dialled"
        )
