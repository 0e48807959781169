"""What is not to be trusted any more: the governing authority's signed list, and what it does to a member.

An agency's own list beside it is in `own_lists`.

The list stands in the published folder beside the roster, and the roster's timestamp names its version and
digest: who withholds it, or brings an older one back, has no timestamp for it. Rules, in this order, and the
first that fails raises:

1. where the timestamp names a list, it is there, with that version and digest; and none where it names none;
2. the pinned threshold of the authority's keys signed it;
3. it is this federation's, and the authority's own;
4. it is not from the future, and not past its next update: then it is not trusted, and nothing is served;
5. each entry names an agency, one thing, a time and a reason.

What was signed before `revoked_at` stands: a statement key that is revoked may have signed until then. The
broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from comity.certs import words
from comity.certs.envelope import from_json, open_envelope
from comity.certs.errors import CertificateRevoked, EnvelopeInvalid, RosterExpired, RosterInvalid
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.keys import VerifyKey
from comity.certs.profile import load_certificate
from comity.v1.federation_pb2 import Revocation, RevocationList, RevocationReason, RosterTimestamp

REVOCATIONS_FILE: Final = "revocations.json"
"""The list, in a federation's public folder."""
MAX_REVOCATIONS: Final = 100_000

_LEAST: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """From when on, and why."""

    at: datetime
    reason: str
    """`key_compromise`, `superseded`, `cessation` or `wrongly_issued`."""

    def __str__(self) -> str:
        return f"revoked since {self.at:%Y-%m-%d %H:%M:%S}Z ({self.reason.replace('_', ' ')})"


