"""The Python library without a broker: questions, the contract's words, opening and closing."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import comity.gateway as library
from comity.certs.agency import AgencyHome
from comity.gateway import (
    Area,
    BrokerUnavailable,
    Completeness,
    ConfigInvalid,
    Element,
    GatewayError,
    HomeInUse,
    Outcome,
    Question,
    Reason,
    Requester,
    RequesterClosed,
    RequestInvalid,
    Unauthenticated,
    connect,
    errors,
)
from comity.gateway.library.answers import AnswerBuilder
from comity.v1 import common_pb2, query_service_pb2, result_pb2
from tests.support.federation import FederationOnDisk

PLATE = "8ABC123"


def a_question(now: datetime, **changes: Any) -> Question:
    given: dict[str, Any] = {
        "plate": PLATE,
        "state": "CA",
        "start": now - timedelta(days=2),
        "end": now,
        "reason": Reason.CRIMINAL_INVESTIGATION,
        "case_number": "26-0417",
        "reason_text": "series of burglaries",
        "for_self": True,
        "timeout": timedelta(seconds=4),
        **changes,
    }
    return Question(**given)


@pytest.fixture
def home(laid_out: FederationOnDisk, tmp_path: Path) -> Path:
    """The sheriff's gateway, of a federation whose broker is away."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec).gateway_home("sheriff")


async def test_home_has_one_gateway_at_a_time(home: Path) -> None:
    """A second one, of this process or another, would write a second history of the same log."""
    async with Requester.open(home, patience=timedelta(0)):
        with pytest.raises(HomeInUse, match=r"has .* open"):
            async with Requester.open(home / "gateway.toml", patience=timedelta(0)):
                pass


async def test_broker_that_is_away_is_said(home: Path) -> None:
    """Opening waits for the link and no longer; without waiting, the question is what fails."""
    with pytest.raises(BrokerUnavailable, match="no link to the broker"):
        async with Requester.open(home, patience=timedelta(seconds=0.05)):
            pass
    made = FederationOnDisk(root=home.parents[2], spec=None)  # type: ignore[arg-type]
    async with Requester.open(home, patience=timedelta(0)) as requester:
        now = datetime.now(UTC)
        issuer = AgencyHome.load(made.home("sheriff")).identity_provider()
        assertion = issuer.issue(next(iter(issuer.users())), requester.certificate, now)
        with pytest.raises(BrokerUnavailable, match="nothing was asked"):
            await requester.ask(a_question(now), assertion=assertion)
        assert not requester.is_linked


def test_scripts_open_and_close_without_asyncio(home: Path, tmp_path: Path) -> None:
    """`connect` raises what opening raises, lets go of the home each time, and is over once closed."""
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        connect(tmp_path / "nowhere")
    with pytest.raises(BrokerUnavailable):
        connect(home, patience=timedelta(seconds=0.05))
    with connect(str(home), patience=timedelta(0)) as gateway:
        assert gateway.agency == "sheriff" and not gateway.is_linked
        with pytest.raises(HomeInUse):
            connect(home, patience=timedelta(0))
        with pytest.raises(Unauthenticated):
            gateway.ask(a_question(datetime.now(UTC)), assertion="none")
        with pytest.raises(Unauthenticated):
            next(gateway.search(a_question(datetime.now(UTC)), assertion="none"))
    gateway.close()
    for ask in (gateway.ask, lambda *question, **options: next(gateway.search(*question, **options))):
        with pytest.raises(RequesterClosed):
            ask(a_question(datetime.now(UTC)), assertion="none")


async def test_requester_stays_on_its_loop(home: Path) -> None:
    """Used from a thread's own loop it would corrupt what it shares: refused, with the way to do it."""
    async with Requester.open(home, patience=timedelta(0)) as requester:
        question = a_question(datetime.now(UTC))

        def elsewhere() -> None:
            asyncio.run(requester.ask(question, assertion="none"))

        with pytest.raises(RuntimeError, match="connect"):
            await asyncio.to_thread(elsewhere)


# -- questions, and the words of the contract ---------------------------------------------------------------


