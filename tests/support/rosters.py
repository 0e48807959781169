"""A federation in memory whose every document can be forged with a one-line change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from comity.audit.note import LogKey as NoteKey
from comity.certs.envelope import digest, seal, to_json
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import AuthorityPin, Federation
from comity.certs.x509 import certificate_der, make_ca
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import KeySet, KeyValidity, LogKey, Member, Roster, RosterTimestamp

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Party:
    """One member's secrets, and its entry in the roster."""

    agency: str
    domain: str
    roles: tuple[str, ...]
    identity: SigningKey = field(default_factory=SigningKey.generate)
    statement: SigningKey = field(default_factory=SigningKey.generate)
    entry: Member = field(default_factory=Member)

    def __post_init__(self) -> None:
        self.ca, self.ca_key = make_ca(self.domain, NOON, 400 * DAY)
        self.log_keys = {role: NoteKey.generate(f"{self.domain}/{role}") for role in self.roles}
        self.key_set = KeySet(
            agency=self.agency,
            domain=self.domain,
            version=1,
            ca_certificates=[certificate_der(self.ca)],
            statement_keys=[
                KeyValidity(
                    public_key=self.statement.public.der,
                    not_before=from_instant(NOON - DAY),
                    not_after=from_instant(NOON + 300 * DAY),
                )
            ],
            log_keys=[
                LogKey(origin=key.origin, verifier_key=key.verifier_key, role=f"END_ROLE_{role.upper()}")
                for role, key in self.log_keys.items()
            ],
            signed_at=from_instant(NOON),
        )
        self.entry = Member(
            agency=self.agency,
            display_name=f"Agency {self.agency}",
            kind="AGENCY_KIND_LOCAL",
            domain=self.domain,
            state="CA",
            contact=f"desk@{self.domain}",
            identity_key=self.identity.public.der,
            asks="gateway" in self.roles,
            provides="adapter" in self.roles,
        )
        self.sign_key_set()

    def sign_key_set(self, key: SigningKey | None = None) -> None:
        """Sign the key set as it is now, with the identity key or another."""
        self.entry.key_set = seal(self.key_set, key or self.identity).SerializeToString()


class Forge:
    """The authority's keys (two of three sign) and everything that it would sign."""

    def __init__(self) -> None:
        self.keys = [SigningKey.generate() for _ in range(3)]
        self.pin = AuthorityPin(federation="Test", keys=tuple(key.public for key in self.keys), threshold=2)
        self.operator = Party("operator", "operator.example", ("broker",))
        self.lapd = Party("lapd", "lapd.example", ("gateway", "adapter"))
        self.lahd = Party("lahd", "lahd.example", ("gateway", "adapter"))
        self.members = [self.lapd, self.lahd]
        self.version = 5
        self.roster_signers: Sequence[SigningKey] = self.keys[:2]
        self.timestamp_signers: Sequence[SigningKey] = self.keys[:2]
        self.change_roster: Callable[[Roster], None] = lambda roster: None
        self.change_timestamp: Callable[[RosterTimestamp], None] = lambda timestamp: None

    def roster(self) -> Envelope:
        """The roster as it is now, signed."""
        roster = Roster(
            federation="Test",
            version=self.version,
            signed_at=from_instant(NOON),
            expires_at=from_instant(NOON + 365 * DAY),
            operator=self.operator.entry,
            members=[party.entry for party in self.members],
        )
        self.change_roster(roster)
        return seal(roster, *self.roster_signers)

    def timestamp(self, roster: Envelope) -> Envelope:
        """A timestamp for `roster`, signed."""
        timestamp = RosterTimestamp(
            roster_version=Roster.FromString(roster.payload).version,
            roster_digest=digest(roster.payload),
            signed_at=from_instant(NOON),
            expires_at=from_instant(NOON + 30 * DAY),
        )
        self.change_timestamp(timestamp)
        return seal(timestamp, *self.timestamp_signers)

    def verify(self, *, now: datetime = NOON, last_seen_version: int = 0) -> Federation:
        """What an end makes of the documents as they are now."""
        roster = self.roster()
        return Federation.verify(
            roster=to_json(roster),
            timestamp=to_json(self.timestamp(roster)),
            pin=self.pin,
            now=now,
            last_seen_version=last_seen_version,
        )
