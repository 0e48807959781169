"""What house rules judge: plain facts of a question, of the person who asks, and of whom would be asked.

Every value is frozen and valid once built; instants are aware, in UTC. There is no plate in it and no name:
a rule judges by facts, and what Cedar says of an error holds nothing of the question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from comity.policy.facts import KINDS, REASONS
from comity.policy.windows import Windows

_NAME: Final = re.compile(r"[^\W\d_]{2,}")
_NOBODY: Final = frozenset(
    [
        "agent",
        "analyst",
        "another",
        "any",
        "boss",
        "chief",
        "colleague",
        "detective",
        "duty",
        "employee",
        "office",
        "officer",
        "on",
        "other",
        "partner",
        "person",
        "requested",
        "requester",
        "self",
        "somebody",
        "someone",
        "special",
        "supervisor",
        "team",
        "the",
        "unit",
        "unknown",
        "user",
        "various",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOf:
    """A provider that would be asked."""

    agency: str
    kind: str
    """One of `KINDS`, from the roster."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind `{self.kind}` is none of {', '.join(sorted(KINDS))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseQuestion:
    """One question of one of the agency's own people. `period_start` is inside the period, `period_end` not.

    Raises:
        ValueError: a word that the contract does not know, an instant without zone, a period that ends before
            it starts, or nobody to ask.
    """

    agency: str
    """The requester, whose house it is."""
    agency_kind: str = "federal"
    """One of `KINDS`; with `agency_state` it tells whose statutes hold."""
    agency_state: str = ""
    """ISO 3166-2 after the dash; empty: none or federal."""
    providers: tuple[AskedOf, ...]
    """Those that would be asked; at least one."""
    office: str = ""
    duty_station: str = ""
    roles: frozenset[str] = frozenset()
    trained_at: datetime | None = None
    """Last training; `None`: never."""
    rules_accepted: bool = False
    """The rules of behaviour, at this logon (Q4)."""
    good_standing: bool = False
    protections_attested: bool = False
    """The special protections, at this logon (Q9)."""
    reason: str
    """One of `REASONS` (Q3)."""
    on_behalf_of: bool = False
    """Asked for another person."""
    on_behalf_named: bool = False
    """That person is named (Q3), as far as `names_a_person` can tell."""
    has_area: bool = False
    period_start: datetime
    period_end: datetime
    limitation_years: int = 0
    """Statute of limitations as stated (Q5); 0: not stated."""
    plate_state: str
    plate_country: str
    readings: int = 1
    """Readings of the plate that are asked for, the plate as entered among them (Q10)."""
    reason_vague: bool = False
    """The free text that gives the reason tells too little (`comity.policy.reasons`)."""
    offence: str = ""
    """Class of the offence as stated; empty: not stated."""
    border_nexus: bool = False
    """What ties the query to the border is stated (Q7)."""
    now: datetime

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason `{self.reason}` is none of {', '.join(sorted(REASONS))}")
        for name in ("period_start", "period_end", "now", "trained_at"):
            value: datetime | None = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{name} has no time zone; instants are aware, in UTC")
        if self.period_end <= self.period_start:
            raise ValueError("period ends before it starts")
        if self.limitation_years < 0 or self.readings < 1:
            raise ValueError("limitation_years is negative, or readings is less than 1")
        if not self.providers:
            raise ValueError("nobody would be asked")


def years_back(start: datetime, now: datetime, windows: Windows) -> int:
    """Return the least number of calendar years within which `start` lies, counted back from `now` (Q5).

    On the clocks of the bundle's zone. The same day and time of day five years before is within five years;
    an instant earlier is not.
    """
    years = max(0, now.year - start.year - 2)
    while windows.years_before(now, years) > start:
        years += 1
    return years


def names_a_person(text: str) -> bool:
    """Tell whether a text can be somebody's name or account: not 'n/a', 'my supervisor', 'agent 7'.

    It holds a word of two letters that is none of those that name nobody. Who the person is, the agency's own
    auditors find in its log.
    """
    return any(word.casefold() not in _NOBODY | {"my", "na", "none", "nn"} for word in _NAME.findall(text))
