"""Searches, hits and refusals counted from a log (L7), by anybody who holds it.

All is counted from what stands in the log in clear: who asked whom, when, the code of the reason
(`purpose`), the outcome, and whether an answer held reads (`hit`). Logs of before `hit` have only a
commitment to how many: there hits are counted where its opening is at hand, and how many of the answers that
covers is told beside. Memory holds the counts and what is in flight.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from comity.audit.key_history import KeyHistory
from comity.audit.searching.filtering import RESPONDED
from comity.audit.searching.records import TURNED_DOWN, Record, read_records
from comity.audit.searching.walk import Tell

_LOOKED_AT = frozenset({"reads", "reason"})
NOT_TOLD = "not told"
"""In place of what a log doesn't hold: a broker knows no reason, older logs have no `purpose` in clear."""
KEYS: Mapping[str, Callable[[Record], str]] = {
    "requester": lambda record: record.requester,
    "provider": lambda record: record.provider or "none",
    "reason": lambda record: record.purpose or record.opened.get("reason", "").lower() or NOT_TOLD,
    "outcome": lambda record: record.outcome,
    "month": lambda record: f"{record.at:%Y-%m}",
    "quarter": lambda record: f"{record.at.year}Q{(record.at.month + 2) // 3}",
    "day": lambda record: f"{record.at:%Y-%m-%d}",
}
"""By what can be counted."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of records that share a key."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By outcome: each question to each provider once, and what was turned down in the house."""
    hits: int = 0
    """Answers with reads, as far as is known."""
    hits_known_of: int = 0
    """Answers of which it is known whether they held reads."""

    @property
    def searches(self) -> int:
        """Questions that left the house, or that came: one for each provider."""
        return self.outcomes.total() - self.outcomes[TURNED_DOWN]

    def add(self, record: Record) -> None:
        """Count a record."""
        self.outcomes[record.outcome] += 1
        if record.outcome == RESPONDED and record.is_hit_known:
            self.hits_known_of += 1
            self.hits += record.is_hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts out of one log at one checkpoint."""

    origin: str
    note: bytes
    size: int
    by: tuple[str, ...]
    tallies: Mapping[tuple[str, ...], Tally]
    total: Tally
    false: tuple[tuple[int, str], ...]
    """Openings that don't open their commitment: entry and name; they count as not at hand."""


def count(
    log: Path,
    state: Path | None,
    *,
    by: Sequence[str],
    start: datetime | None = None,
    end: datetime | None = None,
    keys: KeyHistory | None = None,
    tell: Tell | None = None,
) -> Statistics:
    """Return the counts of a `log/` folder by any of `KEYS`, of questions asked from `start` to before `end`.

    `state` is the end's `state.db`, for the hits of logs that don't tell them in clear. Raises what
    `read_records` and its records raise.
    """
    tallies: dict[tuple[str, ...], Tally] = {}
    total = Tally()
    with read_records(log, state, keys=keys, only=_LOOKED_AT) as reader:
        for record in reader.records(tell):
            if (start is None or record.at >= start) and (end is None or record.at < end):
                total.add(record)
                tallies.setdefault(tuple(KEYS[name](record) for name in by), Tally()).add(record)
    return Statistics(
        origin=reader.walk.origin,
        note=reader.walk.note,
        size=reader.walk.size,
        by=tuple(by),
        tallies=dict(sorted(tallies.items())),
        total=total,
        false=tuple((index, name) for index, name, _ in reader.false),
    )
