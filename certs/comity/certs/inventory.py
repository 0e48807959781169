"""What certificates and keys there are, how old they are, and what is to be done about each, and when.

Without this an expiry is found out when links go down. Everything here is public, or is read of one's own
folder without being shown: no private part leaves this module.

A credential is `due` once a share of its life is over, and `overdue` once so much is over that the reminder
itself must have failed (`_LIFE`). Keys without an end of their own (log, identity, authority, identity
provider) are `good` for as long as the roster or the pin names them.

A member's key set goes on naming what it replaced, or old evidence could not be verified any more: a
certificate or key that expired while a later one of its kind is in force is `past`, and nothing is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from comity.certs.instants import require_aware
from comity.certs.jwks import es256_keys
from comity.certs.members import MemberView
from comity.certs.profile import load_certificate
from comity.certs.revocations import RevokedOf, key_digest
from comity.certs.roster import AuthorityPin, Federation

__all__ = [
    "Condition",
    "Credential",
    "Kind",
    "certificate_name",
    "lasting",
    "of_federation",
    "of_member",
    "of_pin",
    "unusable",
    "worst",
]


class Kind(StrEnum):
    """What a credential is."""

    LEAF = "leaf"
    CA = "CA"
    ISSUING = "issuing CA"
    STATEMENT = "statement key"
    LOG = "log key"
    IDENTITY = "identity key"
    PROVIDER = "IdP key"
    JWKS = "IdP key set"
    AUTHORITY = "authority key"
    ROSTER = "roster"
    TIMESTAMP = "timestamp"
    REVOCATIONS = "revocations"

    @property
    def purpose(self) -> str:
        """What it is for."""
        return _PURPOSES[self]


class Condition(StrEnum):
    """How it is with a credential."""

    GOOD = "good"
    DUE = "due"
    """Its next act is due."""
    OVERDUE = "overdue"
    """Its next act should have happened long ago."""
    EXPIRED = "expired"
    UNUSABLE = "unusable"
    """Not there, not readable, or not what the roster names."""
    REVOKED = "revoked"
    """On the list of revocations: it counts for nobody any more."""
    PAST = "past"
    """Replaced; named for the sake of old evidence."""

    @property
    def is_finding(self) -> bool:
        """Whether somebody has to do something now."""
        return self in (Condition.OVERDUE, Condition.EXPIRED, Condition.UNUSABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """At which share of its life a credential's next act is due, and overdue."""

    due: float
    overdue: float
    verb: str
    """The act, in a word."""


_LIFE: Final[Mapping[Kind, Life]] = MappingProxyType(
    {
        Kind.LEAF: Life(due=2 / 3, overdue=5 / 6, verb="renew"),
        Kind.CA: Life(due=2 / 3, overdue=11 / 12, verb="rotate"),
        Kind.ISSUING: Life(due=2 / 3, overdue=5 / 6, verb="replace"),
        Kind.STATEMENT: Life(due=2 / 3, overdue=11 / 12, verb="rotate"),
        Kind.ROSTER: Life(due=0.7, overdue=0.9, verb="refresh"),
        Kind.TIMESTAMP: Life(due=0.7, overdue=0.9, verb="refresh"),
        Kind.REVOCATIONS: Life(due=0.7, overdue=0.9, verb="refresh"),
    }
)

_INSTEAD: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.CA: "; only another CA helps: comity certs rotate ca",
        Kind.STATEMENT: "; only another key helps: comity certs rotate statement-key",
        Kind.IDENTITY: "; nothing that it signs now counts",
    }
)
"""What helps where one of a member's is revoked."""

