"""What is said, signed, of a user: a provider's notice of a suspension, and an agency's acts (Q8).

An act is signed by a statement key of the user's own agency. `verify_user_act` applies these rules in order:

1. a statement key that the agency's key set names now signed it;
2. it names the agency in whose name it comes, a user, and a kind that is known, under a nonce of 16 bytes;
3. it was given in the past, and a recertification only with a readmission, no later than that was given.

Whether it is newer than what is known of the user is for its receiver to say: of two acts the later holds,
so that an old one that is sent again changes nothing. `verify_suspension` applies 1 and 2 to a provider's
notice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comity.certs import words
from comity.certs.envelope import digest, open_envelope, payload_type, seal
from comity.certs.errors import EnvelopeInvalid, UserActInvalid
from comity.certs.instants import CLOCK_SKEW, from_instant, to_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import MemberView
from comity.v1 import users_pb2
from comity.v1.envelope_pb2 import Envelope

FOLDER: Final = "user-acts"
"""Below a gateway's folder: its agency's acts in force; those still to be taken are in `NEW` below it."""
NEW: Final = "new"

NONCE_BYTES: Final = 16
EXCHANGE_ID_BYTES: Final = 16
MOST_EXCHANGES: Final = 1_000
"""Exchanges that one notice names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAct:
    """An act that verifies. Its repr names nobody."""

    agency: str
    user: str = field(repr=False)
    terminates: bool
    """Otherwise it readmits."""
    given_at: datetime
    recertified_at: datetime | None = None
    digest: bytes
    """SHA-256 of its payload."""
    envelope: Envelope = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionNotice:
    """A provider's notice that verifies. Its repr names nobody."""

    provider: str
    agency: str
    user: str = field(repr=False)
    suspended_at: datetime
    ends_at: datetime | None
    returns: str
    """`recertification`, `length`, `either` or `both`."""
    refusals: int
    window_seconds: int
    exchange_ids: tuple[bytes, ...]
    digest: bytes
    """SHA-256 of its payload."""
    envelope: Envelope = field(repr=False, compare=False)


def sign_user_act(
    key: SigningKey,
    *,
    agency: str,
    user: str,
    terminates: bool,
    given_at: datetime,
    recertified_at: datetime | None = None,
) -> Envelope:
    """Return an agency's act about its user; raise `UserActInvalid` for one that nobody would accept."""
    try:
        words.agency_id(agency)
        words.line(user, "user")
    except ValueError as error:
        raise UserActInvalid(str(error)) from error
    act = users_pb2.UserAct(
        nonce=secrets.token_bytes(NONCE_BYTES),
        agency=agency,
        user=user,
        kind=users_pb2.USER_ACT_KIND_TERMINATION if terminates else users_pb2.USER_ACT_KIND_READMISSION,
        given_at=from_instant(given_at),
    )
    if recertified_at is not None:
        if terminates or recertified_at > given_at:
            raise UserActInvalid("a recertification goes with a readmission, and lies before it")
        act.recertified_at.CopyFrom(from_instant(recertified_at))
    return seal(act, key)


def file_name(act: bytes) -> str:
    """Return the name of an act's file, from its digest: it names nobody."""
    return f"{act.hex()[:32]}.json"


def is_user_act(envelope: Envelope) -> bool:
    """Return whether a document says that it is such an act; nothing is verified."""
    return envelope.payload_type == payload_type(users_pb2.UserAct)


