"""Readings at the gateway: what is asked is what was named, and what is shown is what was asked (Q6, Q10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from comity.gateway.errors import RequestInvalid
from comity.v1 import query_pb2, result_pb2
from tests.gateway.conftest import Lies, Provider, Story, make_question
from tests.gateway.test_exchange import kinds, settled


@pytest.fixture
def asked() -> Story:
    """One provider, asked for 8ABC123 and 8A8C123."""
    return Story(Provider("lapd", reads=2), question=make_question(readings=["8a8c-123"]))


def _matching(page: result_pb2.Page) -> None:
    page.reads[0].matched_reading = "8ABC123"
    page.reads[1].plate.number, page.reads[1].matched_reading = "8A8 C123", "8A8C123"


def test_every_provider_gets_the_readings_that_were_named(asked: Story) -> None:
    """Folded, without the plate itself, in each query that the order signs."""
    query = query_pb2.Query.FromString(asked.order.asking["lapd"].query)
    assert list(query.readings) == ["8A8C123"]
    assert make_question(readings=["8ABC-123", "8A8C123", "8a8c123"]).readings == ("8A8C123",)


def test_reads_of_named_readings_are_shown(asked: Story) -> None:
    """A read that names the reading it is, of those that were asked for, verifies."""
    asked.answers("lapd", Lies(page=_matching))
    asked.stamps("lapd")
    assert kinds(settled(asked)) == {"lapd": "RESPONDED"}


def _another(page: result_pb2.Page) -> None:
    _matching(page)
    page.reads[1].plate.number = page.reads[1].matched_reading = "BABC123"


def _unsaid(page: result_pb2.Page) -> None:
    _matching(page)
    page.reads[1].matched_reading = ""


def _missaid(page: result_pb2.Page) -> None:
    _matching(page)
    page.reads[1].matched_reading = "8ABC123"


@pytest.mark.parametrize("page", [_another, _unsaid, _missaid], ids=["not asked for", "unsaid", "missaid"])
def test_read_of_another_reading_is_unverifiable(
    asked: Story, page: Callable[[result_pb2.Page], None]
) -> None:
    """A likely reading that nobody asked for is another plate; and none is shown as what it isn't."""
    asked.answers("lapd", Lies(page=page))
    asked.stamps("lapd")
    assert kinds(settled(asked)) == {"lapd": "UNVERIFIABLE"}


def test_read_that_names_a_reading_nobody_asked_for_is_unverifiable(story: Story) -> None:
    """For exactly the plate there is nothing to name."""
    story.answers("lapd", Lies(page=lambda page: setattr(page.reads[0], "matched_reading", "8ABC123")))
    story.stamps("lapd")
    assert kinds(settled(story)) == {"lapd": "UNVERIFIABLE"}


@pytest.mark.parametrize("readings", [["9XYZ999"], ["8ABC*"], ["8A8C123"] * 64])
def test_what_is_no_reading_is_refused_before_anything_leaves(readings: list[str]) -> None:
    """The field is named, with what would be right, and without the value (Q1, Q10)."""
    with pytest.raises(RequestInvalid) as caught:
        make_question(readings=readings)
    assert {item.field.partition("[")[0] for item in caught.value.violations} == {"readings"}
    assert not any("9XYZ" in item.description for item in caught.value.violations)
