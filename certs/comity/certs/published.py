"""The roster as one end takes it from the published folder: under its own pin, and never an older one.

Whoever can replace the published folder could replace the authority's keys with it, or bring back the
roster from before a member was suspended. So an end keeps two things outside of that folder:

- the **pin**, which its configuration names (`authority`): the `authority.json` that lies in the
  published folder is for people who fetch it; an end never trusts it, and says so when it differs. Where the
  authority's keys gave way to others, the end follows the signed changes from its pin, and remembers how far
  (`authority-seen.json`);
- what it has **seen**, `roster-seen.json` in its home: version and digest of the newest roster that
  verified here. A lower version is refused, and so is another roster of the same version, also after a
  restart. Who has to go back all the same (the authority lost its newest roster) removes that file.

What the broker brings over the link (`delivered`) is a second source beside the folder, under the same rules;
the newer of the two counts, so the folder may be away until the timestamp ends. Agencies' own lists of
revocations (`own_lists`) come by both ways too, each for itself; the newest of each is kept.

The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.authority_keys import FollowedAuthority, follow
from comity.certs.clock import Clock
from comity.certs.delivered import DELIVERED_FOLDER, Documents
from comity.certs.errors import CertsError, FileUnusable, RosterInvalid
from comity.certs.files import write_private, write_public
from comity.certs.own_lists import OWN_LIST_FILE, OwnList, open_own_list, own_lists_in
from comity.certs.roster import AUTHORITY_FILE, MAX_MEMBERS, AuthorityPin, Federation

__all__ = ["SEEN_FILE", "PublishedRoster", "SeenRoster"]

SEEN_FILE: Final = "roster-seen.json"
"""What an end has seen, in its home."""

SETTLE_SECONDS: Final = 0.2
"""How long a pair of documents that don't belong together is given: between two writes they never do."""

_log = logging.getLogger("comity.certs")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRoster:
    """The newest roster that an end has verified; version 0 before the first one."""

    version: int = 0
    digest: bytes = field(default=b"", repr=False)
    """SHA-256 of its payload."""
    revocations: int = 0
    """The version of the newest list of revocations; 0 before the first one."""
    own_lists: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)
    """Version, and SHA-256 of the payload, of the newest own list of each agency that has one."""

    @classmethod
    def load(cls, path: Path) -> SeenRoster:
        """Return what stands at `path`, version 0 if nothing does; raise `RosterInvalid`, `FileUnusable`."""
        try:
            found: object = json.loads(path.read_bytes())
            optional = {"revocations", "own_lists"}
            if not isinstance(found, dict) or found.keys() - optional != {"version", "digest"}:
                raise ValueError("expected an object with version, digest, revocations and own_lists")
            version, digest = found["version"], bytes.fromhex(str(found["digest"]))
            revocations = found.get("revocations", 0)
            if type(version) is not int or version < 1 or len(digest) != 32:
                raise ValueError("expected a version from 1 and a digest of 32 bytes")
            if type(revocations) is not int or revocations < 0:
                raise ValueError("expected the version of a list of revocations from 0")
            own_lists = _seen_lists(found.get("own_lists", {}))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise FileUnusable(f"file `{path}` can't be read: {(error.strerror or '').lower()}") from error
        except (ValueError, RecursionError) as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error
        return cls(version=version, digest=digest, revocations=revocations, own_lists=own_lists)

    def save(self, path: Path) -> None:
        """Put it at `path`, durably and whole; raise `FileUnusable`."""
        seen: dict[str, object] = {"version": self.version, "digest": self.digest.hex()}
        if self.revocations:
            seen["revocations"] = self.revocations
        if self.own_lists:
            listed = self.own_lists.items()
            seen["own_lists"] = {agency: [version, digest.hex()] for agency, (version, digest) in listed}
        write_private(path, json.dumps(seen).encode())


