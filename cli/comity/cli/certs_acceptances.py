"""Which agreements still wait for a new identity key to be accepted, among the certificates and keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from comity.certs.acceptances import Move
from comity.certs.agreements import AgreementBook
from comity.certs.errors import FileUnusable
from comity.certs.inventory import Condition, Credential, Kind
from comity.certs.roster import Federation


def with_acceptances(
    credentials: Iterable[Credential],
    agreements: Path | None,
    federation: Federation,
    *,
    agency: str,
    now: datetime,
) -> list[Credential]:
    """Return `credentials`, identity keys that somebody has yet to accept marked as due, or overdue.

    Another agency's is due where `agency` has an agreement with it that waits; its own, while the acceptance
    of a counterparty isn't here.
    """
    rows = list(credentials)
    if agreements is None:
        return rows
    try:
        book = AgreementBook.load(agreements, federation, own=agency)
    except FileUnusable:
        return rows
    waiting = defaultdict[str, list[tuple[str, Move]]](list)
    for agreement in book.agreements:
        for move in agreement.moves:
            if move.acceptance is None and now < agreement.ends_at:
                (other,) = [party for party in agreement.parties if party != move.succession.agency]
                waiting[move.succession.new.key_id].append((other, move))
    return [_marked(row, waiting[row.name], now) if row.kind is Kind.IDENTITY else row for row in rows]


def _marked(row: Credential, waiting: list[tuple[str, Move]], now: datetime) -> Credential:
    if not waiting or row.condition is not Condition.GOOD:
        return row
    until = min(move.old_until for _, move in waiting)
    others = ", ".join(sorted({other for other, _ in waiting}))
    by = f"by {until:%Y-%m-%d %H:%M} UTC"
    if waiting[0][1].is_open:
        act = f"compare and accept it {by}: comity agreement accept-identity {row.owner}"
    else:
        act = f"no acceptance of {others} is here; ask for it, {by}"
    condition = Condition.DUE if now < until else Condition.OVERDUE
    return replace(row, condition=condition, act=act, act_at=until)
