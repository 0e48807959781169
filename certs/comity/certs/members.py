"""A member of the federation: its entry in the roster and the key set that its identity key signed.

The rules for one member by itself (8 and 9 of `comity.certs.roster`) are checked here; what has to hold
between members is checked there.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives import serialization
from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.envelope import open_envelope
from comity.certs.errors import CertsError, EnvelopeInvalid, KeyUnusable, RosterInvalid, UnknownLog
from comity.certs.instants import require_aware, to_instant
from comity.certs.jwks import es256_keys
from comity.certs.keys import VerifyKey
from comity.certs.profile import load_certificate, verify_ca
from comity.certs.revocations import (
    NOTHING_REVOKED,
    RevokedOf,
    key_digest,
    until,
)
from comity.certs.successions import IdentityKeys, IdentityTime, Succession, read_chain
from comity.v1.common_pb2 import AgencyKind, EndRole
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import KeySet, Member

_VERIFIER_KEY: Final = re.compile(
    r"(?P<name>[^\s+]+)\+(?P<hash>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]{44})", re.ASCII
)
_ED25519: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidKey:
    """A statement key and the time in which it may sign."""

    key: VerifyKey
    not_before: datetime
    """First instant at which it may sign."""
    not_after: datetime
    """Last instant at which it may sign."""

    def __post_init__(self) -> None:
        if require_aware(self.not_after) <= require_aware(self.not_before):
            raise ValueError("statement key ends before it begins")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLogKeyView:
    """A key with which a log's checkpoints were signed before it was replaced."""

    verifier_key: str
    """`<name>+<hash>+<base64>`."""
    last_size: int
    """Index of the entry that replaced it: the size of the largest checkpoint that it signs alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyView:
    """A log's key: the C2SP signed-note verifier key line, checked in form and hash.

    While a key is being replaced there are two, and those of before stay named, or what they signed could
    not be verified any more.
    """

    origin: str
    """The log's origin, which is the key's name: `<domain>/<end>`."""
    verifier_key: str
    """`<name>+<hash>+<base64>`."""
    role: str
    """`gateway`, `adapter` or `broker`."""
    next_verifier_key: str = ""
    """The key that is to follow, while the two overlap; empty: none."""
    earlier: tuple[EarlierLogKeyView, ...] = ()
    """The keys of before, the oldest first."""

    def __post_init__(self) -> None:
        for line in self.all:
            check_verifier_key(line, origin=self.origin)
        if len(set(self.all)) != len(self.all):
            raise ValueError(f"log `{self.origin}`: it names a key twice")
        sizes = [key.last_size for key in self.earlier]
        if any(size >= after for size, after in itertools.pairwise(sizes)):
            raise ValueError(f"log `{self.origin}`: its earlier keys are not in their order")

    @property
    def current(self) -> tuple[str, ...]:
        """The keys that may sign a checkpoint now, the older first."""
        following = (self.next_verifier_key,) if self.next_verifier_key else ()
        return (self.verifier_key, *following)

    @property
    def all(self) -> tuple[str, ...]:
        """Every key that ever might sign a checkpoint of this log, the oldest first."""
        return (*(key.verifier_key for key in self.earlier), *self.current)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProviderView:
    """Who issues an agency's subject assertions."""

    issuer: str
    """`iss` of its assertions, compared as bytes."""
    jwks: bytes = field(repr=False)
    """Its keys, an RFC 7517 JWK set with at least one ES256 key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetView:
    """A member's key set whose signature verified."""

    agency: str
    domain: str
    version: int
    ca_certificates: tuple[bytes, ...] = field(repr=False)
    """The CA certificates that may issue leaves of this domain, DER."""
    statement_keys: tuple[ValidKey, ...]
    log_keys: tuple[LogKeyView, ...]
    identity_providers: tuple[IdentityProviderView, ...]
    signed_at: datetime
    digest: bytes = field(repr=False)
    """SHA-256 of the key set's payload."""

    def statement_keys_at(self, instant: datetime) -> tuple[VerifyKey, ...]:
        """Return the keys that may have signed a statement at `instant`; may be empty."""
        require_aware(instant)
        return tuple(
            valid.key for valid in self.statement_keys if valid.not_before <= instant <= valid.not_after
        )

    def log_key(self, role_or_origin: str) -> LogKeyView:
        """Return the log key of a role (`gateway`) or an origin (`cbp.example/gateway`).

        Raises `UnknownLog`. Of several logs of one role, the first that the key set lists.
        """
        for log_key in self.log_keys:
            if role_or_origin in (log_key.role, log_key.origin):
                return log_key
        raise UnknownLog(f"key set of `{self.agency}` has no log key for `{role_or_origin}`")

    @property
    def ca_pem(self) -> bytes:
        """The CA certificates as PEM, one after the other."""
        found = (load_certificate(der) for der in self.ca_certificates)
        return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member of the federation whose entry and key set verified."""

    agency: str
    display_name: str
    kind: str
    """`federal`, `state`, `local` or `commercial`."""
    domain: str
    state: str
    """ISO 3166-2 after the dash, or empty."""
    contact: str
    identity_key: VerifyKey
    key_set: KeySetView
    asks: bool
    provides: bool
    suspended: bool
    revoked: RevokedOf = NOTHING_REVOKED
    """What the authority's list revokes of it, and its own."""
    successions: tuple[Succession, ...] = ()
    """How it came to its identity key, the oldest first."""
    lapsed: str = ""
    """Why its own list of revocations is not trusted to be the newest; empty: it is, or it has none.

    Its links stay, for that is how a newer list comes; nothing is asked of it, nor by it.
    """

    @property
    def is_out(self) -> bool:
        """Whether nothing may be asked of it, nor by it: it is suspended, or lapsed."""
        return self.suspended or bool(self.lapsed)

    @property
    def identities(self) -> IdentityKeys:
        """Its identity keys with their times, the current one last; one that is revoked ends with that."""
        keys = [*(step.old for step in self.successions), self.identity_key]
        begins = [None, *(step.effective_at for step in self.successions)]
        ends = [*(step.old_until for step in self.successions), None]
        return IdentityKeys(
            times=tuple(
                IdentityTime(key=key, since=since, until=self._identity_until(key, until))
                for key, since, until in zip(keys, begins, ends, strict=True)
            )
        )

    def _identity_until(self, key: VerifyKey, until: datetime | None) -> datetime | None:
        """Return when an identity key counts no more, by its succession or by the list."""
        found = (self.revoked.public_keys.get(key_digest(key.der)), self.revoked.everything)
        ends = [until, *(one.at for one in found if one is not None)]
        return min((one for one in ends if one is not None), default=None)

    def revokes(self, key: VerifyKey) -> bool:
        """Whether a list revokes a key of it, or all of it, since whenever."""
        return self.revoked.everything is not None or key_digest(key.der) in self.revoked.public_keys

    def knows_statement_key(self, key: VerifyKey, now: datetime) -> bool:
        """Whether an end of it may start with a statement key: one that counts, or alone is revoked.

        With the latter it says nothing, and learns of the next one.
        """
        is_revoked_alone = self.revoked.everything is None and self.revokes(key)
        return is_revoked_alone or key in self.key_set.statement_keys_at(now)

    def believed_keys_at(self, instant: datetime) -> tuple[VerifyKey, ...]:
        """Return the keys by which a statement is taken now that says that it was signed at `instant`.

        None that is revoked, since whenever: who has a stolen key writes any time into a statement.
        """
        return tuple(key for key in self.key_set.statement_keys_at(instant) if not self.revokes(key))

    def spiffe_id(self, path: str) -> str:
        """Return the SPIFFE id of one of its ends or systems, for example of `gateway`."""
        return f"spiffe://{self.domain}/{path}"


