"""What a decision is made of: plain facts that the provider's end has verified before.

Every value is frozen and valid once built; instants are aware, in UTC. The words for reasons, elements
and kinds are those of `comity.v1`, without their enum's prefix (`REASON_CODE_NARCOTICS` → `NARCOTICS`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comity.policy.budgets import Spent
from comity.v1 import common_pb2


def _names(enum: object, prefix: str) -> frozenset[str]:
    keys: list[str] = list(enum.keys())  # type: ignore[attr-defined]
    return frozenset(key.removeprefix(prefix) for key in keys if not key.endswith("_UNSPECIFIED"))


REASONS: Final = _names(common_pb2.ReasonCode, "REASON_CODE_")
"""Reasons of a query (Q3), for example `CRIMINAL_INVESTIGATION`."""

KINDS: Final = frozenset(name.lower() for name in _names(common_pb2.AgencyKind, "AGENCY_KIND_"))
"""Kinds of agencies in lower case, for example `federal`."""

ELEMENTS: Final = _names(common_pb2.Element, "ELEMENT_") - {"PLATE"}
"""Elements that can be permitted or withheld; `PLATE` is always part of a read."""

OFFENCE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""A class of offences, as tables of statutes name them (Q5)."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 as facts and bundles spell it."""


def _known(value: str, known: frozenset[str], concept: str) -> None:
    if value not in known:
        raise ValueError(f"{concept} `{value}` is none of {', '.join(sorted(known))}")


def _aware(value: datetime, name: str) -> None:
    if value.tzinfo is None:
        raise ValueError(f"{name} has no time zone; instants are aware, in UTC")


BARRED_BY: Final = ("suspension", "termination")
"""Why somebody may not ask here at all (Q8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """Somebody may not ask here now, whatever a policy says (Q8)."""

    by: str
    """Of `BARRED_BY`."""
    text: str
    """One line for the requester: since when, and how access returns."""

    def __post_init__(self) -> None:
        _known(self.by, frozenset(BARRED_BY), "barred by")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFacts:
    """The person for whom the requesting agency vouches, from the verified assertion (Q4, Q9)."""

    user: str
    """As the agency names them; policies never see it."""
    office: str = ""
    """Office within the agency, for example `ERO`; may be empty."""
    duty_station: str = ""
    """Where the person serves; may be empty."""
    roles: frozenset[str] = frozenset()
    """For example `investigator`."""
    trained_at: datetime | None = None
    """Last training; `None`: never."""
    rules_accepted_at: datetime | None = None
    """When the rules of behaviour were accepted at this logon; `None`: they were not."""
    rules_digest: str = ""
    """SHA-256 of the text that was accepted, in lower-case hex; may be empty."""
    account_reviewed_at: datetime | None = None
    """When the agency last reviewed the account (L9); `None`: never, or it doesn't say."""
    barred: Barred | None = None
    """Suspended here, or dismissed by their agency (Q8)."""
    good_standing: bool = False
    """Employed and in good standing."""
    protections_attested: bool = False
    """Attested to the special protections of Q9 at this logon."""

    def __post_init__(self) -> None:
        for name in ("trained_at", "rules_accepted_at", "account_reviewed_at"):
            value: datetime | None = getattr(self, name)
            if value is not None:
                _aware(value, name)
        if self.rules_digest and not DIGEST.fullmatch(self.rules_digest):
            raise ValueError("rules_digest is not a SHA-256 in lower-case hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFacts:
    """What the agreement in force grants this requester of this provider (A2)."""

    agreement_id: str
    purposes: frozenset[str]
    """Reasons for which may be asked; a subset of `REASONS`."""
    elements: frozenset[str]
    """Elements that may be shared; a subset of `ELEMENTS` (`PLATE` may stand beside them)."""
    in_force: bool = True
    collected_from: datetime | None = None
    """Only reads captured at or after this instant (MOU 3.1); `None`: no such term."""
    receives: bool = True
    """Whether its marking lets the requester's kind of agency have the data (A4); `FED ONLY` may not."""

    def __post_init__(self) -> None:
        for purpose in self.purposes:
            _known(purpose, REASONS, "purpose")
        for element in self.elements - {"PLATE"}:
            _known(element, ELEMENTS, "element")
        if self.collected_from is not None:
            _aware(self.collected_from, "collected_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """One store of the provider. Its class must be one that the bundle's schema lists."""

    store_id: str
    store_class: str
    """For example `primary`, `fixed`, `mobile`, `covert`, `toll`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonFacts:
    """What is known of the free text that gives the reason (Q3, Q4); never the text itself."""

    vague: bool = False
    """It tells too little (`comity.policy.reasons`)."""
    words: int = 1
    """Distinct words of it that tell something."""
    plates: int = 1
    """Plates for which the same person gave the same text within a day, this one among them."""

    def __post_init__(self) -> None:
        if self.words < 0 or self.plates < 1:
            raise ValueError("a reason is given for one plate at least, and has no fewer than 0 words")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRequest:
    """One question to one provider. `period_start` is inside the period, `period_end` is not (Q2).

    Raises:
        ValueError: a word that the contract does not know, an instant without zone, or a period that
            ends before it starts. The text holds no plate and no user.
    """

    requester: str
    requester_kind: str
    """One of `KINDS`."""
    requester_state: str = ""
    """ISO 3166-2 after the dash; empty: none or federal."""
    subject: SubjectFacts
    reason: str
    """One of `REASONS` (Q3)."""
    on_behalf_of: bool = False
    has_area: bool = False
    period_start: datetime
    period_end: datetime
    limitation_years: int = 0
    """Statute of limitations as stated for a criminal query (Q5); 0: not stated."""
    offence: str = ""
    """Class of the offence as stated, for the table of statutes (Q5); empty: not stated."""
    plate_state: str
    plate_country: str
    elements: frozenset[str] = field(default=ELEMENTS)
    """Elements wanted besides the plate; a subset of `ELEMENTS`."""
    told: ReasonFacts = ReasonFacts()
    """Of the free text that gives the reason."""
    readings: int = 1
    """Readings of the plate that are searched, itself among them; 1: exactly the plate (Q10)."""
    spent: Spent = field(default_factory=Spent)
    """How much this agency, this user of it, and it about this plate, asked in the hour and day before."""
    agreement: AgreementFacts | None
    """`None`: no agreement, so everything is refused."""
    now: datetime

    def __post_init__(self) -> None:
        _known(self.requester_kind, KINDS, "kind")
        _known(self.reason, REASONS, "reason")
        for element in self.elements:
            _known(element, ELEMENTS, "element")
        for name in ("period_start", "period_end", "now"):
            _aware(getattr(self, name), name)
        if self.period_end <= self.period_start:
            raise ValueError("period ends before it starts")
        if self.limitation_years < 0:
            raise ValueError("limitation_years is negative")
        if self.offence and not OFFENCE.fullmatch(self.offence):
            raise ValueError("offence is not a word of `a`-`z`, `0`-`9`, `-`")
        if self.readings < 1:
            raise ValueError("readings are fewer than 1, the plate itself")
