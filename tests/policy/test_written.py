"""The facts of a decision, written and read again: nothing is lost, nothing else is let in (L1; design 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.policy.facts import (
    ELEMENTS,
    KINDS,
    REASONS,
    AgreementFacts,
    DecisionRequest,
    ReasonFacts,
    StoreFacts,
    SubjectFacts,
)
from comity.policy.written import FactsInvalid, read_facts, write_facts

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def _sets(values: frozenset[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(values)))


@st.composite
def requests(draw: st.DrawFn) -> DecisionRequest:
    """Any question at all."""
    start = draw(INSTANTS)
    agreement = AgreementFacts(
        agreement_id=draw(WORDS),
        purposes=draw(_sets(REASONS)),
        elements=draw(_sets(ELEMENTS)),
        in_force=draw(st.booleans()),
        collected_from=draw(st.none() | INSTANTS),
        receives=draw(st.booleans()),
    )
    return DecisionRequest(
        requester=draw(WORDS),
        requester_kind=draw(st.sampled_from(sorted(KINDS))),
        requester_state=draw(WORDS),
        subject=SubjectFacts(
            user=draw(WORDS),
            office=draw(WORDS),
            roles=draw(st.frozensets(WORDS, max_size=3)),
            trained_at=draw(st.none() | INSTANTS),
            rules_accepted_at=draw(st.none() | INSTANTS),
            good_standing=draw(st.booleans()),
            protections_attested=draw(st.booleans()),
            duty_station=draw(WORDS),
            rules_digest=draw(st.sampled_from(["", "0" * 64, "ab" * 32])),
            account_reviewed_at=draw(st.none() | INSTANTS),
        ),
        reason=draw(st.sampled_from(sorted(REASONS))),
        on_behalf_of=draw(st.booleans()),
        has_area=draw(st.booleans()),
        period_start=start,
        period_end=start + timedelta(microseconds=draw(st.integers(1, 10**15))),
        limitation_years=draw(st.integers(0, 100)),
        offence=draw(st.sampled_from(["", "general", "8-years"])),
        plate_state=draw(WORDS),
        plate_country=draw(WORDS),
        elements=draw(_sets(ELEMENTS)),
        told=ReasonFacts(
            vague=draw(st.booleans()), words=draw(st.integers(0, 200)), plates=draw(st.integers(1, 5_000))
        ),
        readings=draw(st.integers(1, 64)),
        agreement=draw(st.none() | st.just(agreement)),
        now=draw(INSTANTS),
    )


@given(
    request=requests(),
    stores=st.lists(st.builds(StoreFacts, store_id=WORDS, store_class=WORDS), max_size=3).map(tuple),
)
def test_facts_come_back_as_they_were(request: DecisionRequest, stores: tuple[StoreFacts, ...]) -> None:
    """All but the user's name, which no policy sees, and which isn't in the text."""
    text = write_facts(request, stores)
    nameless = replace(request, subject=replace(request.subject, user=""))
    assert read_facts(text) == (nameless, stores)
    assert write_facts(*read_facts(text)) == text


def test_facts_of_a_version_that_knew_no_readings_are_read_as_before(
    asking: Callable[..., DecisionRequest],
) -> None:
    """A decision that was logged before stays one of exactly the plate (Q10), whatever is added since."""
    request = asking()
    told = json.loads(write_facts(request, ()))
    del told["told"], told["readings"]
    read, _ = read_facts(json.dumps(told))
    assert (read.told, read.readings) == (ReasonFacts(), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "of version `2`"),
        ({"subject": None}, "not the facts"),
        ({"reason": "FUN"}, "not the facts"),
        ({"period": ["2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]}, "not the facts"),
        ({"stores": [["a"]]}, "not the facts"),
        ({"limitation_years": "5"}, "not the facts"),
        ({"now": "soon"}, "not the facts"),
        ({"readings": 0}, "not the facts"),
        ({"told": [False, 1]}, "not the facts"),
    ],
)
def test_text_that_holds_no_facts_is_refused(change: dict[str, object], said: str) -> None:
    """What can't be read is named, and never guessed at."""
    request = DecisionRequest(
        requester="lahd",
        requester_kind="local",
        subject=SubjectFacts(user="j.doe"),
        reason="NARCOTICS",
        period_start=NOW - timedelta(days=1),
        period_end=NOW,
        plate_state="CA",
        plate_country="US",
        agreement=None,
        now=NOW,
    )
    told = json.loads(write_facts(request, ()))
    assert "j.doe" not in json.dumps(told)
    with pytest.raises(FactsInvalid, match=said):
        read_facts(json.dumps({**told, **change}))


def test_facts_of_before_offences_were_stated_state_none(
    asking: Callable[..., DecisionRequest], stores: tuple[StoreFacts, ...]
) -> None:
    """A decision that was logged by an earlier version can still be made again (design 6)."""
    told = json.loads(write_facts(asking(offence="arson"), stores))
    del told["offence"]
    assert read_facts(json.dumps(told))[0].offence == ""