def without_revoked(member: MemberView, revoked: RevokedOf, *, now: datetime | None) -> MemberView:
    """Return a member as it counts under a list of revocations.

    A statement key that is revoked, or is of an agency that is, signs until then and no longer. With `now`,
    whom to trust now: a CA that is revoked, by its serial number or its key, is none, and an agency that is,
    whose identity key is, or that has no CA left, is suspended.
    """
    if revoked is NOTHING_REVOKED:
        return member
    keys, statement_keys = member.key_set, list[ValidKey]()
    for valid in keys.statement_keys:
        found = [revoked.public_keys.get(key_digest(valid.key.der)), revoked.everything]
        last = min([valid.not_after, *(until(one) for one in found if one is not None)])
        if last > valid.not_before:
            statement_keys.append(ValidKey(key=valid.key, not_before=valid.not_before, not_after=last))
    ca_certificates, suspended = keys.ca_certificates, member.suspended
    if now is not None:
        ca_certificates = tuple(der for der in ca_certificates if revoked.certificate(der) is None)
        identity = revoked.public_keys.get(key_digest(member.identity_key.der))
        suspended = suspended or revoked.everything is not None or not ca_certificates or identity is not None
    return replace(
        member,
        key_set=replace(
            keys,
            statement_keys=tuple(statement_keys),
            ca_certificates=ca_certificates,
        ),
        suspended=suspended,
        revoked=revoked,
    )


