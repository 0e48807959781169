"""Signing an agency's own list of revocations, where its identity key is at hand.

::

    HOME/revocations.json               the newest that was signed here
    PUBLIC/revocations-AGENCY.json      the same, for the agency's ends, which bring it to the broker
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs.agency import AgencyHome
from comity.certs.delivered import DELIVERED_FOLDER
from comity.certs.envelope import from_json, open_envelope, seal, to_json
from comity.certs.errors import CertsError, SetupRefused
from comity.certs.files import read_public, write_public
from comity.certs.holdings import newest
from comity.certs.instants import from_instant, to_instant
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.own_lists import OWN_LIST_FILE, OwnList, open_own_list
from comity.certs.pin import AuthorityPin
from comity.certs.revocations import REVOCATIONS_FILE, thing
from comity.certs.roster import AUTHORITY_FILE
from comity.certs.versions import next_version
from comity.v1.federation_pb2 import Revocation, RevocationList

OWN_LIST_DAYS: Final = 30
"""Days until an agency's own list needs a newer one, unless told otherwise."""
MAX_OWN_LIST_DAYS: Final = 398

_ROLES: Final = ("gateway", "adapter")


def own_member(home: AgencyHome, now: datetime) -> tuple[str, MemberView]:
    """Return the federation's name and the agency's entry in the newest roster at hand, past its time or not.

    Raises `SetupRefused` if it isn't a member, `RosterInvalid`, `FileUnusable`.
    """
    pin = AuthorityPin.load(home.home / AUTHORITY_FILE)
    folders = [home.public, *(folder for folder in _delivered(home) if folder.is_dir())]
    federation, _ = newest(folders, pin, now=now)
    member = federation.members.get(home.agency)
    if member is None:
        raise SetupRefused(f"roster version {federation.version} has no member `{home.agency}`")
    return federation.name, member


def revoke_own(
    home: AgencyHome,
    revocations: Sequence[Revocation],
    now: datetime,
    *,
    lifetime: timedelta,
    identity: SigningKey,
) -> OwnList:
    """Sign and publish the agency's list with `revocations` beside those of before; return it.

    What is revoked already is not revoked anew: the earlier instant stays. The newest list at hand is carried
    on: of the agency's folder, the published folder or its ends; nothing is dated before that was signed,
    though the clock went back a little. Raises `SetupRefused`, also if `identity` is none that the roster
    names, or an entry is dated before; `RosterInvalid` for what the agency can't revoke; `FileUnusable`.
    """
    federation, member = own_member(home, now)
    if identity.public != member.identity_key:
        raise SetupRefused(
            f"the identity key at hand is not the one that the roster names for `{home.agency}`"
        )
    if not timedelta(0) < lifetime <= timedelta(days=MAX_OWN_LIST_DAYS):
        raise SetupRefused(
            f"list of revocations: lifetime, expected above 0, at most {MAX_OWN_LIST_DAYS} days"
        )
    listed = _newest_own(home, member, federation)
    known = {thing(entry) for entry in listed.revocations}
    signed_at = max(now, to_instant(listed, "signed_at")) if listed.version else now
    for entry in (entry for entry in revocations if thing(entry) not in known):
        at = to_instant(entry, "revoked_at")
        if listed.version and at < to_instant(listed, "signed_at"):
            if at < now:
                raise SetupRefused(
                    f"an entry is dated before version {listed.version} was signed; only the authority dates "
                    "back"
                )
            at = signed_at
        added = listed.revocations.add()
        added.CopyFrom(entry)
        added.revoked_at.CopyFrom(from_instant(at))
    listed.version = next_version(
        listed.version,
        f"list of revocations of `{home.agency}`",
        instead="who signed it has the identity key; the governing authority revokes what is to be revoked: "
        f"comity certs revoke --dir FEDERATION --agency {home.agency}",
    )
    listed.signed_at.CopyFrom(from_instant(signed_at))
    listed.next_update.CopyFrom(from_instant(now + lifetime))
    data = to_json(seal(listed, identity))
    made = open_own_list(data, members={home.agency: member}, federation=federation, now=now)
    write_public(home.home / REVOCATIONS_FILE, data)
    write_public(own_list_path(home), data)
    return made


def own_list_path(home: AgencyHome) -> Path:
    """Return where the agency's ends look for its list."""
    return Path(os.path.normpath(home.public)) / OWN_LIST_FILE.format(home.agency)


def _newest_own(home: AgencyHome, member: MemberView, federation: str) -> RevocationList:
    """Return the newest of the agency's own lists at hand; else an empty one.

    The one in the agency's folder is taken as it is: an earlier identity key may have signed it.
    """
    best = RevocationList(federation=federation, issuer=home.agency)
    keys = [time.key for time in member.identities.times]
    name, kept = OWN_LIST_FILE.format(home.agency), home.home / REVOCATIONS_FILE
    for path in (kept, *(folder / name for folder in (home.public, *_delivered(home)))):
        try:
            envelope = from_json(read_public(path))
            if path == kept:
                found = RevocationList.FromString(envelope.payload)
            else:
                found = open_envelope(envelope, RevocationList, keys).message
        except (CertsError, DecodeError) as error:
            if path == kept and path.exists():
                raise SetupRefused(f"file `{path}` is no list of revocations: {error}") from error
            continue
        if (found.issuer, found.federation) == (home.agency, federation) and found.version > best.version:
            best = found
    return best


def _delivered(home: AgencyHome) -> list[Path]:
    return [home.home / role / DELIVERED_FOLDER for role in _ROLES]
