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
the newer of the two counts, so the folder may be away until the timestamp ends.

The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.authority_keys import FollowedAuthority, follow
from comity.certs.clock import Clock
from comity.certs.delivered import DELIVERED_FOLDER, Documents
from comity.certs.errors import CertsError, FileUnusable, RosterInvalid
from comity.certs.files import write_private
from comity.certs.roster import AUTHORITY_FILE, AuthorityPin, Federation

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

    @classmethod
    def load(cls, path: Path) -> SeenRoster:
        """Return what stands at `path`, version 0 if nothing does; raise `RosterInvalid`, `FileUnusable`."""
        try:
            found: object = json.loads(path.read_bytes())
            if not isinstance(found, dict) or found.keys() - {"revocations"} != {"version", "digest"}:
                raise ValueError("expected an object with version, digest and revocations")
            version, digest = found["version"], bytes.fromhex(str(found["digest"]))
            revocations = found.get("revocations", 0)
            if type(version) is not int or version < 1 or len(digest) != 32:
                raise ValueError("expected a version from 1 and a digest of 32 bytes")
            if type(revocations) is not int or revocations < 0:
                raise ValueError("expected the version of a list of revocations from 0")
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise FileUnusable(f"file `{path}` can't be read: {(error.strerror or '').lower()}") from error
        except (ValueError, RecursionError) as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error
        return cls(version=version, digest=digest, revocations=revocations)

    def save(self, path: Path) -> None:
        """Put it at `path`, durably and whole; raise `FileUnusable`."""
        seen: dict[str, str | int] = {"version": self.version, "digest": self.digest.hex()}
        if self.revocations:
            seen["revocations"] = self.revocations
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
        self._seen_path = home / SEEN_FILE
        self._seen = SeenRoster.load(self._seen_path)
        self._clock = clock
        self._published_pin: bytes | None = None
        self._in_force: Federation | None = None
        self._said = ""

    def load(self) -> Federation:
        """Return the roster that is published now, verified, and remembered durably before it counts.

        Raises `RosterExpired`; `RosterInvalid`, also for an older roster than one that was seen; and
        `FileUnusable`, also if it can't be remembered.
        """
        try:
            found = self._newest()
        except CertsError:  # perhaps between the writing of roster and timestamp
            time.sleep(SETTLE_SECONDS)
            found = self._newest()
        federation, pin, documents = found
        if pin != self._followed.pin:
            followed = FollowedAuthority(pinned=self.pin.digest, pin=pin)
            followed.save(self._home)
            self._followed = followed
            _log.warning("the authority's keys gave way to others, by its signed change; they are in force")
        seen = SeenRoster(
            version=federation.version,
            digest=federation.digest,
            revocations=federation.revocations.version,
        )
        if seen != self._seen:
            seen.save(self._seen_path)
            self._seen = seen
        self._in_force, self.documents = federation, documents.to_bytes()
        return federation

    def take(self, data: bytes) -> bool:
        """Keep what the broker brought, a `RosterDocuments`, if it verifies; `load` gives it then.

        Return whether it is newer than what is in force. Raises what `load` raises of it.
        """
        documents = Documents.parse(data)
        federation, _ = self._verified(documents)
        if self._in_force is not None and _age(federation) <= _age(self._in_force):
            return False
        documents.write(self.delivered)
        return True

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


def _age(federation: Federation) -> tuple[int, int, datetime]:
    """Return by what one roster is newer than another: version, list of revocations, timestamp."""
    return federation.version, federation.revocations.version, federation.timestamp_expires_at