def member_view(member: Member, *, operator: bool = False) -> MemberView:
    """Return the view of one entry of a roster, its key set verified (rules 8 and 9).

    Raises `RosterInvalid`, its text beginning with the agency.
    """
    name = ascii(member.agency)[1:-1][:60]
    try:
        identity_key = VerifyKey.from_der(member.identity_key)
        view = MemberView(
            agency=words.agency_id(member.agency),
            display_name=words.line(member.display_name, "display name"),
            kind=_kind(member.kind),
            domain=words.domain(member.domain),
            state=words.state(member.state),
            contact=words.line(member.contact, "contact"),
            identity_key=identity_key,
            key_set=key_set_view(member.key_set, identity_key),
            asks=member.asks,
            provides=member.provides,
            suspended=member.suspended,
            successions=read_chain(member.successions, agency=member.agency, identity_key=identity_key),
        )
        _check_member(view, operator=operator)
    except (ValueError, CertsError) as error:
        raise RosterInvalid(f"member `{name}`: {error}") from error
    return view


def key_set_view(serialized: bytes, identity_key: VerifyKey) -> KeySetView:
    """Return the view of a serialized envelope of `KeySet`, signed by `identity_key`.

    Raises `RosterInvalid` if it isn't, or if a part of it is malformed.
    """
    try:
        opened = open_envelope(Envelope.FromString(serialized), KeySet, [identity_key])
    except DecodeError as error:
        raise RosterInvalid("key set is not an envelope") from error
    except EnvelopeInvalid as error:
        raise RosterInvalid(
            f"key set isn't signed by the identity key that the roster names: {error}"
        ) from error
    found = opened.message
    try:
        return KeySetView(
            agency=words.agency_id(found.agency),
            domain=words.domain(found.domain),
            version=found.version,
            ca_certificates=tuple(found.ca_certificates),
            statement_keys=tuple(
                ValidKey(
                    key=VerifyKey.from_der(entry.public_key),
                    not_before=to_instant(entry, "not_before"),
                    not_after=to_instant(entry, "not_after"),
                )
                for entry in found.statement_keys
            ),
            log_keys=tuple(
                LogKeyView(
                    origin=entry.origin,
                    verifier_key=entry.verifier_key,
                    role=_role(entry.role),
                    next_verifier_key=entry.next_verifier_key,
                    earlier=tuple(
                        EarlierLogKeyView(verifier_key=key.verifier_key, last_size=key.last_size)
                        for key in entry.earlier
                    ),
                )
                for entry in found.log_keys
            ),
            identity_providers=tuple(
                IdentityProviderView(issuer=words.issuer(entry.issuer), jwks=entry.jwks)
                for entry in found.identity_providers
            ),
            signed_at=to_instant(found, "signed_at"),
            digest=opened.digest,
        )
    except (ValueError, KeyUnusable) as error:
        raise RosterInvalid(f"key set: {error}") from error


