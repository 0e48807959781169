"""A question as a Python program puts it. What makes one acceptable stands in `comity.gateway.question`.

A `Question` here is only sure to be writable as a request of the contract. It is checked when it is asked,
after the user's assertion: as at the gRPC front, who asks what may not be asked is turned down, and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from comity.certs.instants import from_instant
from comity.gateway.errors import FieldViolation, RequestInvalid
from comity.gateway.library.vocabulary import Element, Reason, element_name, reason_name
from comity.v1 import common_pb2, query_pb2, query_service_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A circle that narrows a plate query: degrees WGS 84, and a radius of 1 to 100,000 metres."""

    latitude: float
    longitude: float
    radius_metres: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """How complete an answer must be; made by `all`, `quorum`, `required` or `best_effort`."""

    rule: str
    count: int = 0
    agencies: frozenset[str] = frozenset()

    @classmethod
    def all(cls) -> Completeness:
        """Every provider that is asked must give an outcome that it signed itself; a refusal counts."""
        return cls("all")

    @classmethod
    def quorum(cls, count: int) -> Completeness:
        """At least so many providers must respond; a refusal does not count."""
        return cls("quorum", count=count)

    @classmethod
    def required(cls, *agencies: str) -> Completeness:
        """Each of these providers must respond; a refusal does not count."""
        return cls("required", agencies=frozenset(agencies))

    @classmethod
    def best_effort(cls) -> Completeness:
        """At least one provider must give an outcome that it signed itself."""
        return cls("best_effort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One known plate, in one period, for one reason (Q1, Q2, Q3). Its repr shows nothing of it.

    Raises `RequestInvalid`, naming each field as the contract does (`plate.number`, `period.start`), where a
    value cannot stand in a request at all: a time without a zone, a reason that is not in the list. What may
    not be asked is told when it is asked.
    """

    plate: str
    """The plate's number as it is written."""
    state: str
    """The state of the plate, such as `CA`."""
    start: datetime
    """The first instant of the period, with a zone."""
    end: datetime
    """The first instant after the period, with a zone."""
    reason: Reason | str
    """A `Reason`, or its name."""
    case_number: str
    """1 to 64 characters (Q3, Q4)."""
    reason_text: str
    """1 to 1,000 characters that tell what led to the query (Q3)."""
    for_self: bool = False
    """Whether the user asks for themself. Either this or `on_behalf_of` must be given (Q3)."""
    on_behalf_of: str = ""
    """The named person for whom the user asks."""
    country: str = "US"
    """The country of the plate, two capitals."""
    providers: Collection[str] = ()
    """Agencies to ask; empty: all with which an agreement is in force."""
    completeness: Completeness = field(default_factory=Completeness.best_effort)
    """How complete the answer must be."""
    elements: Collection[Element | str] = ()
    """Elements wanted besides the plate; empty: all."""
    area: Area | None = None
    """Narrows the query; None: no narrowing."""
    timeout: timedelta | None = None
    """How long providers are waited for, 0.1 to 60 seconds; None: 10 seconds."""
    retry_of: bytes = b""
    """The id of the exchange that this one repeats."""
    limitation_years: int = 0
    """Years that the offence's statute of limitations allows (Q5); 0: not stated."""
    readings: Collection[str] = ()
    """Other readings of the plate to search beside it, as they were shown to the person who asks (Q10)."""
    offence: str = ""
    """Class of the offence, as the providers' tables of statutes name it (Q5); empty: not stated."""

    border_nexus: str = ""
    """What ties the query to the border, for house rules and log of the own agency alone (Q7)."""

    def __post_init__(self) -> None:
        self.to_request()

    def __repr__(self) -> str:
        return "Question(…)"

    def to_request(self) -> query_service_pb2.SearchRequest:
        """Return the question as a request of the contract; raise `RequestInvalid` if it cannot be one."""
        request = query_service_pb2.SearchRequest()
        found: list[FieldViolation] = []

        def put(name: str, right: str, part: Callable[[], query_service_pb2.SearchRequest]) -> None:
            try:
                request.MergeFrom(part())
            except (TypeError, ValueError, OverflowError, AttributeError):  # their texts may hold the value
                found.append(FieldViolation(field=name, description=right))

        of = query_service_pb2.SearchRequest
        put("plate.number", "a text", lambda: of(plate=common_pb2.Plate(number=self.plate)))
        put("plate.state", "a text", lambda: of(plate=common_pb2.Plate(state=self.state)))
        put("plate.country", "a text", lambda: of(plate=common_pb2.Plate(country=self.country)))
        zoned = "a time with a zone, such as `datetime.now(UTC)`"
        put("period.start", zoned, lambda: of(period=common_pb2.Period(start=from_instant(self.start))))
        put("period.end", zoned, lambda: of(period=common_pb2.Period(end=from_instant(self.end))))
        put("reason", f"one of {', '.join(Reason)}", lambda: of(reason=reason_name(self.reason)))
        put("case_number", "a text", lambda: of(case_number=self.case_number))
        put("reason_text", "a text", lambda: of(reason_text=self.reason_text))
        put("for_self", "true or false", lambda: of(for_self=self.for_self))
        put("on_behalf_of", "a text", lambda: of(on_behalf_of=self.on_behalf_of))
        put("providers", "agency ids", lambda: of(providers=_agencies(self.providers)))
        put("completeness", "a `Completeness`", lambda: of(completeness=_completeness(self.completeness)))
        put(
            "elements",
            f"some of {', '.join(Element)}",
            lambda: of(elements=[element_name(element) for element in self.elements]),
        )
        put("area", "degrees, and a whole number of metres", lambda: of(area=_area(self.area)))
        put("timeout", "a `timedelta`", lambda: _timeout(self.timeout))
        put("retry_of", "16 bytes", lambda: of(retry_of=self.retry_of))
        put("limitation_years", "a whole number", lambda: of(limitation_years=self.limitation_years))
        put("readings", "plate numbers", lambda: of(readings=_readings(self.readings)))
        put("offence", "a text", lambda: of(offence=self.offence))
        put("border_nexus", "a text", lambda: of(border_nexus=self.border_nexus))
        if found:
            raise RequestInvalid(tuple(found))
        return request


def _agencies(agencies: Collection[str]) -> list[str]:
    if isinstance(agencies, str):  # a text is a collection of texts too
        raise TypeError("one text, where a collection was expected")
    return sorted(agencies)


def _readings(readings: Collection[str]) -> list[str]:
    if isinstance(readings, str):
        raise TypeError("one text, where a collection was expected")
    return list(readings)


def _completeness(wanted: Completeness) -> query_pb2.Completeness:
    match wanted.rule:
        case "all":
            return query_pb2.Completeness(all=True)
        case "quorum":
            return query_pb2.Completeness(quorum=wanted.count)
        case "required":
            return query_pb2.Completeness(
                required=query_pb2.RequiredProviders(agencies=_agencies(wanted.agencies))
            )
        case "best_effort":
            return query_pb2.Completeness(best_effort=True)
        case _:
            raise ValueError("no such rule")


def _area(area: Area | None) -> common_pb2.Area | None:
    if area is None:
        return None
    return common_pb2.Area(latitude=area.latitude, longitude=area.longitude, radius_metres=area.radius_metres)


def _timeout(timeout: timedelta | None) -> query_service_pb2.SearchRequest:
    request = query_service_pb2.SearchRequest()
    if timeout is not None:
        request.timeout.FromTimedelta(timeout)
    return request
