"""The newest roster at hand on a host: in the published folder, or as the broker brought it to an end there.

A copy of the published folder that somebody carried there once grows old while the ends go on with what the
broker brings. Whoever runs a command there must see what the ends see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from comity.certs.delivered import DELIVERED_FOLDER
from comity.certs.errors import CertsError
from comity.certs.own_lists import OwnList
from comity.certs.pin import AuthorityPin
from comity.certs.roster import Federation

__all__ = ["federation_at_hand", "places"]


def places(public: Path, ends: Iterable[Path]) -> tuple[Path, ...]:
    """Return where a roster may lie: in the published folder, and with each end to which one was brought."""
    return (public, *(home / DELIVERED_FOLDER for home in ends if (home / DELIVERED_FOLDER).is_dir()))


def federation_at_hand(folders: Sequence[Path], *, pin: AuthorityPin, now: datetime) -> Federation:
    """Return the newest federation of those in `folders`, each judged by every rule, under all lists there.

    Raises what `Federation.load` raises of the first folder, if none of them can be had.
    """
    found, faults = list[Federation](), list[CertsError]()
    for folder in folders:
        try:
            found.append(Federation.load(folder, now=now, pin=pin))
        except CertsError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    best = max(found, key=lambda one: (one.version, one.revocations.version, one.timestamp_expires_at))
    lists = dict[str, OwnList]()
    for federation in found:
        for agency, one in federation.own_lists.items():
            if agency in best.members and (agency not in lists or lists[agency].version < one.version):
                lists[agency] = one
    return best if lists == best.own_lists else best.with_own_lists(lists, now=now)
