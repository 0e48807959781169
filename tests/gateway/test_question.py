"""A request is checked field by field before anything else happens (Q1, Q2, Q3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs.instants import from_instant
from comity.gateway.errors import RequestInvalid, to_status
from comity.gateway.question import parse_question
from comity.v1 import common_pb2, query_pb2
from comity.v1.query_service_pb2 import SearchRequest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET_PLATE = "8ABC123"


def a_request() -> SearchRequest:
    request = SearchRequest(
        plate=common_pb2.Plate(number=SECRET_PLATE, state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(NOW - timedelta(days=30)), end=from_instant(NOW)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="series of burglaries",
        for_self=True,
    )
    return request


def violated(request: SearchRequest) -> set[str]:
    with pytest.raises(RequestInvalid) as caught:
        parse_question(request, now=NOW)
    return {violation.field for violation in caught.value.violations}


def test_complete_request_is_a_question() -> None:
    """With every field of Q3 there, the question holds the plate as typed and as folded."""
    request = a_request()
    request.plate.number = "8abc-123"
    question = parse_question(request, now=NOW)
    assert (question.plate.number, question.folded_plate) == ("8abc-123", "8ABC123")
    assert question.completeness.best_effort
    assert question.timeout == timedelta(seconds=10)


def test_empty_request_names_every_missing_field_at_once() -> None:
    """Plate, period, reason, case, text and for whom: all are required and all are named (Q1-Q3)."""
    assert violated(SearchRequest()) == {
        "plate.number",
        "plate.state",
        "plate.country",
        "period",
        "reason",
        "case_number",
        "reason_text",
        "on_behalf_of",
    }


def without(clear: str) -> SearchRequest:
    request = a_request()
    request.ClearField(clear)  # type: ignore[arg-type]
    return request


def test_query_without_plate_is_refused_even_with_area() -> None:
    """There is no query by area, camera, owner or time alone (Q1, Q11)."""
    request = without("plate")
    request.area.CopyFrom(common_pb2.Area(latitude=33.7, longitude=-118.2, radius_metres=500))
    assert "plate.number" in violated(request)


def test_query_without_period_is_refused() -> None:
    """Nothing runs without a period (Q2)."""
    assert violated(without("period")) == {"period"}


def test_half_a_period_is_refused() -> None:
    """A start without an end is no period (Q2)."""
    request = a_request()
    request.period.ClearField("end")
    assert violated(request) == {"period"}


def change(edit: Callable[[SearchRequest], None]) -> SearchRequest:
    request = a_request()
    edit(request)
    return request


WRONG: list[tuple[str, Callable[[SearchRequest], None]]] = [
    ("plate.number", lambda r: setattr(r.plate, "number", "X" * 17)),
    ("plate.number", lambda r: setattr(r.plate, "number", "8ABC*\x00")),
    ("plate.number", lambda r: setattr(r.plate, "number", "8A%")),
    ("plate.number", lambda r: setattr(r.plate, "number", "8ABC12?")),
    ("plate.number", lambda r: setattr(r.plate, "number", "8ABC123;DROP")),
    ("plate.state", lambda r: setattr(r.plate, "state", "Calif")),
    ("plate.country", lambda r: setattr(r.plate, "country", "USA")),
    ("period.end", lambda r: r.period.end.CopyFrom(r.period.start)),
    ("period.start", lambda r: r.period.start.CopyFrom(from_instant(NOW + timedelta(days=1)))),
    ("period", lambda r: setattr(r.period.end, "seconds", 2**60)),
    ("case_number", lambda r: setattr(r, "case_number", "   ")),
    ("case_number", lambda r: setattr(r, "case_number", "9" * 65)),
    ("reason_text", lambda r: setattr(r, "reason_text", "x" * 1001)),
    ("reason_text", lambda r: setattr(r, "reason_text", "bell\x07")),
    ("on_behalf_of", lambda r: setattr(r, "on_behalf_of", "Agent Jones")),
    ("providers[0]", lambda r: r.providers.append("LAPD!")),
    ("elements[0]", lambda r: r.elements.append(99)),  # type: ignore[arg-type]
    ("area", lambda r: r.area.CopyFrom(common_pb2.Area(latitude=91, longitude=0, radius_metres=5))),
    ("area.radius_metres", lambda r: r.area.CopyFrom(common_pb2.Area(latitude=1, longitude=1))),
    ("completeness", lambda r: r.completeness.CopyFrom(query_pb2.Completeness())),
    ("completeness.quorum", lambda r: r.completeness.CopyFrom(query_pb2.Completeness(quorum=0))),
    ("timeout", lambda r: setattr(r.timeout, "seconds", 61)),
    ("retry_of", lambda r: setattr(r, "retry_of", b"short")),
    ("limitation_years", lambda r: setattr(r, "limitation_years", 101)),
    ("offence", lambda r: setattr(r, "offence", "Arson, first degree")),
]


@pytest.mark.parametrize(("field", "edit"), WRONG, ids=[f"{n}-{f}" for n, (f, _) in enumerate(WRONG)])
def test_wrong_field_is_named(field: str, edit: Callable[[SearchRequest], None]) -> None:
    """One wrong field gives one violation with its name (Q1-Q3)."""
    assert field in violated(change(edit))


def test_reason_must_be_from_the_list() -> None:
    """A number that is no reason code is refused (Q3)."""
    assert violated(change(lambda r: setattr(r, "reason", 4711))) == {"reason"}


def test_error_never_repeats_what_the_user_entered() -> None:
    """The status names fields and never holds a value: errors end up in logs."""
    request = change(lambda r: setattr(r.plate, "state", "Secretland"))
    request.case_number = "secret-case" * 10
    with pytest.raises(RequestInvalid) as caught:
        parse_question(request, now=NOW)
    told = to_status(caught.value).SerializeToString()
    for secret in (b"Secretland", b"secret-case", SECRET_PLATE.encode()):
        assert secret not in told


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_question_or_a_list_of_violations(data: bytes) -> None:
    """Whatever parses as a request is either asked or refused by field; nothing else is raised."""
    request = SearchRequest()
    try:
        request.ParseFromString(data)
    except Exception:  # protobuf's own refusal
        return
    try:
        parse_question(request, now=NOW)
    except RequestInvalid as error:
        assert error.violations