_PURPOSES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.LEAF: "links and sessions",
        Kind.CA: "issues the leaves of its domain",
        Kind.ISSUING: "issues them while the CA is offline",
        Kind.STATEMENT: "signs orders, receipts, accounts",
        Kind.LOG: "signs checkpoints",
        Kind.IDENTITY: "signs key set and agreements",
        Kind.PROVIDER: "the identity provider's, signs who asks",
        Kind.JWKS: "what the identity provider publishes",
        Kind.AUTHORITY: "signs the roster",
        Kind.ROSTER: "who is a member",
        Kind.TIMESTAMP: "which roster is the newest",
        Kind.REVOCATIONS: "what counts no more",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One certificate, key or signed list, and how it is with it."""

    owner: str
    """Agency id, `operator`, or `authority`."""
    kind: Kind
    name: str
    """SPIFFE id, log origin, key id or fingerprint; of the roster, its version."""
    since: datetime | None = None
    """When it began; None: nothing says so."""
    until: datetime | None = None
    """When it ends; None: not by itself."""
    last_used: datetime | None = None
    """The last use that one's own log tells; None: not known."""
    own: bool = False
    """Whether its private part is at hand, in the folder that was looked at."""
    where: Path | None = None
    """The file of the private part, if it is at hand."""
    condition: Condition
    act: str
    """What is next, or what is wrong; empty: nothing."""
    act_at: datetime | None = None
    """From when on `act` is due."""

    @property
    def verb(self) -> str:
        """The next act in a word; empty: none is planned."""
        if self.kind is Kind.IDENTITY and self.act_at is not None:
            return "accept by"
        life = _LIFE.get(self.kind)
        return life.verb if life is not None and self.act_at is not None else ""

    @property
    def is_finding(self) -> bool:
        """Whether somebody has to do something now: of a revoked one whose private part is in use here."""
        return self.condition.is_finding or (self.condition is Condition.REVOKED and self.own)

    def days_old(self, now: datetime) -> int | None:
        """Return its age in whole days, None if nothing says when it began."""
        return None if self.since is None else max(0, (now - self.since).days)

    def days_left(self, now: datetime) -> float | None:
        """Return how long it lasts in days, below 0 once it is over; None if it doesn't end by itself."""
        return None if self.until is None else (self.until - now).total_seconds() / 86_400


def lasting(
    kind: Kind,
    *,
    owner: str,
    name: str,
    since: datetime,
    until: datetime,
    now: datetime,
    act: str,
    own: bool = False,
    where: Path | None = None,
    replaced: bool = False,
) -> Credential:
    """Return a credential that ends by itself, judged at `now`. `replaced`: a later one is in force."""
    life = _LIFE[kind]
    due, overdue = (since + (until - since) * share for share in (life.due, life.overdue))
    if now >= until:
        condition = Condition.PAST if replaced else Condition.EXPIRED
    elif replaced or now < due:
        condition = Condition.GOOD
    else:
        condition = Condition.DUE if now < overdue else Condition.OVERDUE
    idle = replaced or condition is Condition.PAST
    return Credential(
        owner=owner,
        kind=kind,
        name=name,
        since=since,
        until=until,
        own=own,
        where=where,
        condition=condition,
        act="" if idle else act,
        act_at=None if idle else due,
    )


def unusable(kind: Kind, *, owner: str, name: str, reason: str, where: Path | None = None) -> Credential:
    """Return one's own credential that can't be used."""
    return Credential(
        owner=owner, kind=kind, name=name, own=True, where=where, condition=Condition.UNUSABLE, act=reason
    )


def certificate_name(certificate: x509.Certificate) -> str:
    """Return the first 16 hex digits of a certificate's SHA-256 fingerprint: enough to tell two apart."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:16]


def of_pin(pin: AuthorityPin) -> Iterator[Credential]:
    """Yield the governing authority's keys."""
    for key in pin.keys:
        yield Credential(
            owner="authority", kind=Kind.AUTHORITY, name=key.key_id, condition=Condition.GOOD, act=""
        )


def of_federation(federation: Federation, *, now: datetime) -> Iterator[Credential]:
    """Yield the roster, its timestamp, and what each member's key set names."""
    require_aware(now)
    for kind, since, until in (
        (Kind.ROSTER, federation.signed_at, federation.expires_at),
        (Kind.TIMESTAMP, federation.stamped_at, federation.timestamp_expires_at),
    ):
        yield lasting(
            kind,
            owner="authority",
            name=f"version {federation.version}",
            since=since,
            until=until,
            now=now,
            act="the authority signs it anew: comity federation refresh",
        )
    revocations = federation.revocations
    if revocations.version and revocations.next_update is not None:
        yield lasting(
            Kind.REVOCATIONS,
            owner="authority",
            name=f"version {revocations.version}",
            since=federation.stamped_at,
            until=revocations.next_update,
            now=now,
            act="the authority signs it anew: comity federation refresh",
        )
    for member in (federation.operator, *federation.members.values()):
        for found in of_member(member, now=now):
            yield _under(found, member, member.revoked)
    for agency, listed in sorted(federation.own_lists.items()):
        if agency in federation.members:
            yield lasting(
                Kind.REVOCATIONS,
                owner=agency,
                name=f"version {listed.version}",
                since=listed.signed_at,
                until=listed.next_update,
                now=now,
                act="the agency signs it anew: comity certs revoke --dir AGENCY --refresh",
            )


