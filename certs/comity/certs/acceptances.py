"""Acceptances: an agreement goes on with the new identity key of one party because the other one says so.

An agreement pins both identity keys. When one of them gives way to another (`successions`), the old key's
word carries the pair until that key ends (`old_until`), and no longer: then the agreement rests until the
other party has accepted the new key, by hand, with its own identity key. Never by itself: a thief of the old
key could have signed a succession, too. The party whose key was replaced needs nobody's word for it at its
own ends.

`verify_acceptance` applies these rules in this order:

1. it holds a succession that both keys signed;
2. it names this agreement;
3. succession and acceptance are of the two parties, one each: nobody accepts for themselves, nor for others;
4. the accepting party signed it, with an identity key that counted then and to which the pin leads.

`moves` then tells how a pin leads to the key that the roster names, and raises if it doesn't:

5. a chain of successions in the roster leads from one to the other: without it, somebody slipped a key in;
6. the chain holds what was accepted here, and one's own successions: a roster that lacks one has gone back,
   or the old key has two successors;
7. no key was revoked when it signed its succession.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs.envelope import open_envelope, payload_type, seal
from comity.certs.errors import EnvelopeInvalid, SuccessionInvalid, UnknownMember
from comity.certs.instants import CLOCK_SKEW, from_instant, to_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.members import MemberView
from comity.certs.revocations import key_digest
from comity.certs.roster import Federation
from comity.certs.successions import Succession, read_succession
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import IdentityAcceptance


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """An acceptance that verifies for one agreement."""

    agency: str
    """Who accepts."""
    succession: Succession
    accepted_at: datetime
    digest: bytes
    """SHA-256 of its payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an end has in its folder of agreements about identity keys; nothing of it is verified yet."""

    own: str = ""
    """Whose folder it is; empty: nobody's, so that every succession needs the other party's acceptance."""
    acceptances: tuple[Envelope, ...] = ()
    successions: tuple[Succession, ...] = ()
    """Its own."""


NOTHING_KEPT: Final = Kept()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step from a key that an agreement pins to the key that the roster names."""

    succession: Succession
    old_until: datetime
    """First instant at which the old key counts no more, by its succession or by the list of revocations."""
    acceptance: Acceptance | None
    """The other party's, if it is here."""
    own: bool
    """Whether it is of the agency whose folder this is: its own ends need no acceptance."""

    @property
    def is_open(self) -> bool:
        """Whether the agreement rests here from `old_until` on."""
        return self.acceptance is None and not self.own

    def rests_at(self, now: datetime) -> bool:
        """Return whether it keeps the agreement from being in force at `now`."""
        early = now < self.succession.effective_at - CLOCK_SKEW
        return early or (self.is_open and now >= self.old_until)

    def why(self, now: datetime) -> str:
        """Return, where it rests at `now`, the reason in plain words."""
        agency, key = self.succession.agency, self.succession.new.key_id
        if now < self.succession.effective_at - CLOCK_SKEW:
            begins = _spelled(self.succession.effective_at)
            return f"the new identity key of `{agency}` ({key}) counts from {begins}"
        return (
            f"`{agency}` replaced its identity key, and the new one ({key}) was not accepted by "
            f"{_spelled(self.old_until)}"
        )

    @property
    def warning(self) -> str:
        """What happens unless it is accepted, and how that is done, in plain words."""
        agency, key = self.succession.agency, self.succession.new.key_id
        return (
            f"rests from {_spelled(self.old_until)} until the new identity key of `{agency}` ({key}) is "
            f"accepted: comity agreement accept-identity {agency}"
        )

    @property
    def strange(self) -> str:
        """What to find out about a new key of one's own of which one's own folder knows nothing."""
        agency, key = self.succession.agency, self.succession.new.key_id
        return (
            f"the roster names a new identity key of `{agency}` itself ({key}), and nothing here tells of "
            "it: finish it with comity certs rotate identity, or tell the authority that it isn't yours"
        )


def is_acceptance(envelope: Envelope) -> bool:
    """Return whether a document says that it is an acceptance; nothing is verified."""
    return envelope.payload_type == payload_type(IdentityAcceptance)


def agreements_of(envelope: Envelope) -> tuple[bytes, ...]:
    """Return the digests of the agreements that an acceptance claims to be for; none if it can't be read."""
    try:
        return tuple(IdentityAcceptance.FromString(envelope.payload).agreements)
    except DecodeError:
        return ()


def accept(
    successions: Succession, agreements: Sequence[bytes], *, agency: str, key: SigningKey, now: datetime
) -> Envelope:
    """Return the word of `agency`, signed with its identity key, that agreements go on with a new key."""
    acceptance = IdentityAcceptance(
        nonce=secrets.token_bytes(16),
        agency=agency,
        succession=successions.serialized,
        agreements=sorted(agreements),
        accepted_at=from_instant(now),
    )
    return seal(acceptance, key)