def check_verifier_key(line: str, *, origin: str) -> None:
    """Raise `ValueError` unless `line` is an Ed25519 verifier key named `origin` (C2SP signed-note).

    Only its form and its key hash are checked; what it verifies is for `comity.audit`.
    """
    found = _VERIFIER_KEY.fullmatch(line)
    if found is None or found["name"] != origin:
        raise ValueError(f"log key `{ascii(line)[1:-1][:80]}`: expected `{origin}+<hash>+<base64>`")
    key = base64.b64decode(found["key"])
    named = hashlib.sha256(origin.encode() + b"\n" + key).digest()[:4].hex()
    if len(key) != 33 or not key.startswith(_ED25519) or named != found["hash"]:
        raise ValueError(f"log key `{origin}`: not an Ed25519 verifier key, or its hash isn't `{named}`")


def key_uses(member: MemberView) -> Iterator[tuple[str, bytes]]:
    """Yield each key of a member with its use, as bytes that are equal exactly for equal keys."""
    yield "identity key", member.identity_key.der
    for step in member.successions:
        yield f"identity key {step.number}", step.old.der
    for number, valid in enumerate(member.key_set.statement_keys, start=1):
        yield f"statement key {number}", valid.key.der
    for log_key in member.key_set.log_keys:
        for line in log_key.all:
            yield f"log key `{log_key.origin}`", base64.b64decode(line.split("+", 2)[2])
    for der in member.key_set.ca_certificates:
        certificate = load_certificate(der)
        yield (
            "CA key",
            certificate.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
    for provider in member.key_set.identity_providers:
        for key in es256_keys(provider.jwks).values():
            yield "identity provider's key", key.der


def _check_member(member: MemberView, *, operator: bool) -> None:
    """Raise an error of this room unless the entry and its key set belong together."""
    key_set = member.key_set
    if (key_set.agency, key_set.domain) != (member.agency, member.domain):
        raise RosterInvalid(
            f"its key set is that of `{key_set.agency}` at `{key_set.domain}`, expected `{member.domain}`"
        )
    if not key_set.version or not key_set.ca_certificates or not key_set.statement_keys:
        raise RosterInvalid("its key set needs a version from 1, a CA certificate and a statement key")
    if operator and (member.asks or member.provides or member.suspended):
        raise RosterInvalid("the operator neither asks nor provides, and can't be suspended")
    _check_logs(member, operator=operator)
    for certificate in key_set.ca_certificates:
        verify_ca(load_certificate(certificate), domain=member.domain)
    for provider in key_set.identity_providers:
        es256_keys(provider.jwks)
    if len({provider.issuer for provider in key_set.identity_providers}) != len(key_set.identity_providers):
        raise RosterInvalid("its key set names an issuer twice")


def _check_logs(member: MemberView, *, operator: bool) -> None:
    """Raise `RosterInvalid` unless each end that the member runs has a log key within its domain."""
    allowed = {"broker"} if operator else {"gateway", "adapter"}
    if operator:
        needed = {"broker"}
    else:
        needed = {role for role, runs in (("gateway", member.asks), ("adapter", member.provides)) if runs}
    log_keys = member.key_set.log_keys
    roles = {log_key.role for log_key in log_keys}
    if not needed <= roles <= allowed:
        raise RosterInvalid(
            f"its key set has log keys for `{', '.join(sorted(roles)) or 'no end'}`, "
            f"expected `{', '.join(sorted(needed)) or 'none'}`"
        )
    for log_key in log_keys:
        if not log_key.origin.startswith(f"{member.domain}/{log_key.role}"):
            raise RosterInvalid(f"log `{log_key.origin}`: expected `{member.domain}/{log_key.role}`")


def _kind(value: AgencyKind) -> str:
    """Return a kind in words; raise `ValueError` for one that isn't given or isn't known."""
    known = AgencyKind.values()
    if value not in known or not value:
        raise ValueError(f"kind `{value}`: expected one of {', '.join(words.AGENCY_KINDS)}")
    return AgencyKind.Name(value).removeprefix("AGENCY_KIND_").lower()


def _role(value: EndRole) -> str:
    """Return the role of an end in words; raise `ValueError` for one that isn't given or isn't known."""
    known = EndRole.values()
    if value not in known or not value:
        raise ValueError(f"log key: role `{value}`, expected gateway, adapter or broker")
    return EndRole.Name(value).removeprefix("END_ROLE_").lower()
