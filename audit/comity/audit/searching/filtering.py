"""Which records are wanted (L3): user, plate, case, agency, reason, outcome and time, in any combination."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from comity.audit.searching.records import CANCELLED, PENDING, REJECTED, TURNED_DOWN, Record
from comity.v1.common_pb2 import OutcomeKind

HIT, NO_HIT = "hit", "no_hit"
RESPONDED = "responded"
OUTCOMES = (
    *(HIT, NO_HIT),
    *(name.removeprefix("OUTCOME_KIND_").lower() for name, number in OutcomeKind.items() if number),
    *(TURNED_DOWN, REJECTED, PENDING),
)
"""What one can ask for as an outcome: `hit` and `no_hit` are `responded` with reads and without."""
assert CANCELLED in OUTCOMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a record must be to be wanted; what is None or empty asks for nothing. Its repr shows no value."""

    user: str | None = field(default=None, repr=False)
    on_behalf_of: str | None = field(default=None, repr=False)
    plate_folded: str | None = field(default=None, repr=False)
    """As `comity.policy.plates.fold` writes it."""
    state: str | None = None
    """Of the plate."""
    case: str | None = field(default=None, repr=False)
    reason: str | None = None
    """The code, in upper case."""
    requester: str | None = None
    provider: str | None = None
    outcomes: frozenset[str] = frozenset()
    """Any of `OUTCOMES`."""
    exchange: str = ""
    """As much of its id in hex as one knows."""
    start: datetime | None = None
    end: datetime | None = None
    """Half-open: `end` is not inside."""

    def judge(self, record: Record) -> bool | None:
        """Return whether a record is wanted; None if that can't be told: a field is closed or false."""
        if not self._is_in_clear(record):
            return False
        verdict: bool | None = True
        for name, wanted in self._private():
            value = record.opened.get(name)
            if name == "plate_folded" and (searched := self._among_readings(record)) is not False:
                verdict = None if searched is None else verdict
            elif value is not None:
                if value.casefold() != wanted.casefold():
                    return False
            elif name in record.closed or name in record.false:
                verdict = None
            else:
                return False  # the record has no such field: a query that was rejected names no user
        asked = self._hits(record)
        return False if asked is False else None if asked is None else verdict

    def _among_readings(self, record: Record) -> bool | None:
        """Return whether the plate was searched as another reading of the one asked for (Q10); None: unknown.

        Nothing is unknown of a record whose plate is the wanted one.
        """
        if record.opened.get("plate_folded") == self.plate_folded:
            return False
        if "readings" in record.closed or "readings" in record.false:
            return None
        return self.plate_folded in record.opened.get("readings", "").split()

    def told(self) -> Mapping[str, str]:
        """Return what is asked for, in words: for the export, and for the log, as a private field."""
        told = {
            "user": self.user,
            "on behalf of": self.on_behalf_of,
            "plate": self.plate_folded,
            "state": self.state,
            "case": self.case,
            "reason": self.reason,
            "requester": self.requester,
            "provider": self.provider,
            "outcome": ", ".join(sorted(self.outcomes)),
            "exchange": self.exchange,
            "from": self.start.isoformat() if self.start else None,
            "to": self.end.isoformat() if self.end else None,
        }
        return {name: value for name, value in told.items() if value}

    def _is_in_clear(self, record: Record) -> bool:
        """Return whether all that stands in the log in clear is as wanted."""
        return (
            (self.requester is None or record.requester == self.requester)
            and (self.provider is None or record.provider == self.provider)
            and (self.start is None or record.at >= self.start)
            and (self.end is None or record.at < self.end)
            and (record.exchange.hex() if record.exchange else "").startswith(self.exchange)
            and (not self.outcomes or record.outcome in self._kinds())
        )

    def _kinds(self) -> frozenset[str]:
        hits = self.outcomes & {HIT, NO_HIT}
        return (self.outcomes - hits) | ({RESPONDED} if hits else frozenset())

    def _private(self) -> Iterator[tuple[str, str]]:
        named = {
            "user": self.user,
            "on_behalf_of": self.on_behalf_of,
            "plate_folded": self.plate_folded,
            "state": self.state,
            "case": self.case,
            "reason": self.reason,
        }
        for name, wanted in named.items():
            if wanted is not None:
                yield name, wanted

    def _hits(self, record: Record) -> bool | None:
        """Judge a wish for hits or for none, where the outcome's kind alone doesn't settle it."""
        if record.outcome != RESPONDED or not self.outcomes or RESPONDED in self.outcomes:
            return True
        if {HIT, NO_HIT} <= self.outcomes:
            return True
        if not record.is_hit_known:
            return None
        return record.is_hit == (HIT in self.outcomes)
