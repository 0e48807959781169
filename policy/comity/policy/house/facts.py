"""What house rules judge: plain facts of a question or of a plate on a hot list, of who acts, and with whom.

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


LIST_ACTS: Final = ("ENTER", "KEEP", "RENEW")
"""What house rules judge of a hot list; to remove a plate, none holds anybody back."""

_TRACKING: Final = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9./_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOf:
    """A provider that would be asked, or that holds a hot list."""

    agency: str
    kind: str
    """One of `KINDS`, from the roster."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind `{self.kind}` is none of {', '.join(sorted(KINDS))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseAct:
    """What one of the agency's own people is about to do, with whom it concerns: what every act has.

    Raises:
        ValueError: a word that the contract does not know, an instant without zone, or nobody concerned.
    """

    agency: str
    """The requester, whose house it is."""
    agency_kind: str = "federal"
    """One of `KINDS`; with `agency_state` it tells whose statutes hold."""
    agency_state: str = ""
    """ISO 3166-2 after the dash; empty: none or federal."""
    providers: tuple[AskedOf, ...]
    """Those that would be asked, or hold the hot list; at least one."""
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
    """One of `REASONS` (Q3, H1)."""
    plate_state: str
    plate_country: str
    now: datetime

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"reason `{self.reason}` is none of {', '.join(sorted(REASONS))}")
        self.check_instants("now", "trained_at")
        if not self.providers:
            raise ValueError("nobody would be asked")

    def check_instants(self, *names: str) -> None:
        """Raise `ValueError` for an instant without zone among these fields."""
        for name in names:
            value: datetime | None = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{name} has no time zone; instants are aware, in UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseQuestion(HouseAct):
    """One question of one of the agency's own people. `period_start` is inside the period, `period_end` not.

    Raises:
        ValueError: as `HouseAct`, or a period that ends before it starts.
    """

    on_behalf_of: bool = False
    """Asked for another person."""
    on_behalf_named: bool = False
    """That person is named (Q3), as far as `names_a_person` can tell."""
    has_area: bool = False
    period_start: datetime
    period_end: datetime
    limitation_years: int = 0
    """Statute of limitations as stated (Q5); 0: not stated."""
    readings: int = 1
    """Readings of the plate that are asked for, the plate as entered among them (Q10)."""
    reason_vague: bool = False
    """The free text that gives the reason tells too little (`comity.policy.reasons`)."""
    offence: str = ""
    """Class of the offence as stated; empty: not stated."""
    border_nexus: bool = False
    """What ties the query to the border is stated (Q7)."""

    def __post_init__(self) -> None:
        HouseAct.__post_init__(self)
        self.check_instants("period_start", "period_end")
        if self.period_end <= self.period_start:
            raise ValueError("period ends before it starts")
        if self.limitation_years < 0 or self.readings < 1:
            raise ValueError("limitation_years is negative, or readings is less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseListing(HouseAct):
    """One plate that one of the agency's own people enters on a hot list, keeps there, or renews (H1, H3).

    Raises:
        ValueError: as `HouseAct`, an act that there isn't, or a validity that ends before it begins.
    """

    act: str
    """One of `LIST_ACTS`."""
    case_named: bool = False
    """A case number is beside it (GUI K.1)."""
    case_current: bool | None = None
    """Whether that case is a current investigation; `None`: nobody says."""
    tracking_number: bool = False
    """A tracking number of the agency's own is beside it (H2)."""
    tracking_is_number: bool = True
    """It is made as a number is, as far as `is_tracking_number` can tell; so is none at all."""
    free_text: bool = False
    """A free text stands beside the plate (H2)."""
    other_columns: bool = False
    """Something stands beside it that no hot list needs: it may identify a person (GUI K.2)."""
    documented: bool = False
    """It is written down in the agency's own log, or is by this act (GUI K.3)."""
    need_affirmed: bool = False
    """The user affirms that the need goes on (H3)."""
    valid_from: datetime
    """When the validity begins that this act gives, or that it has: its entry or its last renewal."""
    valid_until: datetime
    """When that validity ends."""
    expires_at: datetime
    """When the entry expires as it stands, before a renewal; else `valid_until`."""
    reviewed_at: datetime
    """When the need was last looked at: entry, review or renewal (GUI K.4)."""
    batch: int = 1
    """Plates of the batch that it is one of (H1)."""

    def __post_init__(self) -> None:
        HouseAct.__post_init__(self)
        self.check_instants("valid_from", "valid_until", "expires_at", "reviewed_at")
        if self.act not in LIST_ACTS:
            raise ValueError(f"act `{self.act}` is none of {', '.join(LIST_ACTS)}")
        if self.valid_until <= self.valid_from:
            raise ValueError("the validity ends before it begins")
        if self.batch < 1:
            raise ValueError("a batch has one plate at least")


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


def is_tracking_number(text: str) -> bool:
    """Tell whether a text is made as a tracking number is: `26-00417/3`, not `blue van of J. Doe`.

    Letters, digits and `.`, `/`, `_`, `-` without blanks, 64 at most, a digit among them. So it is no free
    text under another name; whether a person is behind it, a machine can't tell.
    """
    return _TRACKING.fullmatch(text) is not None
