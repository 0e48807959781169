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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from comity.certs.authority_keys import changes_in, follow
from comity.certs.envelope import Opened, from_json, open_envelope
from comity.certs.errors import (
    EnvelopeInvalid,
    RosterExpired,
    RosterInvalid,
    UnknownMember,
)
from comity.certs.files import read_optional, read_public
from comity.certs.instants import CLOCK_SKEW, require_aware, to_instant
from comity.certs.members import (
    EarlierLogKeyView,
    IdentityProviderView,
    KeySetView,
    LogKeyView,
    MemberView,
    ValidKey,
    key_uses,
    member_view,
    without_revoked,
)
from comity.certs.own_lists import OwnList, lists_digest, open_own_list, own_lists_in
from comity.certs.pin import AuthorityPin
from comity.certs.revocations import NO_REVOCATIONS, REVOCATIONS_FILE, Revocations, open_revocations
from comity.v1.federation_pb2 import Roster, RosterTimestamp

__all__ = [
    "AUTHORITY_FILE",
    "ROSTER_FILE",
    "TIMESTAMP_FILE",
    "AuthorityPin",
    "EarlierLogKeyView",
    "Federation",
    "IdentityProviderView",
    "KeySetView",
    "LogKeyView",
    "MemberView",
    "ValidKey",
]

AUTHORITY_FILE: Final = "authority.json"
"""The pin, in a federation's public folder."""
ROSTER_FILE: Final = "roster.json"
"""The roster, in a federation's public folder."""
TIMESTAMP_FILE: Final = "timestamp.json"
"""The roster's timestamp, in a federation's public folder."""

MAX_MEMBERS: Final = 1_000
"""Members of one roster."""

_MISSING: Final = "its own list of revocations, version {} or later, was known here and isn't there"

