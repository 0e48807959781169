"""What an agency revokes of its own: its signed list beside the authority's, for its own things alone.

No timestamp of the authority names such a list: an agency whose key was stolen at night waits for nobody.
It is believed for what harms nobody but who signed it. Rules, in this order, and the first that fails raises:

1. it is at most 256 KiB, and names a member as its issuer; the operator, without whom nobody is served, and
   the authority have none of this kind;
2. an identity key signed it that counts for that member now, by the roster; for evidence, that counted when
   it was signed. Or it is, byte for byte, the list of this member that was verified here before: its identity
   key may be another one since;
3. it is this federation's, has a version, isn't from the future, and ends after it begins;
4. each entry names that very agency, and a certificate, a key or a user: never another's, never all of it,
   and none of its identity keys, or a thief of the old one could stop it for good;
5. its version isn't lower than one that was seen, nor its content another one of the same version; one that
   follows another was signed no earlier, keeps what stood there, no later than it stood there, and adds
   nothing that is dated before that one was signed: an agency can't take its word back by a list.

A list past its next update is not trusted to be the newest: what it revokes stays revoked, and its agency is
`lapsed` (`MemberView`): it neither asks nor answers until a newer one is there. Nobody else is touched.
The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs.envelope import digest, from_json, open_envelope
from comity.certs.errors import CertsError, EnvelopeInvalid, RosterInvalid
from comity.certs.files import is_there, read_up_to
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.members import MemberView
from comity.certs.revocations import Revoked, RevokedOf, key_digest, revoked_by_agency
from comity.v1.federation_pb2 import RevocationList

OWN_LIST_FILE: Final = "revocations-{}.json"
"""An agency's own list, in the published folder and where an end keeps what was brought to it."""
MAX_OWN_LIST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnList:
    """An agency's own list that passed rules 1 to 4."""

    agency: str
    version: int
    digest: bytes = field(repr=False)
    """SHA-256 of its payload."""
    signed_at: datetime
    next_update: datetime
    revoked: RevokedOf = field(repr=False)
    data: bytes = field(repr=False, compare=False)
    """The document, to hand on."""

    def lapsed(self, now: datetime) -> str:
        """Return why it is not trusted to be the newest at `now`; empty: it is."""
        if now < self.next_update:
            return ""
        return f"the next update of its own list of revocations was due at {self.next_update:%F %T}Z"

    def check_follows(self, older: OwnList) -> None:
        """Raise `RosterInvalid` unless this list may take the place of an `older` one (rule 5)."""
        if self.version <= older.version:
            if (self.version, self.digest) != (older.version, older.digest):
                raise RosterInvalid(
                    f"list of revocations of `{self.agency}`, version {self.version}: version "
                    f"{older.version} was in force here before"
                )
            return
        if self.signed_at < older.signed_at:
            raise RosterInvalid(
                f"list of revocations of `{self.agency}`, version {self.version}: it says that it was signed "
                f"before version {older.version}"
            )
        now, before = _things(self.revoked), _things(older.revoked)
        if any(thing not in now or now[thing].at > revoked.at for thing, revoked in before.items()):
            raise RosterInvalid(
                f"list of revocations of `{self.agency}`, version {self.version}: something that version "
                f"{older.version} revoked is not revoked there, or later; nothing is taken off a list"
            )
        if any(
            revoked.at < min(older.signed_at, before[thing].at if thing in before else older.signed_at)
            for thing, revoked in now.items()
        ):
            raise RosterInvalid(
                f"list of revocations of `{self.agency}`, version {self.version}: an entry is dated before "
                f"version {older.version} was signed, which didn't have it; only the authority dates back"
            )


