"""The signed roster: who is a member, with which keys. Everything an end trusts starts here.

A roster is signed by the governing authority, which is not the operator; its keys are pinned out of
band (`AuthorityPin`). It arrives by way of the operator or any mirror, so it is checked as if it came
from an adversary. `Federation.verify` applies these rules in this order, and the first that fails
raises:

1. the timestamp is signed by the pinned threshold of the authority's keys;
2. the timestamp isn't from the future and isn't past its time: nobody can freeze us on an old roster
   for longer than that;
3. the roster is signed by the pinned threshold;
4. version and digest of the roster are those the timestamp names;
5. the roster is the pinned federation's;
6. its version isn't lower than the last one that was seen: no rollback;
7. the roster isn't from the future and isn't past its time;
8. each member, the operator too, is well-formed, and its key set is signed by the identity key that
   the roster names for it, for that very agency and domain;
9. each CA certificate has critical name constraints to its member's own domain, and excludes all
   IP addresses;
10. no two members share an agency id, a domain (nor one that contains the other's) or a key, and no
    key has two uses.

The rules follow The Update Framework's client workflow (timestamp, then targets), with one document
in the place of snapshot and targets. The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography.hazmat.primitives import serialization
from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.envelope import Opened, from_json, open_envelope
from comity.certs.errors import (
    CertsError,
    EnvelopeInvalid,
    KeyUnusable,
    RosterExpired,
    RosterInvalid,
    UnknownLog,
    UnknownMember,
)
from comity.certs.files import read_public
from comity.certs.instants import CLOCK_SKEW, require_aware, to_instant
from comity.certs.jwks import es256_keys
from comity.certs.keys import VerifyKey
from comity.certs.profile import load_certificate, verify_ca
from comity.v1.common_pb2 import AgencyKind, EndRole
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import KeySet, Member, Roster, RosterTimestamp

AUTHORITY_FILE: Final = "authority.json"
"""The pin, in a federation's public folder."""
ROSTER_FILE: Final = "roster.json"
"""The roster, in a federation's public folder."""
TIMESTAMP_FILE: Final = "timestamp.json"
"""The roster's timestamp, in a federation's public folder."""

MAX_MEMBERS: Final = 1_000
"""Members of one roster."""

_VERIFIER_KEY: Final = re.compile(
    r"(?P<name>[^\s+]+)\+(?P<hash>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]{44})", re.ASCII
)
_ED25519: Final = b"\x01"

