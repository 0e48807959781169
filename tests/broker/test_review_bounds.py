"""What the broker holds in memory, and what it does, while its log, its disk or its roster fail it."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.broker import server
from comity.broker.scribe import MAX_NOTES, Scribe
from comity.broker.trust import Trust, TrustState
from comity.certs.errors import RosterInvalid
from comity.certs.lodgements import Lodged, LodgementBook
from comity.certs.roster import Federation
from tests.broker.conftest import NOW


class FullDisk:
    """A log that can't be written until told otherwise."""

    def __init__(self) -> None:
        self.full = True
        self.entries: list[Entry] = []

    async def append(self, *entries: Entry) -> list[Promise]:
        await asyncio.sleep(0)
        if self.full:
            raise LogUnwritable("the disk is full")
        self.entries += entries
        return [Promise(origin="o", index=at, leaf_hash=bytes(32)) for at in range(len(entries))]


async def test_refusals_while_the_log_is_unwritable_do_not_fill_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer can be refused as often as it likes; accounts are never let go for it (design 6)."""
    disk, promised = FullDisk(), list[Promise]()
    scribe = Scribe(cast(SignedLog, disk))
    running = asyncio.create_task(scribe.run())
    for _ in range(3 * MAX_NOTES):
        scribe.write(Entry(kind="link_refused", at=NOW))
    scribe.write(Entry(kind="accounted", at=NOW), promised.append)
    disk.full = False
    await asyncio.wait_for(scribe.settled(), 30)
    running.cancel()
    assert len(promised) == 1
    kinds = [entry.kind for entry in disk.entries]
    assert kinds.count("link_refused") <= 2 * MAX_NOTES
    assert "were not logged" in caplog.text


def test_roster_past_its_time_carries_no_session() -> None:
    """A list past its next update is not trusted, however it came (design 4)."""
    member = SimpleNamespace(is_out=False, provides=True, asks=True)
    federation = SimpleNamespace(
        members={"cbp": member, "sheriff": member}, trusted_until=NOW + timedelta(seconds=1)
    )
    lodged = Lodged(
        provider="cbp",
        requester="sheriff",
        ceiling=b"c",
        agreement_digest=bytes(32),
        effective_at=NOW - timedelta(days=1),
        expires_at=NOW + timedelta(days=1),
    )
    state = TrustState(
        federation=cast(Federation, federation), lodgements=LodgementBook(lodgements=(lodged,))
    )
    trust = Trust(state)
    assert trust.ceiling(provider="cbp", requester="sheriff", now=NOW) == lodged
    late = NOW + timedelta(seconds=1)
    assert trust.ceiling(provider="cbp", requester="sheriff", now=late) is None


async def test_roster_is_verified_beside_the_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand members' signatures take a second, in which no link may miss its keepalive."""
    threads: list[threading.Thread] = []

    def load(**_: object) -> TrustState:
        threads.append(threading.current_thread())
        raise RosterInvalid("not today")

    monkeypatch.setattr(server, "load_trust", load)
    broker = SimpleNamespace(_published=None, _config=SimpleNamespace(lodgements=tmp_path))
    with pytest.raises(RosterInvalid):
        await server.Broker._reload(cast(server.Broker, broker))
    assert threads
    assert threads[0] is not threading.main_thread()
