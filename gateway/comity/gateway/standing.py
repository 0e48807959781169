"""What a gateway stands on: who is a member, and with whom there is an agreement.

Read at the start, and again whenever it changes, from the folders that the configuration names.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from comity.certs.agreements import AgreementBook
from comity.certs.delivered import DELIVERED_FOLDER
from comity.certs.errors import FileUnusable
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation, MemberView
from comity.certs.watching import FileWatch
from comity.gateway.config import GatewayConfig
from comity.gateway.errors import NotAMember, RosterOutOfDate

LOGGER = logging.getLogger("comity.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Roster and agreements, read together. Replaced as a whole, never in part."""

    federation: Federation
    agreements: AgreementBook

    def own(self, agency: str) -> MemberView:
        """Return this gateway's own agency; raise `NotAMember` if the roster has it no more."""
        member = self.federation.members.get(agency)
        if member is None:
            raise NotAMember("the roster does not list this agency as a member")
        return member

    def require_asking(self, agency: str, *, now: datetime) -> None:
        """Raise unless a question may leave the house now.

        `RosterOutOfDate` for a roster past its time, `NotAMember` if it doesn't let this agency ask.
        """
        if now >= self.federation.trusted_until:
            raise RosterOutOfDate(
                "the roster has expired, so nothing was asked: the governing authority signs a new one with "
                "`comity federation refresh`"
            )
        own = self.own(agency)
        if own.lapsed:
            raise NotAMember(f"nothing was asked: {own.lapsed}; `comity certs revoke` signs a newer one")
        if own.suspended or not own.asks:
            raise NotAMember("the roster does not let this agency ask, so nothing was asked")


def load_standing(config: GatewayConfig, published: PublishedRoster, old: Standing | None = None) -> Standing:
    """Return what is published now; raise `CertsError` unless the roster verifies and isn't an older one.

    Agreements that don't verify do nothing, and are told. `old` is what was in force: where the folder of
    agreements can't be read, its own stay as far as they hold under the roster. Without it `FileUnusable`.
    """
    federation = published.load()
    try:
        book = AgreementBook.load(config.agreements, federation, own=config.agency)
    except FileUnusable as error:
        if old is None:
            raise
        LOGGER.error("the agreements that were known stay: %s", error)
        return Standing(federation=federation, agreements=old.agreements.under(federation))
    for rejected in book.rejected:
        LOGGER.warning("agreement `%s` does nothing: %s", rejected.path.name, rejected.reason)
    for warning in book.waiting():
        LOGGER.warning("%s", warning)
    return Standing(federation=federation, agreements=book)


def watched(config: GatewayConfig) -> FileWatch:
    """Return the watch on everything that may change while the gateway runs."""
    return FileWatch(
        (config.public, "*.json"),
        (config.home / DELIVERED_FOLDER, "*.json"),
        (config.agreements, "*.json"),
    )
