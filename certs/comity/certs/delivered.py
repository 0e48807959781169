"""The roster as documents, whatever brought them: a published folder, or the broker over a link.

::

    home/roster/   roster.json timestamp.json authority-change-N.json        what the broker brought last
                   revocations-AGENCY.json                             the newest own list of each agency

What comes over a link is no more trusted than what lies in the published folder: it counts once it verifies
under the end's own pin, and is newer than what is in force. It is kept, so that an end whose published folder
can't be had starts with it. The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs.authority_keys import CHANGE_FILE, MAX_CHANGES, changes_in
from comity.certs.errors import RosterInvalid
from comity.certs.files import read_optional, read_public, write_public
from comity.certs.revocations import REVOCATIONS_FILE
from comity.v1.link_pb2 import RosterDocuments

DELIVERED_FOLDER: Final = "roster"
"""Where an end keeps what was brought to it, in its home."""
ROSTER_FILE: Final = "roster.json"
TIMESTAMP_FILE: Final = "timestamp.json"
MAX_OWN_LISTS_BYTES: Final = 3 * 1024 * 1024
"""What all agencies' own lists may measure that are handed on with a roster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Roster, timestamp, list of revocations and the authority's changes, as DSSE's JSON: not verified."""

    roster: bytes = field(repr=False)
    timestamp: bytes = field(repr=False)
    changes: tuple[bytes, ...] = field(default=(), repr=False)
    revocations: bytes | None = field(default=None, repr=False)
    own_lists: tuple[bytes, ...] = field(default=(), repr=False)
    """Agencies' own lists of revocations; `read` and `write` leave them to `PublishedRoster`."""

    @classmethod
    def read(cls, folder: Path) -> Documents:
        """Return what lies in a folder; raise `FileUnusable`."""
        return cls(
            roster=read_public(folder / ROSTER_FILE),
            timestamp=read_public(folder / TIMESTAMP_FILE),
            changes=tuple(changes_in(folder)),
            revocations=read_optional(folder / REVOCATIONS_FILE),
        )

    def write(self, folder: Path) -> None:
        """Put them into a folder, each file whole; raise `FileUnusable`."""
        for number, change in enumerate(self.changes, start=1):
            write_public(folder / CHANGE_FILE.format(number), change)
        if self.revocations is not None:
            write_public(folder / REVOCATIONS_FILE, self.revocations)
        write_public(folder / ROSTER_FILE, self.roster)
        write_public(folder / TIMESTAMP_FILE, self.timestamp)

    @classmethod
    def parse(cls, data: bytes) -> Documents:
        """Return the documents in a serialized `RosterDocuments`; raise `RosterInvalid` if it is none."""
        try:
            found = RosterDocuments.FromString(data)
        except DecodeError as error:
            raise RosterInvalid("what was brought is no `RosterDocuments`") from error
        if len(found.authority_changes) > MAX_CHANGES:
            raise RosterInvalid(f"what was brought has more than {MAX_CHANGES} authority changes")
        return cls(
            roster=found.roster,
            timestamp=found.timestamp,
            changes=tuple(found.authority_changes),
            revocations=found.revocations or None,
            own_lists=tuple(found.agency_revocations),
        )

    def to_bytes(self) -> bytes:
        """Return them as a serialized `RosterDocuments`.

        Where agencies' own lists are too many for one delivery the largest are left out: none can keep
        another's away, or the roster.
        """
        return RosterDocuments(
            roster=self.roster,
            timestamp=self.timestamp,
            authority_changes=self.changes,
            revocations=self.revocations or b"",
            agency_revocations=self._handed_on(),
        ).SerializeToString()

    @property
    def left_out(self) -> frozenset[bytes]:
        """The own lists that `to_bytes` leaves out."""
        return frozenset(self.own_lists) - frozenset(self._handed_on())

    def _handed_on(self) -> list[bytes]:
        own_lists, size = [], 0
        for data in sorted(self.own_lists, key=lambda one: (len(one), one)):
            size += len(data)
            if size <= MAX_OWN_LISTS_BYTES:
                own_lists.append(data)
        return own_lists
