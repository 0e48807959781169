"""The fields of a query, validated at the provider's end: nobody upstream is trusted to have done it.

One known plate with state and country (Q1, Q3), a period that is not empty (Q2), a reason from the list,
case number and free text (Q3), known elements, an area within its bounds, and an assertion of whom the
agency vouches for (Q4). Every violation is named, with what would have been right and never with the
value: violations travel in receipts' details and must hold no content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from comity.adapters.errors import Rejected, RejectReason
from comity.adapters.sources.source import SearchArea
from comity.certs.instants import to_instant
from comity.policy.facts import ELEMENTS, OFFENCE
from comity.policy.plates import PlateInvalid, fold
from comity.policy.readings import MOST, Confusions
from comity.v1 import common_pb2
from comity.v1.query_pb2 import Query

_STATE = re.compile(r"[A-Z0-9]{1,3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_NONCE_BYTES = 16
_LONGEST_ASSERTION = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A valid query. Its repr shows no content."""

    plate: str = field(repr=False)
    folded: str = field(repr=False)
    state: str = field(repr=False)
    country: str = field(repr=False)
    start: datetime = field(repr=False)
    end: datetime = field(repr=False)
    reason: str = field(repr=False)
    """The reason's name without prefix, for example `CRIMINAL_INVESTIGATION`."""
    case_number: str = field(repr=False)
    reason_text: str = field(repr=False)
    on_behalf_of: str = field(repr=False)
    """Empty: for oneself."""
    elements: tuple[str, ...] = field(repr=False)
    """Elements wanted besides the plate, of `ELEMENTS`, in the order asked."""
    area: SearchArea | None = field(repr=False)
    limitation_years: int = field(repr=False)
    readings: tuple[str, ...] = field(repr=False)
    """Other readings of the plate that are searched beside it, folded (Q10); empty: exactly the plate."""
    offence: str = field(repr=False)
    """Class of the offence; empty: not stated."""
    assertion: str = field(repr=False)

    @property
    def wanted(self) -> frozenset[str]:
        """Elements wanted besides the plate: what is not wanted is not sent."""
        return frozenset(self.elements)


