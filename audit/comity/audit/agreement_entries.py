"""What an end writes to its log when agreements, or notices that end them, come into force (A2)."""

from collections.abc import Iterable
from datetime import datetime

from comity.audit.entry import Entry
from comity.certs.agreements import AgreementView


def agreement_entries(
    agency: str, at: datetime, *, before: Iterable[AgreementView], now: Iterable[AgreementView]
) -> list[Entry]:
    """Return an entry for each agreement of this agency, and each notice, that it did not have before."""
    old = list(before)
    known = {agreement.digest for agreement in old}
    noticed = {notice.digest for agreement in old for notice in agreement.notices}
    entries = []
    for agreement in now:
        if agency not in agreement.parties:
            continue
        told = {"agency": agency, "agreement": agreement.digest.hex(), "id": agreement.agreement_id}
        if agreement.digest not in known:
            entries.append(Entry(kind="agreement_activated", at=at, public=told))
        for notice in agreement.notices:
            if notice.digest not in noticed:
                ends = {
                    "by": notice.agency,
                    "ends": notice.ends_at.isoformat(),
                    "notice": notice.digest.hex(),
                }
                entries.append(Entry(kind="agreement_noticed", at=at, public={**told, **ends}))
    return entries
