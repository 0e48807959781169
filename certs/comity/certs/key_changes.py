"""Changing one's own key set: what an agency or the operator does to replace a key of one of its ends.

The way is the same for every key: take the key set that is published, change it, count its version up, sign
it with the identity key, and apply to the governing authority with it (`comity federation admit`). What is
published is what counts, so a change is always made from that, however often one begins anew.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.at_hand import federation_at_hand, places
from comity.certs.authority import OPERATOR, application
from comity.certs.envelope import digest, from_json, seal, to_json
from comity.certs.errors import CertsError, RosterInvalid, SetupRefused, SuccessionInvalid
from comity.certs.files import read_public, write_public
from comity.certs.instants import from_instant, to_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.roster import ROSTER_FILE, AuthorityPin, Federation, LogKeyView, MemberView
from comity.certs.successions import Succession, read_chain
from comity.certs.versions import next_version
from comity.certs.x509 import BACKDATE
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import EarlierLogKey, KeySet, KeyValidity, Member, Roster

_ROLES = ("gateway", "adapter", "broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFolder:
    """One end's folder, as the commands of whoever runs it use it."""

    home: Path
    role: str
    """`gateway`, `adapter` or `broker`."""
    agency: str
    """The agency id, or the operator's."""
    authority: Path
    """The pinned keys of the governing authority."""
    public: Path
    """The federation's public folder."""

    @classmethod
    def load(cls, home: Path) -> EndFolder:
        """Open an end's folder by its configuration; raise `SetupRefused` if it isn't one, `FileUnusable`."""
        found = [role for role in _ROLES if (home / f"{role}.toml").is_file()]
        if len(found) != 1:
            raise SetupRefused(
                f"`{home}` is not an end's folder: one of gateway.toml, adapter.toml and broker.toml is right"
            )
        path = home / f"{found[0]}.toml"
        try:
            settings = tomllib.loads(read_public(path).decode())
            agency = OPERATOR if found[0] == "broker" else words.agency_id(str(settings.get("agency")))
            authority, public = (
                home / words.line(str(settings.get(name, "")), name) for name in ("authority", "public")
            )
        except ValueError as error:
            raise SetupRefused(f"file `{path}`: {error}") from error
        return cls(home=home, role=found[0], agency=agency, authority=authority, public=public)

    @property
    def keys(self) -> Path:
        """The folder of the end's keys."""
        return self.home / "keys"

    def federation(self, now: datetime) -> Federation:
        """Return the newest roster at hand, published or brought to this end, against the end's own pin.

        Raises `RosterInvalid`, `FileUnusable`.
        """
        return federation_at_hand(self.rosters, pin=AuthorityPin.load(self.authority), now=now)

    @property
    def rosters(self) -> tuple[Path, ...]:
        """Where a roster may lie."""
        return places(self.public, [self.home])

    def member(self, federation: Federation) -> MemberView:
        """Return who runs this end; raise `UnknownMember`."""
        return federation.operator if self.agency == OPERATOR else federation.member(self.agency)

    def log_key(self, federation: Federation) -> LogKeyView:
        """Return what the roster says of this end's log; raise `UnknownMember`, `UnknownLog`."""
        return self.member(federation).key_set.log_key(self.role)


def apply_for(
    end: EndFolder,
    federation: Federation,
    change: Callable[[KeySet], None],
    *,
    identity: SigningKey,
    now: datetime,
) -> Path:
    """Sign the published key set, changed by `change`, and return the application with it, now on disk.

    It lies beside the identity key as `application.json`, the key set as `keyset.json`. Raises `SetupRefused`
    unless the identity key is the one that the roster names, `RosterInvalid`, `FileUnusable`.
    """
    view = end.member(federation)
    if identity.public != view.identity_key:
        raise SetupRefused(
            f"the identity key at hand is not the one that the roster names for `{view.agency}`; if it was "
            "replaced, finish that first: comity certs rotate identity"
        )
    return _apply(end, _published(end, federation), change, identity=identity, now=now)


def apply_with_successor(
    end: EndFolder, federation: Federation, succession: Succession, *, new: SigningKey, now: datetime
) -> Path:
    """Return the application with which `new` takes the place of the identity key, now on disk.

    The published key set is signed anew, as it is, and lies beside it as for `apply_for`. Raises
    `SuccessionInvalid` unless the succession begins with the key that the roster names and leads to `new`;
    `RosterInvalid`, `FileUnusable`.
    """
    member = _published(end, federation)
    member.successions.append(succession.serialized)
    member.identity_key = new.public.der
    read_chain(member.successions, agency=member.agency, identity_key=new.public)
    if succession.old != end.member(federation).identity_key:
        raise SuccessionInvalid("succession replaces another key than the one that the roster names")
    return _apply(end, member, lambda keys: None, identity=new, now=now)


