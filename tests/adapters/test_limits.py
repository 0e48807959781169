"""What happens at a provider when a limit is passed: a signed receipt, and nobody else is hurt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.beside import Beside
from comity.adapters.config import RANGES, load_config
from comity.adapters.errors import ConfigInvalid, Crowded
from comity.adapters.exchanges import Exchanges
from comity.adapters.path import Reply
from comity.adapters.subjects import Subjects
from comity.v1 import common_pb2, result_pb2, session_pb2
from tests.adapters.bench import Bench, HandClock
from tests.adapters.test_config import GOOD
from tests.adapters.test_exchanges import Desk, LinkDouble, PeerDouble

RATE_LIMITED = common_pb2.OUTCOME_KIND_RATE_LIMITED
RESPONDED = common_pb2.OUTCOME_KIND_RESPONDED


def detail_of(reply: Reply) -> result_pb2.ResultDetail:
    return result_pb2.ResultDetail.FromString(reply.detail)


async def test_subject_over_the_limit_gets_a_receipt_and_another_requester_does_not_notice(
    bench: Bench,
) -> None:
    """RATE_LIMITED is signed and says when to come again; no store is touched; what ends makes room (Q4)."""
    bench.subjects._most = 1
    first = bench.ask()
    assert (await bench.reply(first)).kind == RESPONDED
    searched = len(bench.source.queries)
    second = await bench.reply()
    assert bench.receipt(second.receipt).kind == RATE_LIMITED
    assert detail_of(second).retry_after_seconds > 0
    assert "subject" in detail_of(second).violations[0]
    assert len(bench.source.queries) == searched
    assert bench.log.entries[-1].public["reason"] == "crowded_subject"
    assert (await bench.reply(peer="sheriff")).kind == RESPONDED
    bench.subjects.leave(first)
    assert (await bench.reply()).kind == RESPONDED


async def test_assertion_that_does_not_verify_takes_nobodys_place(bench: Bench) -> None:
    """A subject is known once the agency's word for it verified: nobody fills another one's places."""
    query = bench.query()
    query.subject.jwt = query.subject.jwt[:-8] + "AAAAAAAA"
    assert (await bench.reply(bench.ask(query))).kind == common_pb2.OUTCOME_KIND_MALFORMED
    assert len(bench.subjects) == 0


async def test_subject_has_a_place_until_its_exchange_is_over(bench: Bench, tmp_path: Path) -> None:
    """Pages that wait for credit are still in flight; a replay of the question frees nobody's place."""
    bench.subjects._most = 1
    session = PeerDouble([], page_window=0)
    beside = Beside(bench.log)
    exchanges = Exchanges(
        agency="lapd",
        path=bench.path,
        link=LinkDouble([]),
        acknowledgements=Acknowledgements(
            agency="lapd", member=lambda agency: None, beside=beside, clock=bench.clock
        ),
        beside=beside,
        subjects=bench.subjects,
        clock=bench.clock,
        max_in_flight=8,
        max_exchanges=8,
    )

    def kinds() -> list[int]:
        results = [message.result for message in session.sent if message.HasField("result")]
        return [bench.receipt(result.receipt).kind for result in results]

    async def until_answered(count: int) -> None:
        async with asyncio.timeout(20):
            while len(kinds()) < count:
                await asyncio.sleep(0.01)

    ask = bench.ask()
    exchanges.ask(session, ask)
    await until_answered(1)
    again = session_pb2.Ask.FromString(ask.SerializeToString())
    exchanges.ask(session, again)
    exchanges.ask(session, bench.ask())
    await until_answered(2)
    assert kinds() == [RESPONDED, RATE_LIMITED]
    exchanges.cancel(session, ask.exchange_id)
    async with asyncio.timeout(20):
        while len(exchanges):
            await asyncio.sleep(0.01)
    assert len(bench.subjects) == 0
    exchanges.ask(session, bench.ask())
    await until_answered(3)
    assert kinds()[-1] == RESPONDED
    await exchanges.stop(seconds=0)
    await beside.settled()


def test_subjects_of_two_agencies_with_one_name_are_two() -> None:
    """A user is somebody within an agency."""
    subjects = Subjects(max_in_flight=1)
    first, second, third = session_pb2.Ask(), session_pb2.Ask(), session_pb2.Ask()
    subjects.enter(first, requester="lahd", user="j.ortega")
    subjects.enter(second, requester="sheriff", user="j.ortega")
    with pytest.raises(Crowded):
        subjects.enter(third, requester="lahd", user="j.ortega")
    subjects.leave(third)
    subjects.leave(first)
    subjects.leave(first)
    subjects.enter(third, requester="lahd", user="j.ortega")
    assert len(subjects) == 2


@pytest.fixture
async def full_desk(tmp_path: Path):  # type: ignore[no-untyped-def]

    clock = HandClock()
    desk = Desk(clock)
    desk.exchanges._max_exchanges = 3
    yield desk
    desk.path.go.set()
    await desk.exchanges.stop(seconds=1)


async def test_provider_over_the_limit_of_all_requesters_tells_each_of_them(full_desk: Desk) -> None:
    """Many requesters together cannot fill a provider; what ends makes room."""
    full_desk.path.go.clear()
    for number in range(5):
        full_desk.ask(bytes([number]) * 16, PeerDouble([], peer=f"agency{number}"))
    await full_desk.settle()
    assert full_desk.path.crowded == [False, False, False, True, True]
    for number in range(5):
        full_desk.exchanges.over(bytes([number]) * 16, deadline_passed=True)
    await full_desk.settle()
    assert len(full_desk.exchanges) == 0
    full_desk.ask(b"x" * 16)
    await full_desk.settle()
    assert full_desk.path.crowded[-1] is False


@pytest.mark.parametrize("key", list(RANGES))
def test_limit_out_of_its_range_is_told_with_key_and_range(tmp_path: Path, key: str) -> None:
    """Too small, too large, or no number: one line with file, key and range."""
    path = tmp_path / "adapter.toml"
    least, most = RANGES[key]
    for wrong in (str(least - 1), str(most + 1), "true", '"many"', "1.5"):
        path.write_text(f"{key} = {wrong}\n{GOOD}")
        with pytest.raises(ConfigInvalid) as caught:
            load_config(path)
        line = str(caught.value)
        assert f"key `{key}` must be a number from {least} to {most}" in line
        assert str(path) in line and "\n" not in line
