"""Successions: an agency's identity key gives way to another, and the old one vouches for it.

::

    oldest key ──succession 1──▶ key ──succession 2──▶ the key that the roster names

The roster carries the chain beside the key to which it leads. Each key counts from the `effective_at` of the
succession that brought it to the `old_until` of the one that replaced it: for a while both do. What a key
signed in its time goes on verifying. Rules of a succession, in this order:

1. both keys that it names signed it: the old one vouches, the new one proves possession;
2. they are two keys;
3. it takes effect no earlier than it was signed, and the old key ends then or later, `MAX_OVERLAP` at most.

Rules of a chain: it is one agency's; its numbers are 1, 2, 3 …; each begins with the key to which the former
one led, so that no key has two successors; no key comes back; none takes effect before the former one; the
last one leads to the key that the roster names.

A key that was lost can't vouch: then there is no succession, and agreements are signed anew. Whether an
agreement goes on with a new key is for its other party to say (`acceptances`).
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.envelope import open_envelope, payload_type, seal
from comity.certs.errors import EnvelopeInvalid, KeyUnusable, SuccessionInvalid
from comity.certs.instants import CLOCK_SKEW, from_instant, require_aware, to_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import IdentitySuccession

MAX_OVERLAP: Final = timedelta(days=400)
"""For so long the old key may count beside the new one."""
MAX_SUCCESSIONS: Final = 64
"""Successions of one agency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """A succession that both its keys signed."""

    agency: str
    number: int
    old: VerifyKey
    new: VerifyKey
    effective_at: datetime
    """First instant at which the new key counts."""
    old_until: datetime
    """First instant at which the old key counts no more."""
    issued_at: datetime
    reason: str
    digest: bytes
    """SHA-256 of its payload."""
    serialized: bytes = field(repr=False)
    """The envelope, as the roster carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityTime:
    """An identity key with the time in which what it signs counts."""

    key: VerifyKey
    since: datetime | None = None
    """First instant; None: from the beginning."""
    until: datetime | None = None
    """First instant no longer; None: it goes on."""

    def counts_at(self, instant: datetime) -> bool:
        """Return whether what it signed at `instant` counts."""
        require_aware(instant)
        begun = self.since is None or self.since <= instant
        return begun and (self.until is None or instant < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKeys:
    """The identity keys of one agency, the oldest first; never empty."""

    times: tuple[IdentityTime, ...]

    @classmethod
    def of(cls, key: VerifyKey) -> IdentityKeys:
        """Return a key that never was replaced."""
        return cls(times=(IdentityTime(key=key),))

    @property
    def current(self) -> VerifyKey:
        """The key that the roster names."""
        return self.times[-1].key

    def at(self, instant: datetime) -> tuple[VerifyKey, ...]:
        """Return the keys whose signature of `instant` counts; may be empty."""
        return tuple(time.key for time in self.times if time.counts_at(instant))

    def after(self, pinned: VerifyKey) -> IdentityKeys:
        """Return those from `pinned` on; raise `ValueError` if it is none of them."""
        for index, time in enumerate(self.times):
            if time.key == pinned:
                return IdentityKeys(times=self.times[index:])
        raise ValueError("that key is none of them")


def succeed(
    old: SigningKey,
    new: SigningKey,
    *,
    agency: str,
    number: int,
    now: datetime,
    overlap: timedelta,
    reason: str,
    effective_at: datetime | None = None,
) -> Succession:
    """Return the succession of `old` by `new`, signed by both.

    Args:
        old: The key that is replaced; nothing needs it afterwards.
        new: The key that takes its place.
        agency: Whose they are.
        number: One more than the agency's last succession has; 1: the first.
        now: When it is signed.
        overlap: For how long from `effective_at` on the old key counts, too.
        reason: Why, one line; it is published.
        effective_at: From when on the new key counts; None: from now on.

    Raises `SuccessionInvalid` for values that can't be.
    """
    begins = effective_at or now
    message = IdentitySuccession(
        nonce=secrets.token_bytes(16),
        agency=agency,
        number=number,
        old_key=old.public.der,
        new_key=new.public.der,
        effective_at=from_instant(begins),
        old_until=from_instant(begins + overlap),
        reason=reason,
        issued_at=from_instant(now),
    )
    return read_succession(seal(message, old, new).SerializeToString())


def is_succession(envelope: Envelope) -> bool:
    """Return whether a document says that it is a succession; nothing is verified."""
    return envelope.payload_type == payload_type(IdentitySuccession)


def read_succession(serialized: bytes) -> Succession:
    """Return the succession in a serialized envelope, the rules of one applied.

    Nothing says that it is in force: for that it stands in the chain of a roster. Raises `SuccessionInvalid`.
    """
    try:
        envelope = Envelope.FromString(serialized)
        claimed = IdentitySuccession.FromString(envelope.payload)
        old, new = VerifyKey.from_der(claimed.old_key), VerifyKey.from_der(claimed.new_key)
        opened = open_envelope(envelope, IdentitySuccession, [old, new], threshold=2)
        found = opened.message
        succession = Succession(
            agency=words.agency_id(found.agency),
            number=found.number,
            old=old,
            new=new,
            effective_at=to_instant(found, "effective_at"),
            old_until=to_instant(found, "old_until"),
            issued_at=to_instant(found, "issued_at"),
            reason=words.line(found.reason, "reason"),
            digest=opened.digest,
            serialized=serialized,
        )
        if len(found.nonce) != 16:
            raise ValueError(f"nonce has {len(found.nonce)} bytes, expected 16")
        if succession.effective_at < succession.issued_at - CLOCK_SKEW:
            raise ValueError("it takes effect before it was signed")
        if not timedelta(0) <= succession.old_until - succession.effective_at <= MAX_OVERLAP:
            raise ValueError(
                f"the old key ends {succession.old_until:%Y-%m-%d %H:%M} UTC, expected when the new one "
                f"counts or up to {MAX_OVERLAP.days} days later"
            )
    except EnvelopeInvalid as error:
        raise SuccessionInvalid(f"succession isn't signed by the old and the new key: {error}") from error
    except DecodeError as error:
        raise SuccessionInvalid("succession is not an envelope of an `IdentitySuccession`") from error
    except (ValueError, KeyUnusable) as error:
        raise SuccessionInvalid(f"succession: {error}") from error
    return succession


def read_chain(
    serialized: Sequence[bytes], *, agency: str, identity_key: VerifyKey
) -> tuple[Succession, ...]:
    """Return a member's successions, which lead to `identity_key`, every rule of this module applied.

    Raises `SuccessionInvalid`.
    """
    if len(serialized) > MAX_SUCCESSIONS:
        raise SuccessionInvalid(f"successions: {len(serialized)}, expected {MAX_SUCCESSIONS} at most")
    chain = tuple(read_succession(each) for each in serialized)
    for number, step in enumerate(chain, start=1):
        if step.agency != agency:
            raise SuccessionInvalid(f"succession {number} is of `{step.agency}`, expected `{agency}`")
        if step.number != number:
            raise SuccessionInvalid(f"succession {number} says that it is number {step.number}")
    for former, step in itertools.pairwise(chain):
        if step.old != former.new:
            raise SuccessionInvalid(
                f"succession {step.number} replaces another key than that to which number {former.number} led"
            )
        if step.effective_at < former.effective_at:
            raise SuccessionInvalid(f"succession {step.number} takes effect before number {former.number}")
    if chain and chain[-1].new != identity_key:
        raise SuccessionInvalid("successions lead to another identity key than the one that is named")
    keys = [*(step.old.der for step in chain), identity_key.der]
    if len(set(keys)) != len(keys):
        raise SuccessionInvalid("successions name a key twice")
    return chain