def verify_acceptance(
    envelope: Envelope, *, agreement: bytes, parties: Mapping[str, VerifyKey], federation: Federation
) -> Acceptance:
    """Return the acceptance in `envelope` for the agreement of a digest (rules 1 to 4).

    Args:
        envelope: What claims to be one.
        agreement: SHA-256 of the agreement's payload.
        parties: The agreement's two parties with the keys that it pins.
        federation: The roster, for the other keys of who accepts.

    Raises `SuccessionInvalid`.
    """
    try:
        claimed = IdentityAcceptance.FromString(envelope.payload)
        succession = read_succession(claimed.succession)
        if agreement not in claimed.agreements:
            raise SuccessionInvalid("it names another agreement")
        if claimed.agency not in parties or succession.agency not in parties:
            raise SuccessionInvalid(
                f"it is `{ascii(claimed.agency)[1:-1][:64]}`'s, of a key of `{succession.agency}`, and the "
                f"agreement is between {' and '.join(parties)}"
            )
        if claimed.agency == succession.agency:
            raise SuccessionInvalid(f"`{claimed.agency}` can't accept its own key: the other party does")
        member = federation.member(claimed.agency)
        at = to_instant(claimed, "accepted_at")
        keys = member.identities.after(parties[claimed.agency]).at(at)
        found = open_envelope(envelope, IdentityAcceptance, keys)
        if len(found.message.nonce) != 16:
            raise SuccessionInvalid(f"nonce has {len(found.message.nonce)} bytes, expected 16")
    except EnvelopeInvalid as error:
        raise SuccessionInvalid(
            f"acceptance isn't signed by the party that it names, with a key that counted then: {error}"
        ) from error
    except DecodeError as error:
        raise SuccessionInvalid("acceptance: payload is not an `IdentityAcceptance`") from error
    except (ValueError, UnknownMember, SuccessionInvalid) as error:
        raise SuccessionInvalid(f"acceptance: {error}") from error
    return Acceptance(
        agency=claimed.agency,
        succession=succession,
        accepted_at=at,
        digest=found.digest,
    )


def accepted(
    kept: Kept, *, agreement: bytes, parties: Mapping[str, VerifyKey], federation: Federation
) -> tuple[Acceptance, ...]:
    """Return what is kept for an agreement and verifies; the rest does nothing."""
    found = []
    for envelope in kept.acceptances:
        if agreement not in agreements_of(envelope):
            continue
        try:
            found.append(
                verify_acceptance(envelope, agreement=agreement, parties=parties, federation=federation)
            )
        except SuccessionInvalid:
            continue
    return tuple(found)


def moves(
    agency: str, pinned: VerifyKey, member: MemberView, acceptances: Iterable[Acceptance], kept: Kept
) -> tuple[Move, ...]:
    """Return the steps from a pinned key to the one that the roster names; none: it names that one.

    Raises `ValueError` unless rules 5 to 7 hold, with what to find out.
    """
    keys = [time.key for time in member.identities.times]
    if pinned not in keys:
        raise ValueError(
            f"the identity key that it pins for `{agency}` isn't the one in the roster: find out from "
            f"`{agency}` itself, not from the roster, which of the two is right"
        )
    steps = member.successions[keys.index(pinned) :]
    by_step = {found.succession.digest: found for found in acceptances if found.succession.agency == agency}
    own = [known for known in kept.successions if known.agency == agency]
    named = {step.digest for step in member.successions}
    for known in (*own, *(found.succession for found in by_step.values())):
        if known.digest not in named:
            raise ValueError(_contradicted(known, member))
    made = []
    for step in steps:
        revoked = member.revoked.public_keys.get(key_digest(step.old.der))
        if revoked is not None and revoked.at <= step.issued_at:
            raise ValueError(
                f"the identity key of `{agency}` was {revoked} when it signed its succession: find out from "
                f"`{agency}` itself what holds, and sign the agreement anew"
            )
        made.append(
            Move(
                succession=step,
                old_until=step.old_until if revoked is None else min(step.old_until, revoked.at),
                acceptance=by_step.get(step.digest),
                own=agency == kept.own,
            )
        )
    return tuple(made)


def _contradicted(known: Succession, member: MemberView) -> str:
    """Return what is wrong with a roster that lacks a succession that counts here."""
    agency = known.agency
    if any(step.old == known.old for step in member.successions):
        return (
            f"the roster names another successor to the identity key {known.old.key_id} of `{agency}` than "
            f"{known.new.key_id}, which counts here: find out from `{agency}` itself which of them is right"
        )
    return (
        f"the roster has gone back to an identity key of `{agency}` from before {known.new.key_id}, which "
        f"counts here: find out from `{agency}` itself which of the two is right"
    )


def _spelled(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