def open_own_list(
    data: bytes,
    *,
    members: Mapping[str, MemberView],
    federation: str,
    now: datetime | None,
    verified: Mapping[str, bytes] | None = None,
) -> OwnList:
    """Return the list in `data`, DSSE's JSON form, rules 1 to 4 applied; without `now` it may be to come.

    `verified` are the digests of lists that were verified before, by agency. Raises `RosterInvalid`. A list
    past its next update is returned like any other: what becomes of its agency is for `Federation`.
    """
    if len(data) > MAX_OWN_LIST_BYTES:
        raise RosterInvalid(f"list of revocations: more than {MAX_OWN_LIST_BYTES} bytes")
    try:
        envelope = from_json(data)
        issuer = RevocationList.FromString(envelope.payload).issuer
    except (EnvelopeInvalid, DecodeError) as error:
        raise RosterInvalid("list of revocations: it is no envelope of one") from error
    member = members.get(issuer)
    if member is None:
        raise RosterInvalid(
            f"list of revocations of `{ascii(issuer)[1:-1][:60]}`: expected that of a member, which neither "
            "the operator nor the authority is"
        )
    what = f"list of revocations of `{issuer}`"
    if (verified or {}).get(issuer) == digest(envelope.payload):
        found = RevocationList.FromString(envelope.payload)
    else:
        try:
            # For evidence the key of then; else one that counts now, whenever it says to have signed.
            at = now or to_instant(RevocationList.FromString(envelope.payload), "signed_at")
            found = open_envelope(envelope, RevocationList, member.identities.at(at)).message
        except (EnvelopeInvalid, ValueError) as error:
            raise RosterInvalid(f"{what} isn't signed by its identity key: {error}") from error
    try:
        signed_at, next_update = to_instant(found, "signed_at"), to_instant(found, "next_update")
        if found.federation != federation or not found.version or next_update <= signed_at:
            raise ValueError("it is not this federation's, or has no version, or ends before it begins")
        if any(
            entry.agency != issuer or entry.WhichOneof("what") == "everything" for entry in found.revocations
        ):
            raise ValueError("it names what isn't its own certificate, key or user; that is the authority's")
        revoked = revoked_by_agency(found.revocations).get(issuer, RevokedOf())
        if any(key_digest(time.key.der) in revoked.public_keys for time in member.identities.times):
            raise ValueError("it names an identity key; that is the authority's")
    except ValueError as error:
        raise RosterInvalid(f"{what}: {error}") from error
    if now is not None and signed_at > now + CLOCK_SKEW:
        raise RosterInvalid(
            f"{what} was signed at {signed_at:%F %T}Z, which is still to come: check the clock"
        )
    return OwnList(
        agency=issuer,
        version=found.version,
        digest=digest(envelope.payload),
        signed_at=signed_at,
        next_update=next_update,
        revoked=revoked,
        data=data,
    )


def own_lists_in(
    folder: Path,
    *,
    members: Mapping[str, MemberView],
    federation: str,
    now: datetime | None,
    verified: Mapping[str, bytes] | None = None,
) -> tuple[dict[str, OwnList], dict[str, str]]:
    """Return members' own lists that lie in a folder, by agency, and why others there count for nothing."""
    found, faults = dict[str, OwnList](), dict[str, str]()
    for agency in members:
        path = folder / OWN_LIST_FILE.format(agency)
        try:
            if not is_there(path):
                continue
            data = read_up_to(path, MAX_OWN_LIST_BYTES)
            one = open_own_list(data, members=members, federation=federation, now=now, verified=verified)
            if one.agency != agency:
                raise RosterInvalid(f"list of revocations of `{one.agency}`: expected that of `{agency}`")
            found[agency] = one
        except CertsError as error:
            faults[agency] = f"`{path.name}`: {error}"
    return found, faults


def lists_digest(lists: Iterable[OwnList]) -> bytes:
    """Return the digest by which two sets of lists are compared, as `Hello` has it; empty of none."""
    lines = sorted(f"{one.agency}:{one.version}:{one.digest.hex()}\n" for one in lists)
    return hashlib.sha256("".join(lines).encode()).digest() if lines else b""


def _things(revoked: RevokedOf) -> dict[tuple[str, bytes], Revoked]:
    """Return what is revoked, whatever kind it is of."""
    kinds = (("serial", revoked.serials), ("key", revoked.public_keys), ("user", revoked.users))
    return {(kind, thing): since for kind, listed in kinds for thing, since in listed.items()}
