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

The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from comity.certs.authority_keys import FollowedAuthority, follow
from comity.certs.clock import Clock
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

    @classmethod
    def load(cls, path: Path) -> SeenRoster:
        """Return what stands at `path`, version 0 if nothing does; raise `RosterInvalid`, `FileUnusable`."""
        try:
            found: object = json.loads(path.read_bytes())
            if not isinstance(found, dict) or found.keys() != {"version", "digest"}:
                raise ValueError("expected an object with exactly version, digest")
            version, digest = found["version"], bytes.fromhex(str(found["digest"]))
            if type(version) is not int or version < 1 or len(digest) != 32:
                raise ValueError("expected a version from 1 and a digest of 32 bytes")
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise FileUnusable(f"file `{path}` can't be read: {(error.strerror or '').lower()}") from error
        except (ValueError, RecursionError) as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error
        return cls(version=version, digest=digest)

    def save(self, path: Path) -> None:
        """Put it at `path`, durably and whole; raise `FileUnusable`."""
        write_private(path, json.dumps({"version": self.version, "digest": self.digest.hex()}).encode())


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
        self._seen_path = home / SEEN_FILE
        self._seen = SeenRoster.load(self._seen_path)
        self._clock = clock
        self._published_pin: bytes | None = None

    def load(self) -> Federation:
        """Return the roster that is published now, verified, and remembered durably before it counts.

        Raises `RosterExpired`; `RosterInvalid`, also for an older roster than one that was seen; and
        `FileUnusable`, also if it can't be remembered.
        """
        pin = self._follow()
        try:
            federation = self._verified(pin)
        except CertsError:  # perhaps between the writing of roster and timestamp
            time.sleep(SETTLE_SECONDS)
            pin = self._follow()
            federation = self._verified(pin)
        if pin != self._followed.pin:
            followed = FollowedAuthority(pinned=self.pin.digest, pin=pin)
            followed.save(self._home)
            self._followed = followed
            _log.warning("the authority's keys gave way to others, by its signed change; they are in force")
        found = SeenRoster(version=federation.version, digest=federation.digest)
        if found != self._seen:
            found.save(self._seen_path)
            self._seen = found
        return federation

    def _verified(self, pin: AuthorityPin) -> Federation:
        """Return the roster if it verifies and isn't older than, or another than, the one that was seen."""
        federation = Federation.load(self.public, now=self._clock(), pin=pin)
        seen = self._seen
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
        return federation

    def _follow(self) -> AuthorityPin:
        """Return the authority's keys in force; say it if the published folder comes with other ones."""
        pin = follow(self._followed.pin, self.public)
        self._look_at_published_pin(pin)
        return pin

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
