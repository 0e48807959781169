"""What a caller asks, checked field by field before anything else happens.

Rules, in order: one known plate with state and country (Q1, Q3); a period (Q2); a reason from the
list, case number and text, for oneself or for a named person (Q3); elements, area, completeness
and timeout within their bounds. Every violation is collected: a person mends all at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from comity.certs.instants import to_instant
from comity.gateway.errors import FieldViolation, RequestInvalid
from comity.policy.facts import OFFENCE
from comity.policy.plates import PlateInvalid, fold
from comity.policy.readings import MOST, own_confusions
from comity.v1 import common_pb2, query_pb2, query_service_pb2

DEFAULT_TIMEOUT = timedelta(seconds=10)
SHORTEST_TIMEOUT = timedelta(milliseconds=100)
LONGEST_TIMEOUT = timedelta(seconds=60)
CALL_MARGIN = timedelta(seconds=1)
WANTABLE = (
    common_pb2.ELEMENT_LOCATION,
    common_pb2.ELEMENT_IMAGES,
    common_pb2.ELEMENT_VEHICLE,
    common_pb2.ELEMENT_CAMERA,
)
WRITTEN_ON_PLATES = frozenset(" -./&+'")
_Violated = Callable[[str, str], None]
_STATE = re.compile(r"[A-Z0-9]{1,3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_AGENCY = re.compile(r"[a-z0-9-]{2,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that passed every check; its protobuf parts are ready to be put into queries."""

    plate: common_pb2.Plate
    folded_plate: str
    period: common_pb2.Period
    reason: common_pb2.ReasonCode
    case_number: str
    reason_text: str
    on_behalf_of: str
    providers: frozenset[str]
    completeness: query_pb2.Completeness
    elements: tuple[common_pb2.Element, ...]
    area: common_pb2.Area | None
    timeout: timedelta
    retry_of: bytes
    readings: tuple[str, ...]
    """Other readings of the plate that are searched beside it, folded (Q10)."""
    limitation_years: int
    offence: str
    border_nexus: str = ""
    """For the agency's own house rules and log alone: it stands in no query (Q7)."""

    def within(self, call: timedelta | None) -> Question:
        """Return the question with a timeout that ends before the caller's own deadline, if it has one.

        `call` is what is left of the call; a margin is kept so that the summary still arrives.
        """
        if call is None or self.timeout <= call - CALL_MARGIN:
            return self
        return replace(self, timeout=max(call - CALL_MARGIN, SHORTEST_TIMEOUT))


def parse_question(request: query_service_pb2.SearchRequest, *, now: datetime) -> Question:
    """Return the question that `request` asks.

    Raises `RequestInvalid` with every field that is missing or wrong, and what would have been
    right; no value that the caller entered is in it (Q1, Q2, Q3).
    """
    found: list[FieldViolation] = []

    def violated(field: str, description: str) -> None:
        found.append(FieldViolation(field=field, description=description))

    folded = ""
    if not request.plate.number.strip():
        violated("plate.number", "required: every query is by one known plate (Q1)")
    else:
        try:
            folded = fold(request.plate.number)
        except PlateInvalid as error:
            violated("plate.number", str(error))
        if not WRITTEN_ON_PLATES.issuperset(
            c for c in request.plate.number if c.isascii() and not c.isalnum()
        ):
            violated("plate.number", "one plate as it is written, not a pattern (Q1, Q11)")
    if not _STATE.fullmatch(request.plate.state):
        violated("plate.state", "the state of the plate, one to three capitals or digits such as `CA` (Q3)")
    if not _COUNTRY.fullmatch(request.plate.country):
        violated("plate.country", "the country of the plate, two capitals such as `US` (Q3)")
    readings = _readings(request, folded, violated)
    _check_period(request, now, violated)
    if request.reason not in common_pb2.ReasonCode.values() or not request.reason:
        violated("reason", "required: a reason code from the list, such as `CRIMINAL_INVESTIGATION` (Q3)")
    _check_text("case_number", request.case_number, 64, "the number of the case (Q3, Q4)", violated)
    _check_text(
        "reason_text", request.reason_text, 1000, "free text that tells what led to the query (Q3)", violated
    )
    if request.for_self == bool(request.on_behalf_of.strip()):
        violated("on_behalf_of", "say either `for_self` or the named person for whom you ask, not both (Q3)")
    elif len(request.on_behalf_of) > 128 or not _is_plain(request.on_behalf_of):
        violated("on_behalf_of", "at most 128 characters, all of them printable")
    for index, agency in enumerate(request.providers):
        if not _AGENCY.fullmatch(agency):
            violated(f"providers[{index}]", "an agency id: 2 to 32 of `a`-`z`, `0`-`9`, `-`")
    for index, element in enumerate(request.elements):
        if element not in WANTABLE and element != common_pb2.ELEMENT_PLATE:
            violated(f"elements[{index}]", "one of LOCATION, IMAGES, VEHICLE, CAMERA")
    _check_area(request, violated)
    _check_completeness(request, violated)
    timeout = _timeout(request, violated)
    if request.retry_of and len(request.retry_of) != 16:
        violated("retry_of", "the 16 bytes of the exchange that is repeated")
    if request.limitation_years > 100:
        violated("limitation_years", "years from 1 to 100, or 0 when not stated (Q5)")
    if request.offence and not OFFENCE.fullmatch(request.offence):
        violated("offence", "a class of offences such as `general`: up to 64 of `a`-`z`, `0`-`9`, `-` (Q5)")
    if len(request.border_nexus) > 300 or not _is_plain(request.border_nexus):
        violated("border_nexus", "at most 300 characters, all of them printable (Q7)")
    if found:
        raise RequestInvalid(tuple(found))
    wanted = tuple(element for element in WANTABLE if element in request.elements)
    return Question(
        plate=request.plate,
        folded_plate=folded,
        period=request.period,
        reason=request.reason,
        case_number=request.case_number.strip(),
        reason_text=request.reason_text.strip(),
        on_behalf_of=request.on_behalf_of.strip(),
        providers=frozenset(request.providers),
        completeness=request.completeness
        if request.HasField("completeness")
        else query_pb2.Completeness(best_effort=True),
        elements=wanted if request.elements else WANTABLE,
        area=request.area if request.HasField("area") else None,
        timeout=timeout,
        retry_of=request.retry_of,
        readings=readings,
        limitation_years=request.limitation_years,
        offence=request.offence,
        border_nexus=request.border_nexus.strip(),
    )


