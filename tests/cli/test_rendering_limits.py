"""What a person and a script are told of a budget that is used up, and of a read of another reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from comity.certs.instants import from_instant
from comity.cli.asking import Answer
from comity.cli.rendering import show, to_json
from comity.v1 import common_pb2, query_service_pb2, result_pb2

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def limited(seconds: int, at: datetime | None) -> Answer:
    detail = result_pb2.ResultDetail(
        kind=common_pb2.OUTCOME_KIND_RATE_LIMITED,
        public_reason="the budget is used up: 2 questions an hour for one user",
        retry_after_seconds=seconds,
        retry_at=None if at is None else from_instant(at),
    )
    outcome = query_service_pb2.ProviderOutcome(
        agency="lapd",
        kind=detail.kind,
        attested_by=query_service_pb2.ATTESTATION_PROVIDER,
        detail=detail,
    )
    return Answer(plan=query_service_pb2.Plan(asked=["lapd"], folded_plate="8ABC123"), outcomes=[outcome])


def printed(answer: Answer) -> str:
    out = StringIO()
    show(answer, Console(file=out, width=200))
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "at", "said"),
    [
        (2, None, "come back in 2 s"),
        (90, NOON, "come back at 2026-03-02 12:00:00 UTC (in 90 s)"),
        (3481, NOON + timedelta(milliseconds=1), "come back at 2026-03-02 12:00:01 UTC (in 59 min)"),
        (86_399, NOON, "come back at 2026-03-02 12:00:00 UTC (in 24 h 0 min)"),
    ],
)
def test_who_is_limited_is_told_when_to_come_back(seconds: int, at: datetime | None, said: str) -> None:
    """In the table rounded up, so that nobody comes too early; in JSON to the microsecond."""
    answer = limited(seconds, at)
    assert said in printed(answer)
    outcome = to_json(answer, "8ABC123")["outcomes"]["lapd"]  # type: ignore[index]
    assert outcome["retry_after_seconds"] == seconds
    assert outcome["retry_at"] == (None if at is None else at.isoformat())


def test_read_of_another_reading_stands_out() -> None:
    """A person sees which reads are not of the plate as it is known (Q10)."""
    reads = [
        result_pb2.Read(plate=common_pb2.Plate(number=number), matched_reading=matched)
        for number, matched in (("8abc-123", "8ABC123"), ("8A8C123", "8A8C123"))
    ]
    answer = limited(1, None)
    answer.pages.append(query_service_pb2.ProviderPage(agency="lapd", page=result_pb2.Page(reads=reads)))
    answer.summary = query_service_pb2.Summary(marking=result_pb2.Marking(banner="LES"))
    text = printed(answer)
    assert "8A8C123 (read as)" in text and "8abc-123 (read as)" not in text
    told = to_json(answer, "8ABC123")["reads"]
    assert [read["matched_reading"] for read in told] == ["8ABC123", "8A8C123"]  # type: ignore[attr-defined]
