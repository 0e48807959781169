"""A part of a provider's log in place of the whole: the records that it gave an agency of its own users.

What isn't in it was not asked for, so an exchange is held to it only if it must be there: of that agency, in
the period, and begun long enough before its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from comity.audit.entry import to_milliseconds
from comity.audit.errors import AuditError, RecordsInvalid
from comity.audit.reconciling.facts import Fact, Fault, Progress, Row, Scratch
from comity.audit.retrieval.checking import period_of
from comity.audit.retrieval.folder import begin_check, is_records, read_records, read_statement
from comity.audit.trust import Trust
from comity.certs.instants import to_instant
from comity.v1.records_pb2 import RecordsStatement

MARGIN: Final = timedelta(minutes=3)
"""From an order to its deadline, and then some: what began later may not have been over."""
STRETCH: Final = 4_096
_ENDS_IT: Final = frozenset({"answered", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a folder of records must hold: exchanges of one agency that began in a period (ms since 1970)."""

    requester: str
    since: int
    until: int

    @classmethod
    def of(cls, folder: Path) -> "Part | None":
        """Return the part that a folder of records is; None if it holds none, or a statement that is none."""
        if not is_records(folder):
            return None
        try:
            statement = RecordsStatement.FromString(read_statement(folder).payload)
            wanted, made_at = period_of(statement), to_instant(statement, "made_at")
        except (RecordsInvalid, ValueError):
            return None
        return cls(
            requester=wanted.requester,
            since=to_milliseconds(wanted.start),
            until=to_milliseconds(min(wanted.end, made_at) - MARGIN),
        )

    def holds(self, requester: str, facts: Sequence[Fact], others: Sequence[Fact]) -> bool:
        """Return whether an exchange must be here whole; `facts` are here, `others` are elsewhere."""
        if requester != self.requester:
            return False
        kinds = {fact.kind for fact in facts}
        if kinds & {"received", "rejected"} and kinds & _ENDS_IT:
            return True
        began = [fact.at for fact in others if fact.kind in ("asked", "routed")]
        return bool(began) and self.since <= min(began) and max(began) <= self.until


def gather_records(folder: Path, trust: Trust, scratch: Scratch) -> None:
    """Read a folder of records into its scratch file; what is wrong with it becomes a fault."""
    scratch.forget()
    faults: list[Fault] = []
    facts: list[Row] = []
    identity, size, last_at = "", 0, 0

    def keep(following: int) -> None:
        progress = Progress(size=size, next=following, last_at=last_at, identity=identity)
        scratch.add(facts=facts, links=(), seen=(), faults=faults, progress=progress)
        facts.clear()
        faults.clear()

    try:
        check = begin_check(folder, trust)
        claimed = check.checkpoint
        identity, size = f"{claimed.origin} {claimed.size} {claimed.root.hex()} records", claimed.size
        for record in read_records(folder):
            entry = check.take(record).entry
            at = to_milliseconds(entry.at)
            last_at = max(last_at, at)
            if entry.exchange is not None:
                facts.append((entry.exchange, record.index, at, record.entry))
            if len(facts) == STRETCH:
                keep(record.index + 1)
        check.finish()
    except AuditError as problem:
        faults.append(Fault(place=0, exchange=None, what="unreadable", text=f"records: {problem}"))
    keep(size + 1)
    scratch.sort()