def _readings(request: query_service_pb2.SearchRequest, folded: str, violated: _Violated) -> tuple[str, ...]:
    """Return the other readings of the plate, folded, each once, in their order (Q10)."""
    if len(request.readings) >= MOST:
        violated("readings", f"at most {MOST - 1} beside the plate (Q10)")
        return ()
    found: dict[str, None] = {}
    for index, written in enumerate(request.readings):
        try:
            reading = fold(written)
        except PlateInvalid as error:
            violated(f"readings[{index}]", str(error))
            continue
        if folded and not own_confusions().is_reading(folded, reading):
            violated(f"readings[{index}]", "a likely reading of the plate, as `--readings` lists them (Q10)")
        found[reading] = None
    found.pop(folded, None)
    return tuple(found)


def _check_period(request: query_service_pb2.SearchRequest, now: datetime, violated: _Violated) -> None:
    if (
        not request.HasField("period")
        or not request.period.HasField("start")
        or not request.period.HasField("end")
    ):
        violated("period", "required: nothing runs without a start and an end (Q2)")
        return
    try:
        start, end = to_instant(request.period, "start"), to_instant(request.period, "end")
    except ValueError as error:
        violated("period", str(error))
        return
    if start >= end:
        violated("period.end", "later than `period.start` (Q2)")
    if start > now:
        violated("period.start", "not in the future (Q2)")


def _check_text(field: str, value: str, longest: int, what: str, violated: _Violated) -> None:
    if not value.strip():
        violated(field, f"required: {what}")
    elif len(value) > longest or not _is_plain(value):
        violated(field, f"at most {longest} characters, all of them printable: no-break spaces are not")


def _is_plain(value: str) -> bool:
    """Return whether a text is as every provider takes it: printable characters, line ends and tabs."""
    return all(character.isprintable() or character in "\n\t" for character in value)


def _check_area(request: query_service_pb2.SearchRequest, violated: _Violated) -> None:
    if not request.HasField("area"):
        return
    if not -90 <= request.area.latitude <= 90 or not -180 <= request.area.longitude <= 180:
        violated("area", "degrees WGS 84: latitude -90 to 90, longitude -180 to 180")
    if not 1 <= request.area.radius_metres <= 100_000:
        violated("area.radius_metres", "metres from 1 to 100,000")


def _check_completeness(request: query_service_pb2.SearchRequest, violated: _Violated) -> None:
    if not request.HasField("completeness"):
        return
    match request.completeness.WhichOneof("rule"):
        case None:
            violated("completeness", "one of all, quorum, required, best_effort")
        case "quorum" if request.completeness.quorum < 1:
            violated("completeness.quorum", "at least 1")
        case "required" if not request.completeness.required.agencies:
            violated("completeness.required.agencies", "at least one agency id")
        case "all" if not request.completeness.all:
            violated("completeness.all", "true, or another rule")
        case "best_effort" if not request.completeness.best_effort:
            violated("completeness.best_effort", "true, or another rule")


def _timeout(request: query_service_pb2.SearchRequest, violated: _Violated) -> timedelta:
    if not request.HasField("timeout"):
        return DEFAULT_TIMEOUT
    asked = timedelta(seconds=request.timeout.seconds, microseconds=request.timeout.nanos // 1000)
    if not SHORTEST_TIMEOUT <= asked <= LONGEST_TIMEOUT:
        violated("timeout", "0.1 to 60 seconds")
    return asked
