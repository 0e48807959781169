"""Logons: the first use of each one is an entry of its own, before its first query leaves (Q4).

A logon is what the assertion says of it: who, when the rules of behaviour were accepted, which text. It is
remembered for as long as it can be used, in memory alone: after a restart a logon that goes on is logged
again, and so it is by queries that are asked while its first one is still being written. That harms nobody:
user and time of acceptance tell which entries are of one logon.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

from comity.audit.entry import Entry, to_milliseconds
from comity.certs.claims import Claims
from comity.gateway.subjects import LOGON_VALID

MOST_LOGONS: Final = 50_000
"""Logons that are remembered; beyond them the oldest is forgotten, and would be logged again."""

Logon = tuple[str, datetime, bytes]
"""User, when the rules were accepted, and the digest of their text."""


class Logons:
    """Which logons are in the log. Plain calls on the event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[Logon, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many logons are remembered."""
        return len(self._known)

    def entries(self, agency: str, claims: Claims, now: datetime) -> list[Entry]:
        """Return the entry that must be written before what this logon is used for; nothing once it was."""
        return [] if _logon(claims) in self._known else [logged_on(agency, claims, now)]

    def logged(self, claims: Claims, now: datetime) -> None:
        """Its entry is durable: from now on it is not written again."""
        self._known[_logon(claims)] = None
        while len(self._known) > MOST_LOGONS or now - next(iter(self._known))[1] > LOGON_VALID:
            self._known.popitem(last=False)
            if not self._known:
                return


def logged_on(agency: str, claims: Claims, at: datetime) -> Entry:
    """Return the entry of a logon: in clear its time and the text that was accepted, and nothing of whom."""
    reviewed = claims.account_reviewed_at
    return Entry(
        kind="logged_on",
        at=at,
        public={
            "agency": agency,
            "accepted": to_milliseconds(claims.rules_accepted_at),
            "rules": claims.rules_digest.hex(),
            "protections": claims.protections_attested,
        },
        private={
            "user": claims.user,
            "office": claims.office,
            "duty_station": claims.duty_station,
            "roles": ",".join(sorted(claims.roles)),
            "trained": claims.trained_at.isoformat(),
            "reviewed": "" if reviewed is None else reviewed.isoformat(),
        },
    )


def _logon(claims: Claims) -> Logon:
    return claims.user, claims.rules_accepted_at, claims.rules_digest