class _Findings:
    """Collects violations, so that an answer names all of them at once."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def require(self, holds: bool, violation: str) -> None:
        """Note `violation` unless `holds`."""
        if not holds:
            self.violations.append(violation)

    def text(self, name: str, value: str, longest: int, *, required: bool = True) -> None:
        """Note a text that is blank though required, too long, or has control characters."""
        self.require(bool(value.strip()) or not required, f"{name}: required")
        printable = all(character.isprintable() or character in "\n\t" for character in value)
        self.require(
            len(value) <= longest and printable,
            f"{name}: at most {longest} characters, all of them printable",
        )


def parse_question(query: Query) -> Question:
    """Return the question that `query` asks; raise `Rejected` with every violation (Q1, Q2, Q3)."""
    found = _Findings()
    found.require(len(query.nonce) == _NONCE_BYTES, f"nonce: expected {_NONCE_BYTES} bytes")
    folded = _plate(query, found)
    start, end = _period(query, found)
    reasons = common_pb2.ReasonCode.values()
    found.require(bool(query.reason) and query.reason in reasons, "reason: expected a code of the list (Q3)")
    found.text("case_number", query.case_number, 64)
    found.text("reason_text", query.reason_text, 1000)
    found.text("on_behalf_of", query.on_behalf_of, 128, required=False)
    known = all(element and element in common_pb2.Element.values() for element in query.elements)
    found.require(known, "elements: expected PLATE, LOCATION, IMAGES, VEHICLE, CAMERA")
    _readings(query, folded, found)
    area = _area(query, found)
    found.require(0 < len(query.subject.jwt) <= _LONGEST_ASSERTION, "subject: expected an assertion (Q4)")
    found.require(len(query.retry_of) in (0, _NONCE_BYTES), "retry_of: expected 16 bytes, or none")
    found.require(query.limitation_years <= 100, "limitation_years: expected 1 to 100, or 0 (Q5)")
    named = not query.offence or OFFENCE.fullmatch(query.offence) is not None
    found.require(named, "offence: expected a class such as `general`, or none (Q5)")
    if found.violations or start is None or end is None:
        raise Rejected(RejectReason.MALFORMED, *found.violations)
    names = [common_pb2.Element.Name(element).removeprefix("ELEMENT_") for element in query.elements]
    return Question(
        plate=query.plate.number,
        folded=folded,
        state=query.plate.state,
        country=query.plate.country,
        start=start,
        end=end,
        reason=common_pb2.ReasonCode.Name(query.reason).removeprefix("REASON_CODE_"),
        case_number=query.case_number,
        reason_text=query.reason_text,
        on_behalf_of=query.on_behalf_of,
        elements=tuple(name for name in names if name in ELEMENTS),
        area=area,
        limitation_years=query.limitation_years,
        readings=tuple(query.readings),
        offence=query.offence,
        assertion=query.subject.jwt,
    )


def _plate(query: Query, found: _Findings) -> str:
    """Return the folded plate, having noted what is wrong with plate, state and country (Q1, Q3)."""
    found.require(
        bool(_STATE.fullmatch(query.plate.state)), "plate.state: expected letters such as `CA` (Q3)"
    )
    found.require(
        bool(_COUNTRY.fullmatch(query.plate.country)), "plate.country: expected two letters such as `US` (Q3)"
    )
    try:
        return fold(query.plate.number)
    except PlateInvalid:
        found.require(False, "plate.number: expected one known plate, 1 to 16 characters (Q1)")
        return ""


def _readings(query: Query, folded: str, found: _Findings) -> None:
    """Note what is wrong with other readings of the plate, as far as their form goes (Q10)."""
    if not query.readings:
        return
    found.require(len(query.readings) < MOST, f"readings: expected at most {MOST - 1} beside the plate (Q10)")
    known = {folded}
    for index, reading in enumerate(query.readings[: MOST - 1]):
        found.require(_is_folded(reading), f"readings[{index}]: expected a folded plate number (Q10)")
        found.require(reading not in known, f"readings[{index}]: expected each once, and not the plate (Q10)")
        known.add(reading)


def check_readings(question: Question, confusions: Confusions) -> None:
    """Raise `Rejected` unless each reading is a likely one of the plate by the provider's own table (Q10)."""
    violations = [
        f"readings[{index}]: expected a likely reading of the plate, by this provider's table (Q10)"
        for index, reading in enumerate(question.readings)
        if not confusions.is_reading(question.folded, reading)
    ]
    if violations:
        raise Rejected(RejectReason.MALFORMED, *violations)


def _is_folded(reading: str) -> bool:
    try:
        return fold(reading) == reading
    except PlateInvalid:
        return False


def _period(query: Query, found: _Findings) -> tuple[datetime | None, datetime | None]:
    """Return start and end, having noted what is wrong with them (Q2)."""
    if not (query.period.HasField("start") and query.period.HasField("end")):
        found.require(False, "period: expected a start and an end; nothing runs without (Q2)")
        return None, None
    try:
        start, end = to_instant(query.period, "start"), to_instant(query.period, "end")
    except ValueError:
        found.require(False, "period: expected times between the years 1 and 9999 (Q2)")
        return None, None
    found.require(start < end, "period.end: expected to be later than `period.start` (Q2)")
    return start, end


def _area(query: Query, found: _Findings) -> SearchArea | None:
    """Return the area, having noted what is wrong with it; it only ever narrows (Q1)."""
    if not query.HasField("area"):
        return None
    try:
        return SearchArea(
            latitude=query.area.latitude,
            longitude=query.area.longitude,
            radius_metres=query.area.radius_metres,
        )
    except ValueError:
        found.require(False, "area: expected degrees WGS 84 and a radius of 1 to 100,000 metres (Q1)")
        return None
