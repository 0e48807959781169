"""What the broker trusts now: the authority's roster, and the ceilings that providers lodged.

Replaced as a whole when a newer roster or lodgement is published; what cannot be verified is not
taken, the old stays in force until its own time is over, and the log of the process says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comity.broker.orders import Ceiling
from comity.certs.keys import VerifyKey
from comity.certs.lodgements import LodgementBook
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation

logger = logging.getLogger("comity.broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustState:
    """A verified roster with the lodgements that verify under it."""

    federation: Federation
    lodgements: LodgementBook


def load_trust(*, published: PublishedRoster, lodgements: Path) -> TrustState:
    """Read and verify roster and lodgements, on a thread.

    A lodgement that doesn't verify does nothing, and is told to the operator. Raises CertsError.
    """
    federation = published.load()
    book = LodgementBook.load(lodgements, federation)
    for rejected in book.rejected:
        logger.warning("lodgement `%s` does nothing: %s", rejected.path.name, rejected.reason)
    return TrustState(federation=federation, lodgements=book)


class Trust:
    """The trust in force."""

    def __init__(self, state: TrustState) -> None:
        self._state = state

    @property
    def federation(self) -> Federation:
        """The roster in force."""
        return self._state.federation

    def replace(self, state: TrustState) -> None:
        """Take a newer roster or newer lodgements into force."""
        self._state = state

    def is_current(self, now: datetime) -> bool:
        """Whether roster and timestamp are within their time: a list past its date is not trusted."""
        return now < self.federation.trusted_until

    def may_sign(self, key: VerifyKey) -> bool:
        """Whether anybody believes what the broker signs with a key of its own: it isn't revoked."""
        return not self.federation.operator.revokes(key)

    def statement_keys(self, agency: str, now: datetime) -> tuple[VerifyKey, ...]:
        """Return the keys with which an agency may sign statements now; none for a stranger."""
        member = self.federation.members.get(agency)
        if member is None or member.is_out:
            return ()
        return member.key_set.statement_keys_at(now)

    def ceiling(self, *, provider: str, requester: str, now: datetime) -> Ceiling | None:
        """Return the ceiling that `provider` lodged for `requester`, if it is in force now.

        None also if the roster does not let the one provide or the other ask, or is past its time.
        """
        if not self.is_current(now):
            return None
        provides = self.federation.members.get(provider)
        asks = self.federation.members.get(requester)
        if provides is None or asks is None or provides.is_out or asks.is_out:
            return None
        if not provides.provides or not asks.asks:
            return None
        return self._state.lodgements.ceiling(provider, requester, now)