def verify_user_act(envelope: Envelope, *, member: MemberView, now: datetime, own: bool = False) -> UserAct:
    """Return the act in `envelope`, every rule of this module applied; raise `UserActInvalid`.

    `own`: the agency reads what it keeps itself, so a key that its key set names for another time will do.
    """
    about = f"act of `{member.agency}` about a user"
    keys = member.key_set.statement_keys_at(now)
    if own:
        keys = tuple(valid.key for valid in member.key_set.statement_keys)
    try:
        act = open_envelope(envelope, users_pb2.UserAct, keys).message
    except EnvelopeInvalid as error:
        raise UserActInvalid(f"{about}: no statement key of the agency signed it: {error}") from error
    _check(about, act.nonce, act.agency, act.user, agency=member.agency)
    if act.kind not in (users_pb2.USER_ACT_KIND_TERMINATION, users_pb2.USER_ACT_KIND_READMISSION):
        raise UserActInvalid(f"{about}: its kind is none that is known")
    terminates = act.kind == users_pb2.USER_ACT_KIND_TERMINATION
    try:
        given_at = to_instant(act, "given_at")
        recertified_at = to_instant(act, "recertified_at") if act.HasField("recertified_at") else None
    except ValueError as error:
        raise UserActInvalid(f"{about}: {error}") from error
    if given_at > now + CLOCK_SKEW:
        raise UserActInvalid(f"{about}: it is dated in the future")
    if recertified_at is not None and (terminates or recertified_at > given_at):
        raise UserActInvalid(f"{about}: a recertification goes with a readmission, and lies before it")
    return UserAct(
        agency=act.agency,
        user=act.user,
        terminates=terminates,
        given_at=given_at,
        recertified_at=recertified_at,
        digest=digest(envelope.payload),
        envelope=envelope,
    )


def verify_suspension(
    envelope: Envelope, *, member: MemberView, agency: str, now: datetime
) -> SuspensionNotice:
    """Return the notice that provider `member` gives to `agency`; raise `UserActInvalid`."""
    about = f"notice of `{member.agency}` about a user"
    try:
        keys = member.key_set.statement_keys_at(now)
        notice = open_envelope(envelope, users_pb2.SuspensionNotice, keys).message
    except EnvelopeInvalid as error:
        raise UserActInvalid(f"{about}: no statement key of the provider signed it: {error}") from error
    _check(about, notice.nonce, notice.agency, notice.user, agency=agency)
    if notice.provider != member.agency:
        raise UserActInvalid(f"{about}: it names another provider")
    returns = _RETURNS.get(notice.returns)
    exchange_ids = tuple(notice.exchange_ids)
    if returns is None or len(exchange_ids) > MOST_EXCHANGES:
        raise UserActInvalid(f"{about}: how access returns is not known, or it names too many exchanges")
    if any(len(each) != EXCHANGE_ID_BYTES for each in exchange_ids):
        raise UserActInvalid(f"{about}: an exchange's id has not {EXCHANGE_ID_BYTES} bytes")
    try:
        suspended_at = to_instant(notice, "suspended_at")
        ends_at = to_instant(notice, "ends_at") if notice.HasField("ends_at") else None
    except ValueError as error:
        raise UserActInvalid(f"{about}: {error}") from error
    return SuspensionNotice(
        provider=notice.provider,
        agency=notice.agency,
        user=notice.user,
        suspended_at=suspended_at,
        ends_at=ends_at,
        returns=returns,
        refusals=notice.refusals,
        window_seconds=notice.window_seconds,
        exchange_ids=exchange_ids,
        digest=digest(envelope.payload),
        envelope=envelope,
    )


_RETURNS: Final = {
    value: name.removeprefix("ACCESS_RETURNS_").lower()
    for name, value in users_pb2.AccessReturns.items()
    if value
}


def _check(about: str, nonce: bytes, named: str, user: str, *, agency: str) -> None:
    """Raise `UserActInvalid` unless a statement is about somebody of this agency."""
    if len(nonce) != NONCE_BYTES:
        raise UserActInvalid(f"{about}: nonce has {len(nonce)} bytes, expected {NONCE_BYTES}")
    if named != agency:
        raise UserActInvalid(f"{about}: it names a user of another agency")
    try:
        words.line(user, "user")
    except ValueError as error:
        raise UserActInvalid(f"{about}: the user is not one printable line") from error
