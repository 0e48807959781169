"""What a peer or the broker can do to an adapter beside asking: late work, repeated ids, unknown reasons."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from comity.adapters.acknowledgements import Acknowledgements
from comity.adapters.announcements import Announcements
from comity.adapters.beside import Beside
from comity.adapters.end import AdapterEnd
from comity.adapters.exchanges import Exchanges
from comity.adapters.own_records import OwnRecords
from comity.adapters.path import Reply
from comity.adapters.subjects import Subjects
from comity.audit.log import SignedLog
from comity.links.sessions.hub import AdapterSessions, Session
from comity.v1 import common_pb2, link_pb2, session_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.adapters.bench import Bench, DiaryLog, HandClock

UNKNOWN = cast(link_pb2.CloseReason, 77)
EXCHANGE = bytes(range(16))


class Heard:
    """Sessions, exchanges, a link and a session's peer in one, that remember what was done with them."""

    peer = "lahd"
    page_window = 4
    certificate = bytes(32)

    def __init__(self) -> None:
        self.done: list[str] = []
        self.sent: list[object] = []

    def unlinked(self, reason: link_pb2.CloseReason, text: str) -> None:
        self.done.append("sessions ended")

    def closed(self, session: object) -> None:
        self.done.append("exchanges stopped")

    def send(self, *messages: object) -> None:
        self.sent.extend(messages)

    def close(self, reason: link_pb2.CloseReason = link_pb2.CLOSE_REASON_SHUTDOWN, text: str = "") -> None:
        self.done.append("closed")


async def test_reason_that_nobody_knows_still_ends_link_and_sessions(
    bench: Bench, real_log: SignedLog
) -> None:
    """A close reason of a later version is logged as a number; what rested on the link ends all the same."""
    log, heard = DiaryLog([]), Heard()
    end = AdapterEnd(
        agency="lapd",
        federation=bench.federation,
        announcements=Announcements(bench.clock),
        log=real_log,
        beside=(beside := Beside(log)),
        clock=bench.clock,
    )
    end.sessions = cast(AdapterSessions, heard)
    end.exchanges = cast(Exchanges, heard)
    end.own_records = cast(OwnRecords, heard)
    end.on_closed(cast(Session, heard), UNKNOWN, "closed from afar")
    end.on_refused("lahd", UNKNOWN, "refused")
    end.unlinked(UNKNOWN, "gone")
    await beside.settled()
    assert heard.done == ["exchanges stopped", "exchanges stopped", "sessions ended"]
    assert log.kinds() == ["session_closed", "session_refused", "link_closed"]
    assert {entry.public["reason"] for entry in log.entries} == {"reason 77"}


class LateAnswer:
    """A path whose log was so slow that the deadline passed while the release was written."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    async def answer(
        self, peer: str, ask: session_pb2.Ask, *, crowded: bool = False, span: object = None
    ) -> Reply:
        deadline = self._clock()
        self._clock.forward(1)
        return Reply(
            exchange_id=EXCHANGE,
            kind=common_pb2.OUTCOME_KIND_RESPONDED,
            detail=b"detail",
            pages=(b"page", b"page"),
            receipt=Envelope(payload=b"receipt"),
            deadline=deadline,
            announced=True,
        )


async def test_nothing_is_sent_when_the_release_was_written_too_late(tmp_path: Path) -> None:
    """What arrives late is cancelled, not delivered (design 5), however late it became late."""
    clock, log, heard = HandClock(), DiaryLog([]), Heard()
    beside = Beside(log)
    exchanges = Exchanges(
        agency="lapd",
        path=LateAnswer(clock),
        link=heard,
        acknowledgements=Acknowledgements(
            agency="lapd", member=lambda agency: None, beside=beside, clock=clock
        ),
        beside=beside,
        clock=clock,
        subjects=Subjects(max_in_flight=4),
        max_in_flight=4,
        max_exchanges=4,
    )
    exchanges.ask(heard, session_pb2.Ask(exchange_id=EXCHANGE))
    await exchanges.stop(seconds=1)
    await beside.settled()
    assert heard.sent == []
    assert [entry.public["reason"] for entry in log.entries] == ["deadline"]
