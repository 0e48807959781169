"""Notices: how one party ends an agreement (A2, MOA V).

A notice is signed by the identity key that the agreement pins for the party that gives it, or by a later one
to which that key led, in that key's time. It only ever shortens, so one signature does; and each end goes by
those it has. Who gave notice stops at once to ask and to answer when the time comes, whether the other side
has it or not: it can't be made to go on by losing a letter. `verify_notice` applies these rules in this
order:

1. it names this agreement, by its digest;
2. the party that it names signed it, with a key that counted when it was given;
3. a termination names its date, as many days after it was given as the agreement's notice takes, and lies
   before the agreement would end anyway;
4. a non-extension is of an agreement that would be extended, and was given as many days before its expiry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from google.protobuf.message import DecodeError

from comity.certs.envelope import digest, open_envelope, payload_type
from comity.certs.errors import AgreementInvalid, EnvelopeInvalid
from comity.certs.instants import to_instant
from comity.certs.keys import VerifyKey
from comity.certs.successions import IdentityKeys
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import (
    NOTICE_KIND_NON_EXTENSION,
    NOTICE_KIND_TERMINATION,
    AgreementNotice,
)


class Ending(Enum):
    """How an agreement ends by notice."""

    TERMINATION = "terminated"
    NON_EXTENSION = "not extended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice that verifies against its agreement."""

    agreement_digest: bytes
    agency: str
    ending: Ending
    given_at: datetime
    ends_at: datetime
    """First instant no longer in force."""
    digest: bytes
    """SHA-256 of its payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """The times of an agreement, as it is written."""

    agreement_id: str
    digest: bytes
    parties: Mapping[str, VerifyKey]
    effective_at: datetime
    expires_at: datetime
    extension_days: int
    notice_days: int
    identities: Mapping[str, IdentityKeys] = field(default_factory=dict)
    """Of each party, the pinned key and those to which it led; empty: the pinned keys alone."""

    def keys_at(self, agency: str, instant: datetime) -> tuple[VerifyKey, ...]:
        """Return the keys with which a party may have signed something at `instant`; may be empty."""
        found = self.identities.get(agency) or IdentityKeys.of(self.parties[agency])
        return found.at(instant)

    @property
    def extended_until(self) -> datetime:
        """When it ends if nobody gives notice: once extended by its days of extension (MOA V)."""
        return self.expires_at + timedelta(days=self.extension_days)

    @property
    def last_day_against_extension(self) -> datetime:
        """Until when notice of non-extension can be given."""
        return self.expires_at - timedelta(days=self.notice_days)


def is_notice(envelope: Envelope) -> bool:
    """Return whether a document says that it is a notice; nothing is verified."""
    return envelope.payload_type == payload_type(AgreementNotice)


def agreement_of(envelope: Envelope) -> bytes:
    """Return the digest of the agreement that a notice claims to be of; empty if it can't be read."""
    try:
        return bytes(AgreementNotice.FromString(envelope.payload).agreement_digest)
    except ValueError:
        return b""


def verify_notice(envelope: Envelope, term: Term) -> Notice:
    """Return the notice in `envelope`, every rule of this module applied; raise `AgreementInvalid`."""
    about = f"notice about agreement `{term.agreement_id}`"
    try:
        claimed = AgreementNotice.FromString(envelope.payload)
        if claimed.agreement_digest != term.digest:
            raise AgreementInvalid(f"{about}: it names another agreement")
        if claimed.agency not in term.parties:
            raise AgreementInvalid(f"{about}: `{ascii(claimed.agency)[1:-1][:64]}` is no party of it")
        keys = term.keys_at(claimed.agency, to_instant(claimed, "given_at"))
        notice = open_envelope(envelope, AgreementNotice, keys).message
    except EnvelopeInvalid as error:
        raise AgreementInvalid(
            f"{about}: the party that it names did not sign it, with a key that counted when it was given: "
            f"{error}"
        ) from error
    except DecodeError as error:
        raise AgreementInvalid(f"{about}: payload is not an `AgreementNotice`") from error
    except ValueError as error:
        raise AgreementInvalid(f"{about}: {error}") from error
    if len(notice.nonce) != 16:
        raise AgreementInvalid(f"{about}: nonce has {len(notice.nonce)} bytes, expected 16")
    try:
        given_at = to_instant(notice, "given_at")
        ends_at = _ends_at(notice, term, given_at)
    except ValueError as error:
        raise AgreementInvalid(f"{about}: {error}") from error
    return Notice(
        agreement_digest=term.digest,
        agency=notice.agency,
        ending=Ending.TERMINATION if notice.kind == NOTICE_KIND_TERMINATION else Ending.NON_EXTENSION,
        given_at=given_at,
        ends_at=ends_at,
        digest=digest(envelope.payload),
    )


def _ends_at(notice: AgreementNotice, term: Term, given_at: datetime) -> datetime:
    """Return when the agreement ends by a notice; raise `ValueError`."""
    if notice.kind == NOTICE_KIND_TERMINATION:
        return _terminated(to_instant(notice, "ends_at"), term, given_at)
    if notice.kind != NOTICE_KIND_NON_EXTENSION:
        raise ValueError("its kind is none that is known")
    if notice.HasField("ends_at"):
        raise ValueError("a notice of non-extension names no date: the agreement's expiry is it")
    return _not_extended(term, given_at)


def _terminated(ends_at: datetime, term: Term, given_at: datetime) -> datetime:
    earliest = given_at + timedelta(days=term.notice_days)
    if ends_at < earliest:
        raise ValueError(
            f"it ends {ends_at:%Y-%m-%d %H:%M} UTC, and notice takes {term.notice_days} days: "
            f"{earliest:%Y-%m-%d %H:%M} UTC at the earliest"
        )
    if ends_at >= term.extended_until:
        raise ValueError(f"the agreement ends before, {term.extended_until:%Y-%m-%d %H:%M} UTC")
    return ends_at


def _not_extended(term: Term, given_at: datetime) -> datetime:
    if not term.extension_days:
        raise ValueError("the agreement is not extended by itself, so there is nothing to give notice of")
    if given_at > term.last_day_against_extension:
        raise ValueError(
            f"given {given_at:%Y-%m-%d %H:%M} UTC, {term.notice_days} days before the expiry was "
            f"{term.last_day_against_extension:%Y-%m-%d %H:%M} UTC"
        )
    return term.expires_at