UNWRITABLE: dict[str, tuple[str, object]] = {
    "start without a zone": ("period.start", {"start": datetime(2026, 1, 1)}),
    "end that is a text": ("period.end", {"end": "2026-01-01"}),
    "reason that is not in the list": ("reason", {"reason": "CURIOSITY"}),
    "plate that is no text": ("plate.number", {"plate": 8}),
    "case with half a character": ("case_number", {"case_number": "\ud800"}),
    "providers in one text": ("providers", {"providers": "lapd"}),
    "quorum below nothing": ("completeness", {"completeness": Completeness.quorum(-1)}),
    "element that is none": ("elements", {"elements": ["FACE"]}),
    "radius that is no number": ("area", {"area": Area(latitude=1.0, longitude=1.0, radius_metres=1.5)}),  # type: ignore[arg-type]
    "timeout in seconds": ("timeout", {"timeout": 5}),
    "years below nothing": ("limitation_years", {"limitation_years": -1}),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_question_that_cannot_be_written_names_its_field(case: str) -> None:
    """What cannot stand in a request at all is told when it is made, by the field and never the value."""
    field, changes = UNWRITABLE[case]
    with pytest.raises(RequestInvalid) as found:
        a_question(datetime.now(UTC), **changes)  # type: ignore[arg-type]
    assert [item.field for item in found.value.violations] == [field]
    assert "CURIOSITY" not in str(found.value) and found.value.__cause__ is None


def test_question_says_in_the_contract_what_it_says_here() -> None:
    """Every field arrives, the enumerations by their names."""
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    question = a_question(
        now,
        country="MX",
        providers={"lapd", "cbp"},
        completeness=Completeness.required("lapd"),
        elements=[Element.LOCATION, "IMAGES"],
        area=Area(latitude=33.7, longitude=-118.2, radius_metres=500),
        for_self=False,
        on_behalf_of="a. person",
        retry_of=bytes(16),
        limitation_years=3,
        offence="arson",
    )
    expected = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state="CA", country="MX"),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="series of burglaries",
        on_behalf_of="a. person",
        providers=["cbp", "lapd"],
        elements=[common_pb2.ELEMENT_LOCATION, common_pb2.ELEMENT_IMAGES],
        area=common_pb2.Area(latitude=33.7, longitude=-118.2, radius_metres=500),
        retry_of=bytes(16),
        limitation_years=3,
        offence="arson",
    )
    expected.period.start.FromDatetime(now - timedelta(days=2))
    expected.period.end.FromDatetime(now)
    expected.completeness.required.agencies.append("lapd")
    expected.timeout.FromSeconds(4)
    assert question.to_request() == expected


@pytest.mark.parametrize(
    ("words", "contract"),
    [
        (library.Reason, common_pb2.ReasonCode),
        (library.Element, common_pb2.Element),
        (library.OutcomeKind, common_pb2.OutcomeKind),
        (library.Attestation, query_service_pb2.Attestation),
        (library.NotAskedReason, query_service_pb2.NotAskedReason),
        (library.MarkingScheme, result_pb2.MarkingScheme),
        (library.FindingKind, query_service_pb2.FindingKind),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_words_are_the_contracts(words: Any, contract: Any) -> None:
    """A value that the contract has and the library lacks would be an answer that cannot be shown."""
    unspecified = next(name for name in contract.keys() if name.endswith("_UNSPECIFIED"))  # noqa: SIM118
    prefix = unspecified.removesuffix("UNSPECIFIED")
    assert [prefix + word for word in words] == [name for name in contract.keys() if name != unspecified]  # noqa: SIM118


def test_element_of_a_later_contract_does_not_hide_an_answer() -> None:
    """What a newer provider says it withheld is left out where it has no word yet."""
    read = result_pb2.Read(withheld=[common_pb2.ELEMENT_IMAGES, 77])  # type: ignore[list-item]
    read.captured_at.FromSeconds(1)
    read.marking.scheme = result_pb2.MARKING_SCHEME_PLAIN
    page = query_service_pb2.ProviderPage(agency="lapd", page=result_pb2.Page(reads=[read]))
    outcome = query_service_pb2.ProviderOutcome(
        agency="lapd",
        kind=common_pb2.OUTCOME_KIND_RESPONDED,
        attested_by=query_service_pb2.ATTESTATION_PROVIDER,
        detail=result_pb2.ResultDetail(marking=read.marking),
        page_count=1,
    )
    builder = AnswerBuilder()
    assert not list(builder.take(query_service_pb2.SearchResponse(outcome=outcome)))
    (part,) = builder.take(query_service_pb2.SearchResponse(page=page))
    assert isinstance(part, Outcome) and part.reads[0].withheld == {Element.IMAGES}


OF_RECORDS = {
    "NotAnAuditor",
    "ProviderBusy",
    "ProviderUnable",
    "ProviderUnreachable",
    "RecordsUnverifiable",
}
"""Raised where an auditor retrieves records, which only the service does."""


def test_every_error_that_a_user_meets_is_exported() -> None:
    """Whoever catches by class finds each class beside `Requester`."""
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, GatewayError) and value.__module__ == errors.__name__
    }
    assert raised >= OF_RECORDS
    assert raised - OF_RECORDS <= set(library.__all__)
    assert sorted(library.__all__) == sorted(set(library.__all__))
