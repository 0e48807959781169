"""What an end writes to its log when agreements, notices or new identity keys come into force (A2)."""

from collections.abc import Iterable
from datetime import datetime

from comity.audit.entry import Entry
from comity.certs.agreements import AgreementView


def agreement_entries(
    agency: str, at: datetime, *, before: Iterable[AgreementView], now: Iterable[AgreementView]
) -> list[Entry]:
    """Return an entry for each agreement of this agency that it did not have before.

    And for each notice, and each acceptance of an identity key into an agreement.
    """
    old = list(before)
    known = {agreement.digest for agreement in old}
    noticed = {notice.digest for agreement in old for notice in agreement.notices}
    accepted = {
        (agreement.digest, move.acceptance.digest)
        for agreement in old
        for move in agreement.moves
        if move.acceptance is not None
    }
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
        for move in agreement.moves:
            if move.acceptance is None or (agreement.digest, move.acceptance.digest) in accepted:
                continue
            keys = {
                "of": move.succession.agency,
                "old": move.succession.old.key_id,
                "new": move.succession.new.key_id,
                "by": move.acceptance.agency,
                "accepted": move.acceptance.digest.hex(),
            }
            entries.append(Entry(kind="identity_accepted", at=at, public={**told, **keys}))
    return entries