_D = TypeVar("_D", Roster, RosterTimestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityPin:
    """The governing authority's keys, pinned out of band: the one thing that is trusted unsigned."""

    federation: str
    """The federation's name; a roster of another federation of the same authority isn't accepted."""
    keys: tuple[VerifyKey, ...]
    """The authority's keys, all different."""
    threshold: int
    """How many of them must have signed."""

    def __post_init__(self) -> None:
        words.line(self.federation, "federation name")
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("authority pin names a key twice")
        if not 1 <= self.threshold <= len(self.keys):
            raise ValueError(f"authority pin: threshold `{self.threshold}`, expected 1 to {len(self.keys)}")

    @classmethod
    def load(cls, path: Path) -> AuthorityPin:
        """Return the pin in the file at `path`; raise `RosterInvalid`, `FileUnusable`."""
        try:
            return cls.from_json(read_public(path))
        except RosterInvalid as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error

    @classmethod
    def from_json(cls, data: bytes) -> AuthorityPin:
        """Return the pin in `data`; raise `RosterInvalid` if it isn't one."""
        try:
            document: object = json.loads(data.decode())
            if not isinstance(document, dict) or document.keys() != {"federation", "threshold", "keys"}:
                raise ValueError("expected an object with exactly federation, threshold, keys")
            name, threshold, keys = document["federation"], document["threshold"], document["keys"]
            if not isinstance(name, str) or type(threshold) is not int or not isinstance(keys, list):
                raise ValueError("expected a name, a whole number and a list")
            found = tuple(VerifyKey.from_der(base64.b64decode(str(key), validate=True)) for key in keys)
            return cls(federation=name, keys=found, threshold=threshold)
        except (ValueError, RecursionError, binascii.Error, KeyUnusable) as error:
            raise RosterInvalid(f"authority pin: {error}") from error

    def to_json(self) -> bytes:
        """Return the pin as it lies in `authority.json`: keys as base64 of their DER."""
        keys = [base64.b64encode(key.der).decode() for key in self.keys]
        document = {"federation": self.federation, "threshold": self.threshold, "keys": keys}
        return json.dumps(document, indent=2).encode() + b"\n"


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
class LogKeyView:
    """A log's key: the C2SP signed-note verifier key line, checked in form and hash."""

    origin: str
    """The log's origin, which is the key's name: `<domain>/<end>`."""
    verifier_key: str
    """`<name>+<hash>+<base64>`."""
    role: str
    """`gateway`, `adapter` or `broker`."""

    def __post_init__(self) -> None:
        check_verifier_key(self.verifier_key, origin=self.origin)


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

    def spiffe_id(self, path: str) -> str:
        """Return the SPIFFE id of one of its ends or systems, for example of `gateway`."""
        return f"spiffe://{self.domain}/{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """A roster that passed every rule of this module."""

    name: str
    version: int
    digest: bytes = field(repr=False)
    """SHA-256 of the roster's payload."""
    signed_at: datetime
    expires_at: datetime
    """When the roster ends."""
    timestamp_expires_at: datetime
    """When the timestamp ends, and with it the trust in the roster being the newest."""
    operator: MemberView
    members: Mapping[str, MemberView]
    """By agency id, in alphabetical order; without the operator."""

    @classmethod
    def load(
        cls, public: Path, *, now: datetime, pin: AuthorityPin | None = None, last_seen_version: int = 0
    ) -> Federation:
        """Return the federation in the folder `public`, every rule of this module applied.

        Without `pin`, the folder's own `authority.json` is taken: right only for a folder that reached this
        machine as trustworthily as a pin would. Raises `RosterExpired`, `RosterInvalid`, `FileUnusable`.
        """
        return cls.verify(
            roster=read_public(public / ROSTER_FILE),
            timestamp=read_public(public / TIMESTAMP_FILE),
            pin=AuthorityPin.load(public / AUTHORITY_FILE) if pin is None else pin,
            now=now,
            last_seen_version=last_seen_version,
        )

    @classmethod
    def verify(
        cls, *, roster: bytes, timestamp: bytes, pin: AuthorityPin, now: datetime, last_seen_version: int = 0
    ) -> Federation:
        """Return the federation of two documents in DSSE's JSON form.

        Raises `RosterExpired` if one is past its time, `RosterInvalid` for any other rule.
        """
        require_aware(now)
        stamped = _open(timestamp, RosterTimestamp, pin, "roster timestamp").message
        stamped_until = _in_time("roster timestamp", stamped, now)
        opened = _open(roster, Roster, pin, "roster")
        found = opened.message
        if (found.version, opened.digest) != (stamped.roster_version, stamped.roster_digest):
            raise RosterInvalid(
                f"roster version {found.version} isn't the one that the timestamp names "
                f"(version {stamped.roster_version}): one of the two was replaced"
            )
        if found.version < last_seen_version:
            raise RosterInvalid(
                f"roster version {found.version} is older than version {last_seen_version}, seen before"
            )
        _in_time("roster", found, now)
        return cls._of(opened, pin, stamped_until)

    @classmethod
    def for_evidence(cls, *, roster: bytes, pin: AuthorityPin) -> Federation:
        """Return the federation of a roster that may be old, for checking what was signed in its time.

        Rules 3, 5, 8, 9 and 10 alone: nothing says that this is the newest roster, so never decide with it
        whom to trust now. Raises `RosterInvalid`.
        """
        opened = _open(roster, Roster, pin, "roster")
        return cls._of(opened, pin, _instant(opened.message, "expires_at", "roster"))

    @classmethod
    def _of(cls, opened: Opened[Roster], pin: AuthorityPin, stamped_until: datetime) -> Federation:
        """Return the view of a roster whose signatures verified."""
        roster = opened.message
        if roster.federation != pin.federation:
            raise RosterInvalid(
                f"roster is of federation `{ascii(roster.federation)[1:-1]}`, expected `{pin.federation}`"
            )
        if not roster.version or len(roster.members) > MAX_MEMBERS:
            raise RosterInvalid(f"roster: expected a version from 1 and at most {MAX_MEMBERS} members")
        operator = member_view(roster.operator, operator=True)
        members = [member_view(member) for member in roster.members]
        _check_distinct([operator, *members], pin)
        return cls(
            name=roster.federation,
            version=roster.version,
            digest=opened.digest,
            signed_at=_instant(roster, "signed_at", "roster"),
            expires_at=_instant(roster, "expires_at", "roster"),
            timestamp_expires_at=stamped_until,
            operator=operator,
            members=MappingProxyType(
                {member.agency: member for member in sorted(members, key=lambda m: m.agency)}
            ),
        )

    @property
    def trusted_until(self) -> datetime:
        """The instant from which a newer timestamp or roster is needed."""
        return min(self.expires_at, self.timestamp_expires_at)

    def member(self, agency: str) -> MemberView:
        """Return a member by its agency id, suspended or not; raise `UnknownMember`. Never the operator."""
        found = self.members.get(agency)
        if found is None:
            raise UnknownMember(f"agency `{ascii(agency)[1:-1][:60]}` isn't in the roster of `{self.name}`")
        return found

    def by_domain(self, domain: str) -> MemberView:
        """Return the member of exactly this domain; raise `UnknownMember`. Never the operator."""
        for member in self.members.values():
            if member.domain == domain:
                return member
        raise UnknownMember(f"domain `{ascii(domain)[1:-1][:60]}` isn't in the roster of `{self.name}`")


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
                LogKeyView(origin=entry.origin, verifier_key=entry.verifier_key, role=_role(entry.role))
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


def _open(data: bytes, kind: type[_D], pin: AuthorityPin, what: str) -> Opened[_D]:
    """Return a document of the authority, signed by the pinned threshold; raise `RosterInvalid`."""
    try:
        return open_envelope(from_json(data), kind, pin.keys, threshold=pin.threshold)
    except EnvelopeInvalid as error:
        raise RosterInvalid(f"{what} isn't signed by the pinned authority: {error}") from error


def _in_time(what: str, document: Roster | RosterTimestamp, now: datetime) -> datetime:
    """Return when `document` ends; raise unless `now` lies between its signing and that."""
    signed_at = _instant(document, "signed_at", what)
    expires_at = _instant(document, "expires_at", what)
    if signed_at > now + CLOCK_SKEW:
        raise RosterInvalid(
            f"{what} was signed at {signed_at:%Y-%m-%d %H:%M:%S}Z, which is still to come: check the clock"
        )
    if now >= expires_at:
        raise RosterExpired(
            f"{what} expired at {expires_at:%Y-%m-%d %H:%M:%S}Z: the authority signs a new one with "
            "`comity federation refresh`"
        )
    return expires_at


def _instant(message: Roster | RosterTimestamp, name: str, what: str) -> datetime:
    """Return a time of a document; raise `RosterInvalid` if it has none."""
    try:
        return to_instant(message, name)
    except ValueError as error:
        raise RosterInvalid(f"{what}: {error}") from error


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


def _check_distinct(members: Sequence[MemberView], pin: AuthorityPin) -> None:
    """Raise `RosterInvalid` if two members could be taken for one another (rule 10)."""
    for what, values in (
        ("agency id", [member.agency for member in members]),
        ("domain", [member.domain for member in members]),
        ("log origin", [log_key.origin for member in members for log_key in member.key_set.log_keys]),
    ):
        if repeated := _repeated(values):
            raise RosterInvalid(f"{what} `{repeated}` stands in the roster twice")
    domains = {member.domain for member in members}
    for domain in domains:
        outer = domain
        while "." in outer:
            outer = outer.partition(".")[2]
            if outer in domains:
                raise RosterInvalid(
                    f"domain `{domain}` lies within `{outer}`, whose CA could then issue its names"
                )
    owners = {key.der: "the authority" for key in pin.keys}
    for member in members:
        for use, key in _uses(member):
            if owners.setdefault(key, f"{use} of `{member.agency}`") != f"{use} of `{member.agency}`":
                raise RosterInvalid(f"{use} of `{member.agency}` is the same key as {owners[key]}")


def _uses(member: MemberView) -> Iterator[tuple[str, bytes]]:
    """Yield each key of a member with its use, as bytes that are equal exactly for equal keys."""
    yield "identity key", member.identity_key.der
    for number, valid in enumerate(member.key_set.statement_keys, start=1):
        yield f"statement key {number}", valid.key.der
    for log_key in member.key_set.log_keys:
        yield f"log key `{log_key.origin}`", base64.b64decode(log_key.verifier_key.split("+", 2)[2])
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


def _repeated(values: Iterable[str]) -> str | None:
    """Return the first value that stands in `values` twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


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