_D = TypeVar("_D", Roster, RosterTimestamp)


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
    stamped_at: datetime
    """When the timestamp was signed; of a roster without one, when the roster was."""
    timestamp_expires_at: datetime
    """When the timestamp ends, and with it the trust in the roster being the newest."""
    timestamp_digest: bytes = field(default=b"", repr=False)
    """SHA-256 of the timestamp's payload; empty where none was verified."""
    operator: MemberView
    members: Mapping[str, MemberView]
    """By agency id, in alphabetical order; without the operator."""
    revocations: Revocations = NO_REVOCATIONS
    """The authority's list that counts with it."""
    own_lists: Mapping[str, OwnList] = field(default_factory=lambda: MappingProxyType({}))
    """The agencies' own lists that count with it, by agency."""

    @classmethod
    def load(
        cls, public: Path, *, now: datetime, pin: AuthorityPin | None = None, last_seen_version: int = 0
    ) -> Federation:
        """Return the federation in the folder `public`, every rule of this module applied.

        The authority's keys are those that follow from `pin` by the folder's changes (`authority_keys`).
        Without `pin`, the folder's own `authority.json` is taken: right only for a folder that reached this
        machine as trustworthily as a pin would. An agency's own list that breaks a rule is left out. Raises
        `RosterExpired`, `RosterInvalid`, `FileUnusable`.
        """
        found = cls.verify(
            roster=read_public(public / ROSTER_FILE),
            timestamp=read_public(public / TIMESTAMP_FILE),
            pin=follow(
                AuthorityPin.load(public / AUTHORITY_FILE) if pin is None else pin, changes_in(public)
            ),
            revocations=read_optional(public / REVOCATIONS_FILE),
            now=now,
            last_seen_version=last_seen_version,
        )
        lists, _ = own_lists_in(public, members=found.members, federation=found.name, now=now)
        return found.with_own_lists(lists, now=now)

    @classmethod
    def verify(
        cls,
        *,
        roster: bytes,
        timestamp: bytes,
        pin: AuthorityPin,
        now: datetime,
        last_seen_version: int = 0,
        revocations: bytes | None = None,
    ) -> Federation:
        """Return the federation of two documents in DSSE's JSON form.

        Raises `RosterExpired` if one is past its time, `RosterInvalid` for any other rule.
        """
        require_aware(now)
        stamp = _open(timestamp, RosterTimestamp, pin, "roster timestamp")
        stamped = stamp.message
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
        stamped_at = _instant(stamped, "signed_at", "roster timestamp")
        revoked = open_revocations(
            revocations,
            stamp=stamped,
            keys=pin.keys,
            threshold=pin.threshold,
            federation=pin.federation,
            now=now,
        )
        federation = cls._of(opened, pin, stamped_at, stamped_until, stamp.digest)
        return federation._without(revoked, now=now)

    @classmethod
    def for_evidence(
        cls,
        *,
        roster: bytes,
        pin: AuthorityPin,
        revocations: bytes | None = None,
        own_lists: Sequence[bytes] = (),
    ) -> Federation:
        """Return the federation of a roster that may be old, for checking what was signed in its time.

        Rules 3, 5, 8, 9 and 10 alone: nothing says that this is the newest roster, so never decide with it
        whom to trust now. With a list of `revocations`, or agencies' `own_lists`, a statement key counts
        until it was revoked. Raises `RosterInvalid`.
        """
        opened = _open(roster, Roster, pin, "roster")
        signed_at, until = (_instant(opened.message, name, "roster") for name in ("signed_at", "expires_at"))
        revoked = open_revocations(
            revocations,
            stamp=None,
            keys=pin.keys,
            threshold=pin.threshold,
            federation=pin.federation,
            now=None,
        )
        found = cls._of(opened, pin, signed_at, until)._without(revoked, now=None)
        lists = [
            open_own_list(data, members=found.members, federation=found.name, now=None) for data in own_lists
        ]
        return found.with_own_lists({one.agency: one for one in lists}, now=None)

    def _without(self, revoked: Revocations, *, now: datetime | None) -> Federation:
        """Return the federation as it counts under a list of revocations."""
        if not revoked.version:
            return self
        members = {
            agency: without_revoked(member, revoked.of(agency), now=now)
            for agency, member in self.members.items()
        }
        return replace(
            self,
            members=MappingProxyType(members),
            operator=without_revoked(self.operator, revoked.of(self.operator.agency), now=now),
            revocations=revoked,
        )

    @classmethod
    def _of(
        cls,
        opened: Opened[Roster],
        pin: AuthorityPin,
        stamped_at: datetime,
        stamped_until: datetime,
        timestamp_digest: bytes = b"",
    ) -> Federation:
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
            stamped_at=stamped_at,
            timestamp_expires_at=stamped_until,
            timestamp_digest=timestamp_digest,
            operator=operator,
            members=MappingProxyType(
                {member.agency: member for member in sorted(members, key=lambda m: m.agency)}
            ),
        )

    def with_own_lists(
        self, lists: Mapping[str, OwnList], *, now: datetime | None, missing: Mapping[str, int] | None = None
    ) -> Federation:
        """Return the federation as it counts under agencies' own lists, and those that were in force before.

        With `now`, whom to trust now: whose list is past its next update, or `missing` although that version
        of it was known here, is `lapsed`. Without, for evidence.
        """
        kept = MappingProxyType({**self.own_lists, **lists})
        if not kept and not missing:
            return self
        members = dict(self.members)
        for agency, listed in kept.items():
            if agency in members:
                member = members[agency]
                member = without_revoked(member, member.revoked.joined(listed.revoked), now=now)
                members[agency] = replace(member, lapsed="" if now is None else listed.lapsed(now))
        for agency, version in (missing or {}).items():
            if agency in members:
                members[agency] = replace(members[agency], lapsed=_MISSING.format(version))
        return replace(self, members=MappingProxyType(members), own_lists=kept)

    def lists_since(self, old: Federation | None) -> tuple[tuple[str, int, bytes], ...]:
        """Return issuer (empty: the authority), version and digest of the lists that `old` doesn't have.

        Of `None`, of those of before a start, every list was there.
        """
        if old is None:
            return ()
        found = [("", self.revocations.version, self.revocations.digest, old.revocations.version)]
        for agency, listed in sorted(self.own_lists.items()):
            before = old.own_lists.get(agency)
            version = 0 if before is None else before.version
            found.append((agency, listed.version, listed.digest, version))
        return tuple((issuer, version, digest) for issuer, version, digest, was in found if version != was)

    @property
    def own_lists_digest(self) -> bytes:
        """What `Hello` says of the agencies' own lists; empty where there are none."""
        return lists_digest(self.own_lists.values())

    @property
    def lapses_at(self) -> datetime | None:
        """When the next agency lapses whose own list isn't followed by a newer one; None: none does."""
        members = self.members
        until = (
            one.next_update
            for agency, one in self.own_lists.items()
            if agency in members and not members[agency].lapsed
        )
        return min(until, default=None)

    @property
    def trusted_until(self) -> datetime:
        """The instant from which a newer timestamp or roster is needed."""
        update = self.revocations.next_update
        return min(self.expires_at, self.timestamp_expires_at, *([update] if update is not None else []))

    def member(self, agency: str) -> MemberView:
        """Return a member by its agency id, suspended or not; raise `UnknownMember`. Never the operator."""
        found = self.members.get(agency)
        if found is None:
            raise UnknownMember(f"agency `{ascii(agency)[1:-1][:60]}` isn't in the roster of `{self.name}`")
        return found

    def log_of(self, origin: str) -> tuple[str, LogKeyView] | None:
        """Return whose log this is, and its keys; None if it is neither a member's nor the operator's."""
        for member in (self.operator, *self.members.values()):
            for key in member.key_set.log_keys:
                if key.origin == origin:
                    return member.agency, key
        return None

    def by_domain(self, domain: str) -> MemberView:
        """Return the member of exactly this domain; raise `UnknownMember`. Never the operator."""
        for member in self.members.values():
            if member.domain == domain:
                return member
        raise UnknownMember(f"domain `{ascii(domain)[1:-1][:60]}` isn't in the roster of `{self.name}`")


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
        for use, key in key_uses(member):
            if owners.setdefault(key, f"{use} of `{member.agency}`") != f"{use} of `{member.agency}`":
                raise RosterInvalid(f"{use} of `{member.agency}` is the same key as {owners[key]}")


def _repeated(values: Iterable[str]) -> str | None:
    """Return the first value that stands in `values` twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