def _apply(
    end: EndFolder,
    member: Member,
    change: Callable[[KeySet], None],
    *,
    identity: SigningKey,
    now: datetime,
) -> Path:
    """Write the application of `member`, its key set changed, and return its path."""
    envelope = Envelope.FromString(member.key_set)
    keys = KeySet.FromString(envelope.payload)
    change(keys)
    keys.version = next_version(
        keys.version,
        f"key set of `{member.agency}`",
        instead="who signed it has the identity key: set the agency up anew (comity agency init)",
    )
    keys.signed_at.CopyFrom(from_instant(now))
    signed = seal(keys, identity)
    member.key_set = signed.SerializeToString()
    member.suspended = False
    applied = application(member, identity)
    folder = end.home.parent
    write_public(folder / "keyset.json", to_json(signed))
    write_public(folder / "application.json", applied)
    return folder / "application.json"


def announce_log_key(origin: str, next_verifier_key: str) -> Callable[[KeySet], None]:
    """Return the change that names the key which is to follow in a log."""

    def change(keys: KeySet) -> None:
        for log_key in keys.log_keys:
            if log_key.origin == origin:
                log_key.next_verifier_key = next_verifier_key

    return change


def finish_log_key(origin: str, *, last_size: int) -> Callable[[KeySet], None]:
    """Return the change with which the key that follows is the log's only one.

    `last_size` is the index of the `key_rotated` entry: the old key signed checkpoints up to it alone.
    """

    def change(keys: KeySet) -> None:
        for log_key in keys.log_keys:
            if log_key.origin == origin:
                earlier = EarlierLogKey(verifier_key=log_key.verifier_key, last_size=last_size)
                log_key.earlier.append(earlier)
                log_key.verifier_key = log_key.next_verifier_key
                log_key.ClearField("next_verifier_key")

    return change


def set_identity_provider_keys(issuer: str, jwks: bytes) -> Callable[[KeySet], None]:
    """Return the change that puts `jwks` in the place of an identity provider's keys.

    The change raises `SetupRefused` if the key set doesn't name this issuer.
    """

    def change(keys: KeySet) -> None:
        for provider in keys.identity_providers:
            if provider.issuer == issuer:
                provider.jwks = jwks
                return
        raise SetupRefused(f"the roster names no identity provider `{issuer}` of this agency")

    return change


def add_statement_key(
    new: VerifyKey, old: VerifyKey, *, now: datetime, overlap: timedelta, lifetime: timedelta
) -> Callable[[KeySet], None]:
    """Return the change with which `new` may sign from now on, and `old` for an `overlap` only.

    `old` stays named with its time, or what it signed could not be verified any more.
    """

    def change(keys: KeySet) -> None:
        for entry in keys.statement_keys:
            if entry.public_key == new.der:
                return
            if entry.public_key == old.der:
                ends = min(to_instant(entry, "not_after"), now + overlap)
                entry.not_after.CopyFrom(from_instant(ends))
        keys.statement_keys.append(
            KeyValidity(
                public_key=new.der,
                not_before=from_instant(now - BACKDATE),
                not_after=from_instant(now + lifetime),
            )
        )

    return change


def add_ca(new: bytes) -> Callable[[KeySet], None]:
    """Return the change with which another CA (DER) may issue leaves, too."""

    def change(keys: KeySet) -> None:
        if new not in keys.ca_certificates:
            keys.ca_certificates.append(new)

    return change


def keep_ca_alone(kept: bytes) -> Callable[[KeySet], None]:
    """Return the change with which one CA (DER) alone may issue leaves: those of the others are refused."""

    def change(keys: KeySet) -> None:
        del keys.ca_certificates[:]
        keys.ca_certificates.append(kept)

    return change


def published_cas(end: EndFolder, federation: Federation) -> tuple[bytes, ...]:
    """Return the CAs (DER) that one's own published key set names, those that are revoked among them.

    Raises `RosterInvalid`, `FileUnusable`.
    """
    envelope = Envelope.FromString(_published(end, federation).key_set)
    return tuple(KeySet.FromString(envelope.payload).ca_certificates)


def _published(end: EndFolder, federation: Federation) -> Member:
    """Return one's own entry in the roster that was verified as `federation`, to be changed."""
    payload = b""
    for folder in end.rosters:
        with contextlib.suppress(CertsError):
            payload = from_json(read_public(folder / ROSTER_FILE)).payload
        if digest(payload) == federation.digest:
            break
    else:
        raise RosterInvalid("another roster was published meanwhile: try again")
    try:
        roster = Roster.FromString(payload)
    except DecodeError as error:
        raise RosterInvalid("roster is not one") from error
    if end.agency == OPERATOR:
        return roster.operator
    return next(member for member in roster.members if member.agency == end.agency)