def _under(found: Credential, member: MemberView, revoked: RevokedOf) -> Credential:
    """Return a credential as it counts under a list of revocations."""
    since = revoked.everything
    if since is None and found.kind is Kind.CA:
        for der in member.key_set.ca_certificates:
            if certificate_name(load_certificate(der)) == found.name:
                since = revoked.certificate(der)
    if since is None and found.kind is Kind.STATEMENT:
        keys = {valid.key.key_id: valid.key.der for valid in member.key_set.statement_keys}
        since = revoked.public_keys.get(key_digest(keys[found.name]))
    if since is None and found.kind is Kind.IDENTITY:
        identities = {time.key.key_id: time.key.der for time in member.identities.times}
        since = revoked.public_keys.get(key_digest(identities[found.name]))
    if since is None:
        return found
    instead = "" if revoked.everything is not None else _INSTEAD.get(found.kind, "")
    return replace(found, condition=Condition.REVOKED, act=f"it is {since}{instead}", act_at=None)


def of_member(member: MemberView, *, now: datetime) -> Iterator[Credential]:
    """Yield what one member's entry and key set name."""
    owner, keys = member.agency, member.key_set
    yield from _identity_keys(member, now)
    certificates = [load_certificate(der) for der in keys.ca_certificates]
    for certificate in certificates:
        later = [one.not_valid_before_utc for one in certificates if one.not_valid_after_utc > now]
        yield lasting(
            Kind.CA,
            owner=owner,
            name=certificate_name(certificate),
            since=certificate.not_valid_before_utc,
            until=certificate.not_valid_after_utc,
            now=now,
            act="add the next CA to the key set, and issue from it once it is admitted",
            replaced=any(one > certificate.not_valid_before_utc for one in later),
        )
    ends = _ends(member)
    newer = sorted((valid.not_before for valid in keys.statement_keys if valid.not_after > now), reverse=True)
    for valid in keys.statement_keys:
        # One key an end: a key is replaced once as many later ones are in force as the member has ends.
        followed = len([begin for begin in newer if begin > valid.not_before]) >= max(1, ends)
        yield lasting(
            Kind.STATEMENT,
            owner=owner,
            name=valid.key.key_id,
            since=valid.not_before,
            until=valid.not_after,
            now=now,
            act="add the next key to the key set, and sign with it once it is admitted",
            replaced=followed,
        )
    for log_key in keys.log_keys:
        yield _endless(Kind.LOG, owner, log_key.origin, act=_log_act(bool(log_key.next_verifier_key)))
    for provider in keys.identity_providers:
        for kid in es256_keys(provider.jwks):
            yield _endless(Kind.PROVIDER, owner, f"{provider.issuer} {kid}")


def _identity_keys(member: MemberView, now: datetime) -> Iterator[Credential]:
    """Yield a member's identity keys: the one in force, then those that it replaced, the newest first.

    The first key has no date of its own: it is as old as the oldest statement key, made with it, at least.
    """
    first = min((valid.not_before for valid in member.key_set.statement_keys), default=None)
    for time in reversed(member.identities.times):
        since = time.since if time.since is not None else first
        name, past = time.key.key_id, time.until is not None and now >= time.until
        until = None if time.key == member.identity_key else time.until
        yield Credential(
            owner=member.agency,
            kind=Kind.IDENTITY,
            name=name,
            since=since,
            until=until,
            condition=Condition.PAST if past and until is not None else Condition.GOOD,
            act="",
        )


def worst(credentials: Iterable[Credential]) -> Condition:
    """Return the worst condition among `credentials`, `GOOD` of none."""
    order = list(Condition)
    found = {credential.condition for credential in credentials} - {Condition.PAST, Condition.REVOKED}
    return max(found, key=order.index, default=Condition.GOOD)


def _endless(kind: Kind, owner: str, name: str, act: str = "") -> Credential:
    return Credential(owner=owner, kind=kind, name=name, condition=Condition.GOOD, act=act)


def _log_act(following: bool) -> str:
    return "a next key is named: finish with comity audit rotate-key" if following else ""


def _ends(member: MemberView) -> int:
    """Return how many ends a member runs."""
    return len({log_key.role for log_key in member.key_set.log_keys})
