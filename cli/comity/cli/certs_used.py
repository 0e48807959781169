"""When a credential was last used, as far as one's own log tells.

A log entry of a link or session says that the own leaf, and the peer's with the CA above it, were accepted
then; an order, a receipt or an account that was logged says that its signer's statement key was used; the
newest checkpoint, that the log key was. Only the newest entries are read: what isn't among them was not used
lately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, read_entry
from comity.audit.errors import AuditError
from comity.audit.tiles import TileFolder
from comity.certs.inventory import Credential, Kind

MOST_ENTRIES: Final = 20_000
"""How many of the newest entries of a log are read."""

_LINKED: Final = frozenset({"link_opened", "session_opened"})
_SIGNED_HERE: Final = frozenset({"asked", "released", "accounted"})
_ANSWERED: Final = frozenset({"responded", "refused"})

_Key = tuple[str, Kind]


@dataclass(slots=True)
class _Uses:
    """The newest use of each kind of credential: one's own by the end's folder, a peer's by its agency."""

    found: dict[_Key, datetime] = field(default_factory=dict)

    def add(self, whose: str, kind: Kind, at: datetime) -> None:
        """Remember a use, if it is newer than what is known."""
        known = self.found.get((whose, kind))
        if known is None or known < at:
            self.found[whose, kind] = at

    def note(self, entry: LoggedEntry, home: str) -> None:
        """Remember what one entry of the log in `home` tells."""
        peer = entry.public.get("peer")
        peer = peer if isinstance(peer, str) else ""
        if entry.kind in _LINKED:
            self.add(home, Kind.LEAF, entry.at)
            self.add(peer, Kind.CA, entry.at)
        elif entry.kind in _SIGNED_HERE:
            self.add(home, Kind.STATEMENT, entry.at)
        if entry.kind == "received" or (
            entry.kind == "delivered" and entry.public.get("outcome") in _ANSWERED
        ):
            self.add(peer, Kind.STATEMENT, entry.at)
        requester = entry.public.get("agency")
        if entry.kind == "routed" and isinstance(requester, str):
            self.add(requester, Kind.STATEMENT, entry.at)


def with_uses(credentials: Iterable[Credential], ends: Iterable[Path]) -> tuple[Credential, ...]:
    """Return `credentials` with what the logs of `ends` tell of their uses."""
    credentials = tuple(credentials)
    uses = _Uses()
    for home in ends:
        _read(home, uses)
    counted = Counter((one.owner, one.kind) for one in credentials)
    return tuple(replace(one, last_used=_last_use(one, uses, counted)) for one in credentials)


def _last_use(one: Credential, uses: _Uses, counted: Mapping[_Key, int]) -> datetime | None:
    """Return the last use of a credential. A log doesn't tell which of several of a peer's was used."""
    if one.kind is Kind.LOG:
        return uses.found.get((one.name, one.kind))
    if one.own and one.where is not None and one.where.parent.name == "keys":
        return uses.found.get((str(one.where.parent.parent), one.kind))
    return uses.found.get((one.owner, one.kind)) if counted[one.owner, one.kind] == 1 else None


def _read(home: Path, uses: _Uses) -> None:
    """Add what the log in `home` tells; one that isn't there or can't be read tells nothing."""
    log = home / "log"
    try:
        path = log / "checkpoint"
        newest = peek_checkpoint(path.read_bytes())
        uses.add(newest.origin, Kind.LOG, datetime.fromtimestamp(int(path.stat().st_mtime), UTC))
        start = max(0, newest.size - MOST_ENTRIES)
        for _, leaf in TileFolder(log).all_entries(newest.size, start):
            uses.note(read_entry(leaf), str(home))
    except (AuditError, OSError):
        return