_NOTHING: Final[Mapping[bytes, Revoked]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedOf:
    """What is revoked of one agency."""

    serials: Mapping[bytes, Revoked] = field(default_factory=lambda: _NOTHING)
    public_keys: Mapping[bytes, Revoked] = field(default_factory=lambda: _NOTHING)
    users: Mapping[bytes, Revoked] = field(default_factory=lambda: _NOTHING)
    everything: Revoked | None = None

    def check_chain(self, chain_der: Sequence[bytes]) -> None:
        """Raise `CertificateRevoked` if a certificate of the chain, or its key, is revoked."""
        if self.everything is not None:
            raise CertificateRevoked(f"agency is {self.everything}")
        if not self.serials and not self.public_keys:
            return
        for der in chain_der:
            found = self.certificate(der)
            if found is not None:
                raise CertificateRevoked(f"certificate {load_certificate(der).serial_number:x} is {found}")

    def certificate(self, der: bytes) -> Revoked | None:
        """Return since when a certificate is revoked, by its serial number or its key; None: isn't."""
        certificate = load_certificate(der)
        return self.serials.get(serial_bytes(certificate.serial_number)) or self.public_keys.get(
            certificate_key_digest(certificate)
        )

    def user(self, agency: str, user: str) -> Revoked | None:
        """Return since when a user is revoked; None: isn't."""
        return self.users.get(user_digest(agency, user)) if self.users else None

    def joined(self, other: RevokedOf) -> RevokedOf:
        """Return what either revokes; of what both do, since the earlier instant."""
        if self == NOTHING_REVOKED or other == NOTHING_REVOKED:
            return other if self == NOTHING_REVOKED else self
        whole = [one for one in (self.everything, other.everything) if one is not None]
        return RevokedOf(
            serials=_earlier(self.serials, other.serials),
            public_keys=_earlier(self.public_keys, other.public_keys),
            users=_earlier(self.users, other.users),
            everything=min(whole, key=lambda one: one.at, default=None),
        )


NOTHING_REVOKED: Final = RevokedOf()


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """A list that passed every rule of this module; version 0: there is none."""

    version: int = 0
    digest: bytes = field(default=b"", repr=False)
    next_update: datetime | None = None
    by_agency: Mapping[str, RevokedOf] = field(default_factory=dict)

    def of(self, agency: str) -> RevokedOf:
        """Return what is revoked of an agency, or of the operator."""
        return self.by_agency.get(agency, NOTHING_REVOKED)


NO_REVOCATIONS: Final = Revocations()


def key_digest(spki_der: bytes) -> bytes:
    """Return what a list names a key by: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_der).digest()


def certificate_key_digest(certificate: x509.Certificate) -> bytes:
    """Return what a list names a certificate's key by."""
    return key_digest(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def serial_bytes(serial: int) -> bytes:
    """Return what a list names a certificate by: its serial number, big-endian, without leading zeros."""
    return serial.to_bytes((serial.bit_length() + 7) // 8 or 1, "big")


def user_digest(agency: str, user: str) -> bytes:
    """Return what a list names a user by: it hides the name from a glance, not from who guesses it."""
    return hashlib.sha256(b"\0".join((b"comity/user", agency.encode(), user.encode()))).digest()


def open_revocations(
    data: bytes | None,
    *,
    stamp: RosterTimestamp | None,
    keys: Sequence[VerifyKey],
    threshold: int,
    federation: str,
    now: datetime | None,
) -> Revocations:
    """Return the list in `data`, DSSE's JSON form, every rule of this module applied.

    Without `stamp` rule 1 is left out, without `now` rule 4: for evidence, which outlives its documents.
    Raises `RosterExpired` for a list past its next update, `RosterInvalid` for any other rule.
    """
    wanted = 0 if stamp is None else stamp.revocations_version
    if data is None or (stamp is not None and not wanted):
        if wanted:
            raise RosterInvalid(f"list of revocations, version {wanted}, isn't there: the timestamp names it")
        return NO_REVOCATIONS
    try:
        opened = open_envelope(from_json(data), RevocationList, keys, threshold=threshold)
    except EnvelopeInvalid as error:
        raise RosterInvalid(f"list of revocations isn't signed by the pinned authority: {error}") from error
    found = opened.message
    if stamp is not None and (found.version, opened.digest) != (wanted, stamp.revocations_digest):
        raise RosterInvalid(
            f"list of revocations, version {found.version}, isn't the one that the timestamp names "
            f"(version {wanted}): one of the two was replaced"
        )
    try:
        signed_at, next_update = to_instant(found, "signed_at"), to_instant(found, "next_update")
        if found.federation != federation or found.issuer or not found.version:
            raise ValueError("it is not this federation's, or not its authority's")
        if len(found.revocations) > MAX_REVOCATIONS:
            raise ValueError(f"more than {MAX_REVOCATIONS} entries")
        by_agency = revoked_by_agency(found.revocations)
    except ValueError as error:
        raise RosterInvalid(f"list of revocations: {error}") from error
    if now is not None and signed_at > now + CLOCK_SKEW:
        raise RosterInvalid(
            f"list of revocations was signed at {signed_at:%F %T}Z, which is still to come: check the clock"
        )
    if now is not None and now >= next_update:
        raise RosterExpired(
            f"list of revocations: its next update was due at {next_update:%F %T}Z: the authority signs "
            "a new one with `comity federation refresh`"
        )
    return Revocations(
        version=found.version, digest=opened.digest, next_update=next_update, by_agency=by_agency
    )


@dataclass(slots=True)
class _Listed:
    """What is revoked of one agency, while its entries are read."""

    serials: dict[bytes, Revoked] = field(default_factory=dict)
    public_keys: dict[bytes, Revoked] = field(default_factory=dict)
    users: dict[bytes, Revoked] = field(default_factory=dict)
    everything: Revoked | None = None


def revoked_by_agency(entries: Iterable[Revocation]) -> Mapping[str, RevokedOf]:
    """Return the entries by agency; raise `ValueError` for one that says nothing."""
    found: dict[str, _Listed] = {}
    for entry in entries:
        agency = words.agency_id(entry.agency)
        revoked = Revoked(at=to_instant(entry, "revoked_at"), reason=reason_name(entry.reason))
        of = found.setdefault(agency, _Listed())
        match entry.WhichOneof("what"):
            case "serial" if entry.serial and not entry.serial.startswith(b"\0"):
                of.serials[entry.serial] = revoked
            case "public_key" if len(entry.public_key) == 32:
                of.public_keys[entry.public_key] = revoked
            case "user" if len(entry.user) == 32:
                of.users[entry.user] = revoked
            case "everything" if entry.everything:
                of.everything = revoked
            case _:
                raise ValueError(f"an entry of `{agency}` names nothing that can be revoked")
    return MappingProxyType(
        {
            agency: RevokedOf(
                serials=of.serials, public_keys=of.public_keys, users=of.users, everything=of.everything
            )
            for agency, of in found.items()
        }
    )


def thing(entry: Revocation) -> tuple[str, str | None, bytes]:
    """Return what an entry revokes."""
    kind = entry.WhichOneof("what")
    value = getattr(entry, kind) if kind is not None else b""
    return entry.agency, kind, value if isinstance(value, bytes) else b""


def _earlier(one: Mapping[bytes, Revoked], other: Mapping[bytes, Revoked]) -> Mapping[bytes, Revoked]:
    """Return both, with the earlier instant of what stands in both."""
    found = dict(one)
    for thing, revoked in other.items():
        found[thing] = min(found.get(thing, revoked), revoked, key=lambda each: each.at)
    return MappingProxyType(found)


def reason_name(reason: int) -> str:
    """Return a reason in words; raise `ValueError` for one that isn't given or isn't known."""
    if reason not in RevocationReason.values() or not reason:
        raise ValueError(f"reason `{reason}` is none")
    return (
        RevocationReason.Name(RevocationReason.ValueType(reason)).removeprefix("REVOCATION_REASON_").lower()
    )


def until(revoked: Revoked) -> datetime:
    """Return the last instant at which what is revoked still counted."""
    return revoked.at - _LEAST