class PublishedRoster:
    """One end's way to the roster. Reads files and waits for disks: call it on a thread."""

    def __init__(self, *, public: Path, authority: Path, home: Path, clock: Clock) -> None:
        """Take the pin at `authority` and what `home` has seen; raise `RosterInvalid`, `FileUnusable`.

        Both are read once: what changes in these files counts from the next start.
        """
        self.public = public
        self.pin = AuthorityPin.load(authority)
        self._authority, self._home = authority, home
        self._followed = FollowedAuthority.load(home, self.pin)
        self.delivered = home / DELIVERED_FOLDER
        """What the broker brought: as good a source as the published folder, if it verifies."""
        self.documents = b""
        """What is in force, as `RosterDocuments` to hand on; empty before it was loaded."""
        self.left_out: tuple[str, ...] = ()
        """The agencies whose own lists of revocations are in force here, and are not in `documents`."""
        self._seen_path = home / SEEN_FILE
        self._seen = SeenRoster.load(self._seen_path)
        self._clock = clock
        self._published_pin: bytes | None = None
        self._in_force: Federation | None = None
        self._look_again = False
        self._said = ""
        self._said_lists: Mapping[str, str] = {}
        self._lapsed: Mapping[str, str] = {}

    def load(self) -> Federation:
        """Return the roster that is published now, verified, and remembered durably before it counts.

        Raises `RosterExpired`; `RosterInvalid`, also for an older roster than one that was seen; and
        `FileUnusable`, also if it can't be remembered.
        """
        broken: CertsError | None = None
        self._look_again = False
        try:
            found = self._newest()
        except CertsError:  # perhaps between the writing of roster and timestamp
            time.sleep(SETTLE_SECONDS)
            try:
                found = self._newest()
            except CertsError as error:
                if self._in_force is None:
                    raise
                found, broken = (self._in_force, self._followed.pin, Documents.parse(self.documents)), error
        known, (federation, pin, documents) = self._in_force, found
        federation = self._with_own_lists(federation)
        if broken is not None:
            # But what an agency revoked counts all the same, and whose own list is past its time is out.
            if federation == known:
                raise broken
            self._look_again = True
        if pin != self._followed.pin:
            followed = FollowedAuthority(pinned=self.pin.digest, pin=pin)
            followed.save(self._home)
            self._followed = followed
            _log.warning("the authority's keys gave way to others, by its signed change; they are in force")
        seen = SeenRoster(
            version=federation.version,
            digest=federation.digest,
            revocations=federation.revocations.version,
            own_lists={
                **self._seen.own_lists,
                **{agency: (one.version, one.digest) for agency, one in federation.own_lists.items()},
            },
        )
        if seen != self._seen:
            seen.save(self._seen_path)
            self._seen = seen
        documents = replace(documents, own_lists=tuple(one.data for one in federation.own_lists.values()))
        self._in_force, self.documents = federation, documents.to_bytes()
        left_out = documents.left_out
        self.left_out = tuple(
            agency for agency, one in sorted(federation.own_lists.items()) if one.data in left_out
        )
        return federation

    def is_due(self) -> bool:
        """Whether `load` should be called although no file changed.

        An agency's own list is past its time, or no roster could be read when such a list came into force.
        """
        at = None if self._in_force is None else self._in_force.lapses_at
        return self._look_again or (at is not None and self._clock() >= at)

    def take(self, data: bytes) -> bool:
        """Keep what the broker brought, a `RosterDocuments`, if it verifies; `load` gives it then.

        Return whether it is newer than what is in force. Raises what `load` raises of it.
        """
        documents = Documents.parse(data)
        federation, _ = self._verified(documents)
        known = self._in_force
        newer = known is None or _age(federation) > _age(known)
        if newer:
            documents.write(self.delivered)
        under = federation if newer or known is None else known
        faults, took = list[CertsError](), 0
        for listed in documents.own_lists[:MAX_MEMBERS]:
            try:
                took += self._keep(self._opened(listed, under))
            except CertsError as error:  # one agency's bad list keeps no other's away
                faults.append(error)
        if faults and not newer and not took:
            raise faults[0]
        return newer or bool(took)

    def take_own_list(self, agency: str, data: bytes) -> bool:
        """Keep the own list of revocations that an end of `agency` brought, if it verifies; as `take`."""
        if self._in_force is None:
            return False
        listed = self._opened(data, self._in_force)
        if listed.agency != agency:
            raise RosterInvalid(f"list of revocations of `{listed.agency}`: an end of `{agency}` brought it")
        return self._keep(listed)

    def _opened(self, data: bytes, federation: Federation) -> OwnList:
        """Return an agency's own list, verified; raise `RosterInvalid`."""
        return open_own_list(
            data,
            members=federation.members,
            federation=federation.name,
            now=self._clock(),
            verified=self._verified_lists(),
        )

    def _verified_lists(self) -> Mapping[str, bytes]:
        """Return the digests of the agencies' own lists that were verified here before."""
        return {agency: digest for agency, (_, digest) in self._seen.own_lists.items()}

    def _keep(self, listed: OwnList) -> bool:
        """Put an agency's own list beside what was brought, if it is newer than the one in force."""
        known = None if self._in_force is None else self._in_force.own_lists.get(listed.agency)
        if known is not None:
            if listed.version < known.version:  # who brings it is behind
                return False
            listed.check_follows(known)
        self._check_seen(listed)
        if known is not None and known.version == listed.version:
            return False
        write_public(self.delivered / OWN_LIST_FILE.format(listed.agency), listed.data)
        return True

    def _check_seen(self, listed: OwnList) -> None:
        """Raise `RosterInvalid` for an older list than one that was seen, or another one of its version."""
        version, digest = self._seen.own_lists.get(listed.agency, (0, b""))
        if listed.version < version or (listed.version == version and listed.digest != digest):
            raise RosterInvalid(
                f"list of revocations of `{listed.agency}`, version {listed.version}: version {version} was "
                f"in force here before (`{self._seen_path}`)"
            )

    def _with_own_lists(self, federation: Federation) -> Federation:
        """Return the federation under the newest own list of each agency that may follow what was seen.

        From the published folder, from what was brought, and what is in force: it stays, whatever files go.
        What counts is kept beside what was brought.
        """
        now, lists = self._clock(), dict[str, OwnList]()
        in_force = {} if self._in_force is None else self._in_force.own_lists
        found, said, refused = [dict(in_force)], dict[str, str](), dict[str, tuple[int, str]]()
        for folder in (self.delivered, self.public):
            listed, faults = own_lists_in(
                folder,
                members=federation.members,
                federation=federation.name,
                now=now,
                verified=self._verified_lists(),
            )
            found.append(listed)
            said.update(faults)
        kept = found[1]
        for agency in federation.members:
            for one in sorted((each[agency] for each in found if agency in each), key=lambda o: o.version):
                try:
                    self._check_seen(one)
                    if agency in lists:
                        if one == lists[agency]:  # what was verified first stays, with its signature
                            continue
                        one.check_follows(lists[agency])
                    lists[agency] = one
                except RosterInvalid as error:
                    refused[agency] = (one.version, str(error))
            if agency in refused and (agency not in lists or refused[agency][0] >= lists[agency].version):
                said[agency] = refused[agency][1]  # else a source is behind, no more
            if agency in lists and (agency not in kept or kept[agency].version < lists[agency].version):
                write_public(self.delivered / OWN_LIST_FILE.format(agency), lists[agency].data)
        for agency in sorted(said):
            if self._said_lists.get(agency) != said[agency]:
                _log.error("an agency's list of revocations is not taken, the old stays: %s", said[agency])
        self._said_lists = said
        missing = {
            agency: version
            for agency, (version, _) in self._seen.own_lists.items()
            if agency in federation.members and agency not in lists
        }
        result = federation.with_own_lists(lists, now=now, missing=missing)
        lapsed = {agency: member.lapsed for agency, member in result.members.items() if member.lapsed}
        for agency in sorted(lapsed.keys() | self._lapsed.keys()):
            if agency not in lapsed:
                _log.warning("`%s` asks and answers again: a newer list of its own is in force", agency)
            elif agency not in self._lapsed:
                _log.error("`%s` HAS LAPSED, it asks and answers nothing: %s", agency, lapsed[agency])
        self._lapsed = lapsed
        return result

    def _newest(self) -> tuple[Federation, AuthorityPin, Documents]:
        """Return the newest roster that verifies, from the published folder or from what was brought."""
        found, fault = list[tuple[Federation, AuthorityPin, Documents]](), None
        try:
            documents = Documents.read(self.public)
            self._look_at_published_pin(follow(self._followed.pin, documents.changes))
            found.append((*self._verified(documents), documents))
        except CertsError as error:
            fault = error
        with suppress(CertsError):  # what was brought was judged when it came; it is being written, or is old
            documents = Documents.read(self.delivered)
            found.append((*self._verified(documents), documents))
        if fault is not None and not found:
            raise fault
        said = "" if fault is None else str(fault)
        if said and said != self._said:
            _log.error("the published roster is not taken, the one that the broker brought is: %s", fault)
        self._said = said
        return max(found, key=lambda each: _age(each[0]))

    def _verified(self, documents: Documents) -> tuple[Federation, AuthorityPin]:
        """Return the roster if it verifies and isn't older than, or another than, the one that was seen.

        And the authority's keys under which it does.
        """
        pin = follow(self._followed.pin, documents.changes)
        federation = Federation.verify(
            roster=documents.roster,
            timestamp=documents.timestamp,
            pin=pin,
            now=self._clock(),
            revocations=documents.revocations,
        )
        seen = self._seen
        if federation.revocations.version < seen.revocations:
            raise RosterInvalid(
                f"list of revocations, version {federation.revocations.version}, is older than version "
                f"{seen.revocations}, which was in force here before (`{self._seen_path}`)"
            )
        if federation.version < seen.version:
            raise RosterInvalid(
                f"roster version {federation.version} is older than version {seen.version}, which was in "
                f"force here before (`{self._seen_path}`)"
            )
        if federation.version == seen.version and federation.digest != seen.digest:
            raise RosterInvalid(
                f"roster version {federation.version} is another one than the version {seen.version} that "
                f"was in force here before (`{self._seen_path}`)"
            )
        return federation, pin

    def _look_at_published_pin(self, pin: AuthorityPin) -> None:
        """Say it if the published folder comes with other keys than `pin`. They are not used."""
        path = self.public / AUTHORITY_FILE
        try:
            published = path.read_bytes()
            if published == self._published_pin:
                return
            self._published_pin = published
            differs = AuthorityPin.from_json(published) not in (pin, self.pin)
        except FileNotFoundError:
            return
        except (OSError, RosterInvalid):
            differs = True
        if differs:
            _log.error("`%s` names other keys than the pin `%s`: it is not trusted", path, self._authority)


def _seen_lists(found: object) -> Mapping[str, tuple[int, bytes]]:
    """Return what a file says of agencies' own lists; raise `ValueError`."""
    if not isinstance(found, dict):
        raise ValueError("expected the own lists by agency")
    lists = dict[str, tuple[int, bytes]]()
    for agency, one in found.items():
        version, digest = one if isinstance(one, list) and len(one) == 2 else (0, "")
        if type(version) is not int or version < 1 or len(bytes.fromhex(str(digest))) != 32:
            raise ValueError("expected of an own list a version from 1 and a digest of 32 bytes")
        lists[agency] = (version, bytes.fromhex(str(digest)))
    return lists


def _age(federation: Federation) -> tuple[int, int, datetime]:
    """Return by what one roster is newer than another: version, list of revocations, timestamp."""
    return federation.version, federation.revocations.version, federation.timestamp_expires_at
